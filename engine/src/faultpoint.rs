//! Places where a test ends the process as `kill -9` would: `VASSET_KILL_AT=K6:3` at the third passing of K6.
//! Compiled in builds with debug assertions and with the feature `faultpoints`; in a release a faultpoint is nothing at
//! all.
//!
//! `VASSET_FAIL_DISK=12:28` makes the twelfth operation on the disk, and every one after it, fail with error 28 (ENOSPC);
//! `12:5:1` only the twelfth with error 5 (EIO); `K9+1:5` the first one after K9 was passed, and every one after it.
//!
//! K6 after a write of data, before the journal knows · K7 after a journal record · K8 before the finished file is
//! synced and renamed · K9 after that, before the folder is synced and the journal removed.

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
    if let Some(Fault { after: Some(after), .. }) = Fault::chosen()
        && after == name
    {
        IS_ARMED_NOW.store(true, Ordering::Relaxed);
    }
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

/// How many operations [`disk`] has seen, in a build with faultpoints and a process where `VASSET_FAIL_DISK` is set.
pub static DISK_OPERATIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

#[cfg(any(debug_assertions, feature = "faultpoints"))]
static IS_ARMED_NOW: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// What `VASSET_FAIL_DISK` says.
#[cfg(any(debug_assertions, feature = "faultpoints"))]
struct Fault {
    after: Option<String>,
    first: u64,
    error: i32,
    times: u64,
}

#[cfg(any(debug_assertions, feature = "faultpoints"))]
impl Fault {
    fn chosen() -> Option<&'static Self> {
        static CHOSEN: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
        CHOSEN.get_or_init(|| Self::parse(&std::env::var("VASSET_FAIL_DISK").ok()?)).as_ref()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let first = words.next()?;
        let (after, first) = first.split_once('+').map_or((None, first), |(after, first)| (Some(after), first));
        Some(Self {
            after: after.map(str::to_owned),
            first: first.parse().ok()?,
            error: words.next()?.parse().ok()?,
            times: words.next().and_then(|times| times.parse().ok()).unwrap_or(u64::MAX),
        })
    }
}

/// Stands before every operation that changes the disk: fails as the disk would, if `VASSET_FAIL_DISK` says so.
#[cfg(any(debug_assertions, feature = "faultpoints"))]
pub fn disk() -> std::io::Result<()> {
    use std::sync::atomic::Ordering::Relaxed;
    let Some(fault) = Fault::chosen() else { return Ok(()) };
    if fault.after.is_some() && !IS_ARMED_NOW.load(Relaxed) {
        return Ok(());
    }
    let passing = DISK_OPERATIONS.fetch_add(1, Relaxed) + 1;
    if passing >= fault.first && passing - fault.first < fault.times {
        Err(std::io::Error::from_raw_os_error(fault.error))
    } else {
        Ok(())
    }
}

/// In a release the disk fails by itself.
#[cfg(not(any(debug_assertions, feature = "faultpoints")))]
#[inline(always)]
pub fn disk() -> std::io::Result<()> {
    Ok(())
}
