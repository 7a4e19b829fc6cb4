//! The addresses of this machine, which may be public and still lead to services that listen here.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a list of interface addresses is trusted before the kernel is asked again.
const LIFETIME: Duration = Duration::from_secs(30);

/// The interface addresses of this machine, read again every half minute at most.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    known: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

impl OwnAddresses {
    /// Whether `address` belongs to an interface of this machine. When the kernel cannot be asked, the last answer counts.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_fresh = known.as_ref().is_some_and(|(read, _)| read.elapsed() < LIFETIME);
        if !is_fresh && let Ok(interfaces) = if_addrs::get_if_addrs() {
            *known = Some((Instant::now(), interfaces.iter().map(if_addrs::Interface::ip).collect()));
        }
        known.as_ref().is_some_and(|(_, addresses)| addresses.contains(&address))
    }
}
