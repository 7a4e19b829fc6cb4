//! Names to addresses through the system's resolver, so that `nsswitch.conf` and `hosts` count; cached for a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// `getaddrinfo` tells no lifetime; a minute is what browsers use for such answers.
const LIFETIME: Duration = Duration::from_secs(60);
/// More names than this and the cache starts again, so that a hostile playlist cannot grow it.
const CAPACITY: usize = 1024;

/// A cache in front of `getaddrinfo`, shared by all connections of an engine.
#[derive(Default)]
pub struct Resolver {
    answers: Mutex<HashMap<String, (Instant, Arc<[IpAddr]>)>>,
}

impl Resolver {
    /// All addresses of `name`, IPv6 and IPv4 in the system's order (RFC 6724); never empty.
    pub async fn resolve(&self, name: &str) -> std::io::Result<Arc<[IpAddr]>> {
        if let Some((at, addresses)) = self.answers.lock().get(name)
            && at.elapsed() < LIFETIME
        {
            return Ok(addresses.clone());
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in tokio::net::lookup_host((name, 0)).await? {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        if addresses.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
        }
        let addresses: Arc<[IpAddr]> = addresses.into();
        let mut answers = self.answers.lock();
        if answers.len() >= CAPACITY {
            answers.clear();
        }
        answers.insert(name.to_owned(), (Instant::now(), addresses.clone()));
        Ok(addresses)
    }

    /// Drops what is known of `name`, after none of its addresses answered.
    pub fn forget(&self, name: &str) {
        self.answers.lock().remove(name);
    }
}
