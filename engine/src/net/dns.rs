//! Names to addresses through the system's resolver, so that `nsswitch.conf` and `hosts` count; cached for a minute.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// `getaddrinfo` tells no lifetime; a minute is what browsers use for such answers.
const LIFETIME: Duration = Duration::from_secs(60);
/// More names than this and the cache starts again, so that a hostile playlist cannot grow it.
const CAPACITY: usize = 1024;

/// A lookup that has been started.
pub type Lookup = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// What a name resolved to, and when.
type Answer = (Instant, Arc<[IpAddr]>);

/// A cache in front of `getaddrinfo` or another source, shared by all connections of an engine.
#[derive(Default)]
pub struct Resolver {
    source: Option<Box<dyn Fn(String) -> Lookup + Send + Sync>>,
    answers: Mutex<HashMap<String, Answer>>,
}

impl Resolver {
    /// Asks `source` instead of the system.
    pub fn from_source(source: impl Fn(String) -> Lookup + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), answers: Mutex::default() }
    }

    /// All addresses of `name`, IPv6 and IPv4 in the system's order (RFC 6724); never empty.
    pub async fn resolve(&self, name: &str) -> std::io::Result<Arc<[IpAddr]>> {
        if let Some((at, addresses)) = self.answers.lock().get(name)
            && at.elapsed() < LIFETIME
        {
            return Ok(addresses.clone());
        }
        let mut addresses = match &self.source {
            Some(source) => source(name.to_owned()).await?,
            None => tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect(),
        };
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(*address));
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
