//! Places where a test ends the process as `kill -9` would: `VASSET_KILL_AT=K6:3` at the third passing of K6.
//! Compiled in builds with debug assertions and with the feature `faultpoints`; in a release a faultpoint is nothing at
//! all.
//!
//! K6 after a write of data, before the journal knows · K7 after a journal record · K8 before the publishing rename ·
//! K9 after it, before the folder is synced and the journal removed.

/// Ends the process here if `VASSET_KILL_AT` says so.
#[macro_export]
macro_rules! faultpoint {
    ($name:literal) => {
        #[cfg(any(debug_assertions, feature = "faultpoints"))]
        $crate::faultpoint::pass($name);
    };
}

/// Whether this build has faultpoints.
pub const IS_ARMED: bool = cfg!(any(debug_assertions, feature = "faultpoints"));

/// Counts a passing of `name` and kills the process at the chosen one.
#[cfg(any(debug_assertions, feature = "faultpoints"))]
pub fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static CHOSEN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var("VASSET_KILL_AT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((chosen, count)) = chosen
        && chosen == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
