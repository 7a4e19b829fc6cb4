//! `Request` and `Fragment`: arguments checked once, then immutable.

use std::collections::HashMap;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::cookie::Cookies;
use super::error::Raise;
use crate::error::{Error, Result};
use crate::fragments::Selection;
use crate::hash::Algorithm;
use crate::request::{FragmentSpec, Request, Source};

/// See the stub.
#[pyclass(name = "Fragment", module = "vasset._engine", frozen)]
pub struct PyFragment {
    spec: FragmentSpec,
}

#[pymethods]
impl PyFragment {
    #[new]
    #[pyo3(signature = (url, *, byte_range=None, key=None, iv=None))]
    fn new(url: String, byte_range: Option<(u64, u64)>, key: Option<Vec<u8>>, iv: Option<Vec<u8>>) -> PyResult<Self> {
        let key = match (key, iv) {
            (None, None) => None,
            (Some(key), Some(iv)) => {
                let sixteen = |_| PyValueError::new_err("key and iv have 16 bytes each");
                Some((key.try_into().map_err(sixteen)?, iv.try_into().map_err(sixteen)?))
            }
            _ => return Err(PyValueError::new_err("key and iv come together")),
        };
        Ok(Self { spec: FragmentSpec { url, byte_range, key } })
    }

    #[getter]
    fn url(&self) -> &str {
        &self.spec.url
    }

    #[getter]
    fn byte_range(&self) -> Option<(u64, u64)> {
        self.spec.byte_range
    }
}

/// See the stub.
#[pyclass(name = "Request", module = "vasset._engine", frozen)]
pub struct PyRequest {
    pub(super) request: Request,
}

#[pymethods]
impl PyRequest {
    #[new]
    #[pyo3(signature = (
        url, target, *, headers=None, cookies=None, kind="file", fragments=Vec::new(), expected_size=None,
        expected_digest=None, hashes=vec!["blake3".to_owned()], connections=None, max_range_bytes=None,
        rate_limit=None, weight=1, proxy=None, max_bytes=None, timeout_seconds=None, connect_timeout_seconds=10.0,
        answer_timeout_seconds=120.0, idle_timeout_seconds=30.0, minimum_speed=0, retries=8, trust_length=false,
        max_redirects=20, stream=None, representation=None, skip_missing=0, http2=true, durable=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python constructor")]
    fn new(
        python: Python<'_>,
        url: String,
        target: String,
        headers: Option<HashMap<String, String>>,
        cookies: Option<Cookies<'_>>,
        kind: &str,
        fragments: Vec<PyRef<'_, PyFragment>>,
        expected_size: Option<u64>,
        expected_digest: Option<(String, String)>,
        hashes: Vec<String>,
        connections: Option<usize>,
        max_range_bytes: Option<u64>,
        rate_limit: Option<u64>,
        weight: u32,
        proxy: Option<String>,
        max_bytes: Option<u64>,
        timeout_seconds: Option<f64>,
        connect_timeout_seconds: f64,
        answer_timeout_seconds: f64,
        idle_timeout_seconds: f64,
        minimum_speed: u64,
        retries: u32,
        trust_length: bool,
        max_redirects: u32,
        stream: Option<usize>,
        representation: Option<String>,
        skip_missing: u32,
        http2: bool,
        durable: bool,
    ) -> PyResult<Self> {
        let source = match kind {
            "file" | "media" => Source::Single { url },
            "hls" => Source::Hls { url },
            "dash" => Source::Dash { url },
            "fragments" => Source::Fragments(fragments.iter().map(|fragment| fragment.spec.clone()).collect()),
            other => {
                return Err(PyValueError::new_err(format!(
                    "kind is file, media, hls, dash or fragments, not {other:?}"
                )));
            }
        };
        let mut request = Request::new(source, target);
        for (name, value) in headers.unwrap_or_default() {
            request = request.header(&name, &value).or_raise(python)?;
        }
        (request.cookies, request.jar) = Cookies::split(cookies);
        request.expected_size = expected_size;
        request.expected_digest = match expected_digest {
            Some((name, hex)) => Some((algorithm(&name).or_raise(python)?, hex)),
            None => None,
        };
        request.hashes = hashes.iter().map(|name| algorithm(name)).collect::<Result<_>>().or_raise(python)?;
        request.connections = connections;
        request.max_range_bytes = max_range_bytes;
        request.rate_limit = rate_limit.filter(|rate| *rate > 0);
        request.weight = weight;
        request.proxy = proxy;
        request.max_bytes = max_bytes;
        request.timeout = timeout_seconds.map(seconds).transpose()?;
        request.connect_timeout = seconds(connect_timeout_seconds)?;
        request.answer_timeout = seconds(answer_timeout_seconds)?;
        request.idle_timeout = seconds(idle_timeout_seconds)?;
        request.minimum_speed = minimum_speed;
        request.retries = retries;
        request.trust_length = trust_length;
        request.max_redirects = max_redirects;
        request.selection = match (stream, representation) {
            (Some(_), Some(_)) => return Err(PyValueError::new_err("stream and representation exclude each other")),
            (Some(stream), None) => Selection::Index(stream),
            (None, Some(representation)) => Selection::Identifier(representation),
            (None, None) => Selection::default(),
        };
        request.skip_missing = skip_missing;
        request.is_media = kind == "media";
        request.http2 = http2;
        request.durable = durable;
        request.validate().or_raise(python)?;
        Ok(Self { request })
    }

    #[getter]
    fn url(&self) -> &str {
        self.request.source.url()
    }

    #[getter]
    fn target(&self) -> String {
        self.request.target.display().to_string()
    }
}

/// Reads the name of a hash.
pub fn algorithm(name: &str) -> Result<Algorithm> {
    Algorithm::parse(name).ok_or_else(|| Error::InvalidRequest(format!("{name:?} is none of blake3, xxh3, sha256")))
}

/// Reads a number of seconds: finite and positive.
pub fn seconds(value: f64) -> PyResult<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(PyValueError::new_err(format!("{value} is no positive number of seconds"))),
    }
}
