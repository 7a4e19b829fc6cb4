//! The egress guard for Python: the loopback forward proxy, and the classifier and canonicaliser as functions.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Runtime;

use super::error::exception;
use crate::error::Error;
use crate::guard::proxy::{Bounds, Credential, ForwardProxy};
use crate::guard::{EgressPolicy, Verdict, classify};
use crate::net::connector::Connector;
use crate::net::tls::TlsSettings;

/// Adds this file's names to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<GuardProxy>()?;
    module.add_class::<ProxyCredential>()?;
    module.add_class::<ProxyUsage>()?;
    module.add_function(wrap_pyfunction!(classify_address, module)?)?;
    module.add_function(wrap_pyfunction!(canonical_url, module)?)
}

/// Why `text`, an IP address, is not public; None when it is. Raises ValueError for anything but an address.
#[pyfunction]
fn classify_address(text: &str) -> PyResult<Option<String>> {
    let address: IpAddr =
        text.parse().map_err(|_| pyo3::exceptions::PyValueError::new_err(format!("{text:?} is not an IP address")))?;
    Ok(match classify(address) {
        Verdict::Public => None,
        Verdict::Denied(denial) => Some(denial.to_string()),
    })
}

/// The one spelling of a URL that may be fetched. Raises EgressDenied or InvalidRequest; resolves nothing.
#[pyfunction]
#[pyo3(signature = (text, allow = Vec::new()))]
fn canonical_url(python: Python<'_>, text: &str, allow: Vec<String>) -> PyResult<String> {
    let checked = EgressPolicy::new(&allow).and_then(|policy| policy.check_url(text));
    checked.map(|url| url.to_string()).map_err(|refusal| exception(python, &refusal.into()))
}

/// The loopback forward proxy with a small runtime of its own: it must answer while the engine's threads are busy.
#[pyclass(frozen, module = "vasset._engine")]
struct GuardProxy {
    proxy: Arc<ForwardProxy>,
    runtime: std::sync::Mutex<Option<Runtime>>,
    pid: u32,
}

#[pymethods]
impl GuardProxy {
    #[new]
    #[pyo3(signature = (*, egress_allow = Vec::new()))]
    fn new(python: Python<'_>, egress_allow: Vec<String>) -> PyResult<Self> {
        let policy = EgressPolicy::new(&egress_allow).map_err(|refusal| exception(python, &refusal.into()))?;
        python.detach(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("vasset-guard")
                .enable_all()
                .build()?;
            let connector = Connector::new(policy, TlsSettings::new(None));
            let proxy = Arc::new(runtime.block_on(ForwardProxy::start(connector))?);
            Ok(Self { proxy, runtime: std::sync::Mutex::new(Some(runtime)), pid: std::process::id() })
        })
    }

    /// `http://127.0.0.1:PORT`, without credentials.
    #[getter]
    fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    #[pyo3(signature = (label, *, max_bytes = None, max_connections = 64, timeout_seconds = None, upstream = None))]
    fn issue(
        &self,
        python: Python<'_>,
        label: &str,
        max_bytes: Option<u64>,
        max_connections: u32,
        timeout_seconds: Option<f64>,
        upstream: Option<&str>,
    ) -> PyResult<ProxyCredential> {
        if std::process::id() != self.pid {
            return Err(exception(python, &Error::Forked));
        }
        let timeout = timeout_seconds.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|problem| {
            pyo3::exceptions::PyValueError::new_err(format!("timeout_seconds={timeout_seconds:?}: {problem}"))
        })?;
        let bounds = Bounds { max_bytes, max_connections, timeout };
        let credential = self.proxy.issue(label, bounds, upstream).map_err(|error| exception(python, &error))?;
        Ok(ProxyCredential { credential })
    }

    fn revoke(&self, username: &str) -> bool {
        self.proxy.revoke(username)
    }

    fn usage(&self, username: &str) -> Option<ProxyUsage> {
        let usage = self.proxy.usage(username)?;
        Some(ProxyUsage { bytes: usage.bytes, connections: usage.connections, denials: usage.denials })
    }

    fn close(&self, python: Python<'_>) {
        self.proxy.close();
        let runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // A name lookup in the system's resolver cannot be interrupted; it ends in the background.
            python.detach(|| runtime.shutdown_timeout(Duration::from_millis(200)));
        }
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, python: Python<'_>, _error: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(python);
    }
}

impl Drop for GuardProxy {
    fn drop(&mut self) {
        self.proxy.close();
        let runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            if std::process::id() == self.pid {
                runtime.shutdown_background();
            } else {
                // In a forked child the runtime's threads do not exist; joining them would wait for ever.
                std::mem::forget(runtime);
            }
        }
    }
}

/// Credentials of one task. `repr` shows the user name only.
#[pyclass(frozen, module = "vasset._engine")]
struct ProxyCredential {
    credential: Credential,
}

#[pymethods]
impl ProxyCredential {
    #[getter]
    fn username(&self) -> &str {
        &self.credential.username
    }

    #[getter]
    fn password(&self) -> &str {
        &self.credential.password
    }

    #[getter]
    fn url(&self) -> &str {
        &self.credential.url
    }

    fn __repr__(&self) -> String {
        format!("ProxyCredential(username={:?})", self.credential.username)
    }
}

/// What has gone through one credential.
#[pyclass(frozen, get_all, module = "vasset._engine")]
struct ProxyUsage {
    bytes: u64,
    connections: u64,
    denials: u64,
}

#[pymethods]
impl ProxyUsage {
    fn __repr__(&self) -> String {
        format!("ProxyUsage(bytes={}, connections={}, denials={})", self.bytes, self.connections, self.denials)
    }
}
