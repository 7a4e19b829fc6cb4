//! `Cookie`, and cookies as arguments take them.

use std::time::{Duration, SystemTime};

use pyo3::prelude::*;

use super::error::Raise;
use crate::net::cookies::Cookie;

/// See the stub.
#[pyclass(name = "Cookie", module = "vasset._engine", frozen)]
pub struct PyCookie {
    cookie: Cookie,
}

#[pymethods]
impl PyCookie {
    #[new]
    #[pyo3(signature = (name, value, domain, *, path="/", secure=false, expires=None))]
    fn new(
        python: Python<'_>,
        name: &str,
        value: &str,
        domain: &str,
        path: &str,
        secure: bool,
        expires: Option<f64>,
    ) -> PyResult<Self> {
        let until = |at: f64| {
            Duration::try_from_secs_f64(at.max(0.0)).ok().and_then(|at| SystemTime::UNIX_EPOCH.checked_add(at))
        };
        let cookie = Cookie::new(name, value, domain).or_raise(python)?;
        Ok(Self { cookie: cookie.at_path(path).over_https_only(secure).until(expires.and_then(until)) })
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.cookie)
    }
}

/// What a caller knows: a header for one origin, or cookies that know where they belong.
#[derive(FromPyObject)]
pub enum Cookies<'py> {
    /// The value of a `Cookie` header.
    Line(String),
    /// A sequence.
    List(Vec<PyRef<'py, PyCookie>>),
}

impl Cookies<'_> {
    /// As a request keeps them.
    pub fn split(cookies: Option<Self>) -> (Option<String>, Vec<Cookie>) {
        match cookies {
            None => (None, Vec::new()),
            Some(Self::Line(line)) => (Some(line), Vec::new()),
            Some(Self::List(list)) => (None, list.iter().map(|one| one.cookie.clone()).collect()),
        }
    }
}
