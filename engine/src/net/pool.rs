//! Connections that wait for their next request.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::proxy::Proxy;
use super::stream::Stream;

/// Shorter than what servers allow (nginx 75 s, many CDNs 10–60 s).
const LONGEST_IDLE: Duration = Duration::from_secs(15);
/// Per origin; more would only be closed by the server.
const MOST_IDLE_PER_ORIGIN: usize = 16;
/// Over all origins, so that descriptors are bounded.
const MOST_IDLE: usize = 128;

/// Two requests may share a connection when all of this is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// `https`.
    pub is_https: bool,
    /// Canonical host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The proxy in between, credentials included.
    pub proxy: Option<Proxy>,
}

/// Idle HTTP/1.1 connections.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<HashMap<PoolKey, Vec<(Instant, Stream)>>>,
}

impl Pool {
    /// The most recently used live connection for the key.
    pub fn take(&self, key: &PoolKey) -> Option<Stream> {
        let mut idle = self.idle.lock();
        let waiting = idle.get_mut(key)?;
        while let Some((since, stream)) = waiting.pop() {
            if since.elapsed() < LONGEST_IDLE && stream.is_quiet() {
                return Some(stream);
            }
        }
        idle.remove(key);
        None
    }

    /// Keeps a connection whose last response was read to its end.
    pub fn put(&self, key: PoolKey, stream: Stream) {
        let mut idle = self.idle.lock();
        idle.retain(|_, waiting| {
            waiting.retain(|(since, _)| since.elapsed() < LONGEST_IDLE);
            !waiting.is_empty()
        });
        if idle.values().map(Vec::len).sum::<usize>() >= MOST_IDLE {
            return;
        }
        let waiting = idle.entry(key).or_default();
        if waiting.len() < MOST_IDLE_PER_ORIGIN {
            waiting.push((Instant::now(), stream));
        }
    }
}
