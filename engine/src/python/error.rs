//! Typed Python exceptions for the engine's errors.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::error::Error;

create_exception!(_engine, EngineError, PyException, "The engine could not do what was asked.");
create_exception!(_engine, InvalidRequest, EngineError, "The request contradicts itself; nothing was sent.");
create_exception!(_engine, Unsupported, EngineError, "Recognised, and not something this engine does.");
create_exception!(_engine, EgressDenied, EngineError, "The egress policy refuses the place.");
create_exception!(_engine, OriginError, EngineError, "What the origin answered cannot become a true file.");
create_exception!(_engine, HttpStatus, OriginError, "A final status that is not success.");
create_exception!(_engine, UrlExpired, HttpStatus, "403 or 410: extract again and continue the same target.");
create_exception!(_engine, OriginChanged, OriginError, "The origin's file changed under the download.");
create_exception!(_engine, OriginLied, OriginError, "Framing, range or length contradict themselves.");
create_exception!(_engine, PageAnswered, OriginError, "A page came where the file was being fetched.");
create_exception!(_engine, NetworkError, EngineError, "Name, connect, TLS, reset or truncation after all retries.");
create_exception!(
    _engine,
    TimeoutExceeded,
    NetworkError,
    "A connect, header, idle, low-speed or total bound was reached."
);
create_exception!(_engine, DigestMismatch, EngineError, "All bytes arrived and are not the promised ones.");
create_exception!(_engine, LimitExceeded, EngineError, "More bytes, redirects, fragments or depth than allowed.");
create_exception!(_engine, StorageError, EngineError, "The disk refused; the part file and its journal stay.");
create_exception!(_engine, DiskFull, StorageError, "No room for the file, or none that may be taken.");
create_exception!(_engine, TargetExists, StorageError, "The target's name is taken; it is never replaced.");
create_exception!(_engine, JournalLocked, StorageError, "Somebody else is writing the same part file.");
create_exception!(_engine, Cancelled, EngineError, "The task was told to stop; its journal stays.");
create_exception!(_engine, ForkError, EngineError, "This process was forked from the engine's.");

/// Adds every class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let python = module.py();
    let base = python.get_type::<EngineError>();
    base.setattr("code", "engine")?;
    base.setattr("retryable", false)?;
    module.add("EngineError", base)?;
    module.add("InvalidRequest", python.get_type::<InvalidRequest>())?;
    module.add("Unsupported", python.get_type::<Unsupported>())?;
    module.add("EgressDenied", python.get_type::<EgressDenied>())?;
    module.add("OriginError", python.get_type::<OriginError>())?;
    module.add("HttpStatus", python.get_type::<HttpStatus>())?;
    module.add("UrlExpired", python.get_type::<UrlExpired>())?;
    module.add("OriginChanged", python.get_type::<OriginChanged>())?;
    module.add("OriginLied", python.get_type::<OriginLied>())?;
    module.add("PageAnswered", python.get_type::<PageAnswered>())?;
    module.add("NetworkError", python.get_type::<NetworkError>())?;
    module.add("TimeoutExceeded", python.get_type::<TimeoutExceeded>())?;
    module.add("DigestMismatch", python.get_type::<DigestMismatch>())?;
    module.add("LimitExceeded", python.get_type::<LimitExceeded>())?;
    module.add("StorageError", python.get_type::<StorageError>())?;
    module.add("DiskFull", python.get_type::<DiskFull>())?;
    module.add("TargetExists", python.get_type::<TargetExists>())?;
    module.add("JournalLocked", python.get_type::<JournalLocked>())?;
    module.add("Cancelled", python.get_type::<Cancelled>())?;
    module.add("ForkError", python.get_type::<ForkError>())
}

/// The exception for an error, with `code`, `retryable` and, for a status, `status` and `retry_after_seconds`.
pub fn exception(python: Python<'_>, error: &Error) -> PyErr {
    let text = error.to_string();
    let raised = match error {
        Error::InvalidRequest(_) => InvalidRequest::new_err(text),
        Error::Unsupported(_) | Error::Playlist { .. } => Unsupported::new_err(text),
        Error::EgressDenied(_) => EgressDenied::new_err(text),
        Error::HttpStatus { .. } => HttpStatus::new_err(text),
        Error::UrlExpired { .. } => UrlExpired::new_err(text),
        Error::OriginChanged { .. } => OriginChanged::new_err(text),
        Error::OriginLied { .. } => OriginLied::new_err(text),
        Error::Page { .. } => PageAnswered::new_err(text),
        Error::Truncated { .. } | Error::Connect { .. } => NetworkError::new_err(text),
        Error::Timeout { .. } => TimeoutExceeded::new_err(text),
        Error::DigestMismatch { .. } => DigestMismatch::new_err(text),
        Error::LimitExceeded { .. } => LimitExceeded::new_err(text),
        Error::TargetExists { .. } => TargetExists::new_err(text),
        Error::DiskFull { .. } => DiskFull::new_err(text),
        Error::Storage { .. } => StorageError::new_err(text),
        Error::JournalLocked { .. } => JournalLocked::new_err(text),
        Error::Cancelled => Cancelled::new_err(text),
        Error::Forked => ForkError::new_err(text),
    };
    match annotate(raised.value(python), error) {
        Ok(()) => raised,
        Err(failed) => failed,
    }
}

fn annotate(value: &Bound<'_, PyAny>, error: &Error) -> PyResult<()> {
    value.setattr("code", error.code())?;
    value.setattr("retryable", error.retryable())?;
    match error {
        Error::HttpStatus { status, retry_after, .. } => {
            value.setattr("status", status)?;
            value.setattr("retry_after_seconds", retry_after.map(|wait| wait.as_secs_f64()))
        }
        Error::UrlExpired { status, .. } => {
            value.setattr("status", status)?;
            value.setattr("retry_after_seconds", None::<f64>)
        }
        _ => Ok(()),
    }
}

/// `?` for the engine's results inside functions that return `PyResult`.
pub trait Raise<T> {
    /// Turns an error into its exception.
    fn or_raise(self, python: Python<'_>) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T, Error> {
    fn or_raise(self, python: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(python, &error))
    }
}
