//! Disk-pressure cleanup for Python. Both functions block without the GIL: call them from a thread.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;

use super::error::exception;
use crate::evict::{Candidate, KnownPaths, Pace, Retention, Watermarks, find_unknown, relieve};

/// Adds this file's names to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Relief>()?;
    module.add_function(wrap_pyfunction!(relieve_disk, module)?)?;
    module.add_function(wrap_pyfunction!(find_unknown_files, module)?)
}

/// What a cleanup did.
#[pyclass(frozen, get_all, module = "vasset._engine")]
struct Relief {
    used_before: f64,
    used_after: f64,
    is_relieved: bool,
    freed_bytes: u64,
    freed: Vec<OsString>,
    kept: Vec<(OsString, String)>,
}

/// Makes room below `root`. A candidate is (relative path, expires at in seconds since 1970, is archive, is leased).
#[pyfunction]
#[pyo3(signature = (root, candidates, *, high, low, now, protected = vec![PathBuf::from("archive")], batch = 64, pause_seconds = 0.002))]
#[allow(clippy::too_many_arguments)] // keyword arguments in Python
fn relieve_disk(
    python: Python<'_>,
    root: PathBuf,
    candidates: Vec<(PathBuf, i64, bool, bool)>,
    high: f64,
    low: f64,
    now: i64,
    protected: Vec<PathBuf>,
    batch: usize,
    pause_seconds: f64,
) -> PyResult<Relief> {
    let pause = Duration::try_from_secs_f64(pause_seconds).map_err(|problem| {
        pyo3::exceptions::PyValueError::new_err(format!("pause_seconds={pause_seconds}: {problem}"))
    })?;
    let candidate = |(path, expires_at, is_archive, is_leased)| Candidate {
        path,
        expires_at,
        retention: if is_archive { Retention::Archive } else { Retention::Temporary },
        is_leased,
    };
    let relief = python.detach(|| {
        let candidates: Vec<Candidate> = candidates.into_iter().map(candidate).collect();
        relieve(&root, &candidates, Watermarks { high, low }, now, &protected, Pace { batch, pause })
    });
    let relief = relief.map_err(|error| exception(python, &error))?;
    let kept = relief.kept.iter().map(|kept| (kept.path.clone().into_os_string(), kept.reason.to_string())).collect();
    Ok(Relief {
        used_before: relief.used_before,
        used_after: relief.used_after,
        is_relieved: relief.is_relieved,
        freed_bytes: relief.freed_bytes(),
        freed: relief.freed.iter().map(|freed| freed.path.clone().into_os_string()).collect(),
        kept,
    })
}

/// Files below `root` that are not in `known` and were last written before `before`: (relative path, written at, bytes).
#[pyfunction]
#[pyo3(signature = (root, known, *, before, threads = None))]
fn find_unknown_files(
    python: Python<'_>,
    root: PathBuf,
    known: Vec<PathBuf>,
    before: i64,
    threads: Option<usize>,
) -> PyResult<Vec<(OsString, i64, u64)>> {
    let found = python.detach(|| {
        let mut paths = KnownPaths::default();
        known.iter().for_each(|path| paths.add(path));
        find_unknown(&root, &paths, before, threads)
    });
    let found = found.map_err(|error| exception(python, &error))?;
    Ok(found.into_iter().map(|file| (file.path.into_os_string(), file.modified_at, file.bytes)).collect())
}
