//! `Engine` and `hash_file`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use parking_lot::Mutex;
use pyo3::prelude::*;

use super::error::Raise;
use super::handle::{PyHandle, PySnapshot, SIGNAL_INTERVAL};
use super::request::{PyRequest, algorithm};
use super::stream::PyStream;
use crate::error::{Error, Result};
use crate::handle::{Engine, Settings};
use crate::hash::{Algorithm, Sequential};
use crate::net::hot::HotBuffer;

/// See the stub.
#[pyclass(name = "Engine", module = "vasset._engine", frozen)]
pub struct PyEngine {
    pub(super) engine: Engine,
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (
        *, egress_allow=Vec::new(), ca_file=None, max_connections=256, max_connections_per_host=16,
        rate_limit=None, user_agent=None, worker_threads=None, disk_floor=0
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python constructor")]
    fn new(
        python: Python<'_>,
        egress_allow: Vec<String>,
        ca_file: Option<PathBuf>,
        max_connections: u32,
        max_connections_per_host: u32,
        rate_limit: Option<u64>,
        user_agent: Option<String>,
        worker_threads: Option<usize>,
        disk_floor: u64,
    ) -> PyResult<Self> {
        let defaults = Settings::default();
        let settings = Settings {
            egress_allow,
            ca_file,
            max_connections,
            max_connections_per_host,
            rate_limit: rate_limit.filter(|rate| *rate > 0),
            user_agent: user_agent.unwrap_or(defaults.user_agent),
            worker_threads,
            disk_floor,
        };
        Ok(Self { engine: Engine::new(&settings).or_raise(python)? })
    }

    fn submit(&self, python: Python<'_>, request: &PyRequest) -> PyResult<PyHandle> {
        Ok(PyHandle { handle: self.engine.submit(request.request.clone()).or_raise(python)? })
    }

    fn streams(&self, python: Python<'_>, request: &PyRequest) -> PyResult<Vec<PyStream>> {
        let (answer, answered) = mpsc::channel();
        // Only shared with this thread while it has let go of the interpreter, which the type cannot say.
        let answered = Mutex::new(answered);
        let answer = move |offered| {
            let _ = answer.send(offered);
        };
        self.engine.look(request.request.clone(), answer).or_raise(python)?;
        loop {
            match python.detach(|| answered.lock().recv_timeout(SIGNAL_INTERVAL)) {
                Ok(offered) => return Ok(offered.or_raise(python)?.into_iter().map(PyStream::from).collect()),
                Err(mpsc::RecvTimeoutError::Timeout) => python.check_signals()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::Cancelled).or_raise(python),
            }
        }
    }

    fn snapshot(&self) -> Vec<PySnapshot> {
        self.engine.snapshot().into_iter().map(PySnapshot::from).collect()
    }

    #[pyo3(signature = (*, rate_limit=None, max_connections=None, max_connections_per_host=None))]
    fn set_limits(
        &self,
        python: Python<'_>,
        rate_limit: Option<u64>,
        max_connections: Option<u32>,
        max_connections_per_host: Option<u32>,
    ) -> PyResult<()> {
        self.engine.set_limits(rate_limit, max_connections, max_connections_per_host).or_raise(python)
    }

    fn set_host_limit(&self, python: Python<'_>, host: &str, rate_limit: Option<u64>) -> PyResult<()> {
        self.engine.set_host_limit(host, rate_limit).or_raise(python)
    }

    fn completion_fd(&self) -> i32 {
        self.engine.completion_fd()
    }

    fn drain_completions(&self) -> Vec<u64> {
        self.engine.drain_completions()
    }

    fn close(&self, python: Python<'_>) {
        python.detach(|| self.engine.close());
    }
}

/// See the stub.
#[pyfunction]
pub fn hash_file(python: Python<'_>, path: PathBuf, algorithm_name: &str) -> PyResult<String> {
    let algorithm = algorithm(algorithm_name).or_raise(python)?;
    python.detach(|| hash_path(&path, algorithm)).or_raise(python)
}

fn hash_path(path: &Path, algorithm: Algorithm) -> Result<String> {
    let failed = |cause: std::io::Error| Error::storage("read", path, &cause);
    let mut file = File::open(path).map_err(failed)?;
    let mut hashes = Sequential::new(&[algorithm], true);
    let mut buffer = HotBuffer::lease_for(0);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(hashes.finish().into_iter().map(|(_, hex)| hex).next().unwrap_or_default());
        }
        hashes.update(&buffer[..read]);
    }
}
