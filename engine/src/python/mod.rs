//! The extension module `vasset._engine`: the only files that know Python.
//!
//! Nothing here calls Python from one of the engine's threads. Every wait releases the GIL and looks for signals.

mod cookie;
mod engine;
mod error;
mod evict;
mod guard;
mod handle;
mod request;
mod stream;

use pyo3::prelude::*;

/// What `import vasset._engine` gives; `vasset/_engine.pyi` is its description.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MOST_CONNECTIONS", crate::request::MOST_CONNECTIONS)?;
    error::register(module)?;
    module.add_class::<engine::PyEngine>()?;
    module.add_class::<request::PyRequest>()?;
    module.add_class::<request::PyFragment>()?;
    module.add_class::<cookie::PyCookie>()?;
    module.add_class::<stream::PyStream>()?;
    module.add_class::<handle::PyHandle>()?;
    module.add_class::<handle::PySnapshot>()?;
    module.add_class::<handle::PyOutcome>()?;
    module.add_function(wrap_pyfunction!(engine::hash_file, module)?)?;
    evict::register(module)?;
    guard::register(module)
}
