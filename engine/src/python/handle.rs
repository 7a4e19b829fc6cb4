//! `Handle`, `Snapshot`, `Outcome`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;

use super::cookie::Cookies;
use super::error::{Raise, exception};
use super::request::seconds;
use crate::download::Outcome;
use crate::error::Result;
use crate::handle::Handle;
use crate::progress::Snapshot;
use crate::remark::Remark;
use crate::request::Request;

/// Ctrl-C is noticed within this time.
pub(super) const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// See the stub.
#[pyclass(name = "Handle", module = "vasset._engine", frozen)]
pub struct PyHandle {
    pub(super) handle: Handle,
}

#[pymethods]
impl PyHandle {
    #[getter]
    fn id(&self) -> u64 {
        self.handle.id()
    }

    fn cancel(&self) {
        self.handle.cancel();
    }

    fn pause(&self) {
        self.handle.pause();
    }

    fn resume(&self) {
        self.handle.resume();
    }

    #[pyo3(signature = (*, rate_limit=None, weight=None))]
    fn set_limits(&self, python: Python<'_>, rate_limit: Option<u64>, weight: Option<u32>) -> PyResult<()> {
        self.handle.set_limits(rate_limit, weight).or_raise(python)
    }

    #[pyo3(signature = (url, headers=None, cookies=None))]
    fn refresh(
        &self,
        python: Python<'_>,
        url: String,
        headers: Option<HashMap<String, String>>,
        cookies: Option<Cookies<'_>>,
    ) -> PyResult<()> {
        let headers = headers.map(|headers| header_map(&url, headers)).transpose().or_raise(python)?;
        let cookies = cookies.map(|cookies| Cookies::split(Some(cookies)));
        self.handle.refresh(url, headers, cookies).or_raise(python)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, python: Python<'_>, timeout: Option<f64>) -> PyResult<PyOutcome> {
        self.handle.check_process().or_raise(python)?;
        let deadline = match timeout {
            Some(limit) if limit <= 0.0 => Some(Instant::now()),
            Some(limit) => Some(Instant::now() + seconds(limit)?),
            None => None,
        };
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.map_or(SIGNAL_INTERVAL, |left| left.min(SIGNAL_INTERVAL));
            let ended = python.detach(|| self.handle.wait(Some(slice)));
            if let Some(outcome) = ended {
                return PyOutcome::or_raise(python, outcome);
            }
            python.check_signals()?;
            if left.is_some_and(|left| left <= slice) {
                return Err(PyTimeoutError::new_err("the download still runs"));
            }
        }
    }

    fn result(&self, python: Python<'_>) -> PyResult<PyOutcome> {
        match self.handle.outcome() {
            Some(outcome) => PyOutcome::or_raise(python, outcome),
            None => Err(PyRuntimeError::new_err("the download still runs; wait for it first")),
        }
    }

    fn done(&self) -> bool {
        self.handle.outcome().is_some()
    }

    fn waiting_for(&self) -> Option<String> {
        self.handle.waiting_for()
    }

    fn snapshot(&self) -> PySnapshot {
        PySnapshot::from(self.handle.snapshot())
    }
}

fn header_map(url: &str, headers: HashMap<String, String>) -> Result<http::HeaderMap> {
    let mut checked = Request::single(url, "unused");
    for (name, value) in headers {
        checked = checked.header(&name, &value)?;
    }
    Ok(checked.headers)
}

/// See the stub.
#[pyclass(name = "Snapshot", module = "vasset._engine", frozen, get_all)]
pub struct PySnapshot {
    id: u64,
    state: &'static str,
    downloaded_bytes: u64,
    total_bytes: Option<u64>,
    speed_bytes_per_second: f64,
    connections: u32,
    resumed_bytes: u64,
    fragments_done: u32,
    fragments_total: Option<u32>,
}

impl From<Snapshot> for PySnapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            id: snapshot.id,
            state: snapshot.state.name(),
            downloaded_bytes: snapshot.downloaded,
            total_bytes: snapshot.total,
            speed_bytes_per_second: snapshot.speed,
            connections: snapshot.connections,
            resumed_bytes: snapshot.resumed,
            fragments_done: snapshot.fragments_done,
            fragments_total: snapshot.fragments_total,
        }
    }
}

/// See the stub.
#[pyclass(name = "Outcome", module = "vasset._engine", frozen, get_all)]
pub struct PyOutcome {
    path: String,
    size: u64,
    digests: HashMap<&'static str, String>,
    seconds: f64,
    resumed_bytes: u64,
    fetched_bytes: u64,
    connections_peak: u32,
    etag: Option<String>,
    content_type: Option<String>,
    final_url: String,
    missing_fragments: u32,
    durability: &'static str,
    remarks: Vec<&'static str>,
}

impl PyOutcome {
    fn or_raise(python: Python<'_>, outcome: Result<Outcome>) -> PyResult<Self> {
        let outcome = outcome.map_err(|error| exception(python, &error))?;
        Ok(Self {
            path: outcome.path.display().to_string(),
            size: outcome.size,
            digests: outcome.digests.into_iter().map(|(algorithm, hex)| (algorithm.name(), hex)).collect(),
            seconds: outcome.elapsed.as_secs_f64(),
            resumed_bytes: outcome.resumed_bytes,
            fetched_bytes: outcome.fetched_bytes,
            connections_peak: outcome.connections_peak,
            etag: outcome.etag,
            content_type: outcome.content_type,
            final_url: outcome.final_url,
            missing_fragments: outcome.missing_fragments,
            durability: outcome.durability.name(),
            remarks: outcome.remarks.into_iter().map(Remark::name).collect(),
        })
    }
}
