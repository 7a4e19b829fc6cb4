//! Who may use the proxy, how much, and how much they did.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::proxy::Proxy;

/// Random bytes in a password, written as twice as many hex digits.
const SECRET_BYTES: usize = 16;

/// What one credential may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes in both directions over all connections; `None` is unbounded.
    pub max_bytes: Option<u64>,
    /// Connections at a time.
    pub max_connections: u32,
    /// Time from issue to withdrawal; `None` until revoked.
    pub timeout: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_bytes: None, max_connections: 64, timeout: None }
    }
}

/// A user name and password for one task, valid at one proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Tells whose traffic it is; safe to log.
    pub username: String,
    /// Secret.
    pub password: String,
    /// The proxy with both in it, for `http_proxy` and the like. Secret.
    pub url: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What went through one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in both directions, heads of plain requests included.
    pub bytes: u64,
    /// Connections that were opened to the outside.
    pub connections: u64,
    /// Requests that the policy or a bound refused.
    pub denials: u64,
}

/// A credential as its connections see it.
#[derive(Debug)]
pub(super) struct Grant {
    bounds: Bounds,
    pub(super) upstream: Option<Proxy>,
    pub(super) revoked: CancellationToken,
    deadline: Option<Instant>,
    active: AtomicU32,
    bytes: AtomicU64,
    connections: AtomicU64,
    denials: AtomicU64,
}

impl Grant {
    pub(super) fn new(bounds: Bounds, upstream: Option<Proxy>, revoked: CancellationToken) -> Self {
        Self {
            bounds,
            upstream,
            revoked,
            deadline: bounds.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            active: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            denials: AtomicU64::new(0),
        }
    }

    /// Ends when the credential does: revoked, out of time, or the proxy closed.
    pub(super) async fn ended(&self) {
        match self.deadline {
            Some(deadline) => tokio::select! {
                () = self.revoked.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
            },
            None => self.revoked.cancelled().await,
        }
    }

    fn is_over(&self) -> bool {
        self.revoked.is_cancelled() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// A place among the credential's connections, or `None` when all are taken.
    pub(super) fn enter(self: &Arc<Self>) -> Option<ActiveConnection> {
        let most = self.bounds.max_connections;
        self.active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |active| (active < most).then_some(active + 1))
            .ok()?;
        Some(ActiveConnection { grant: Arc::clone(self) })
    }

    /// Counts bytes that passed; `false` once the bound is exceeded.
    pub(super) fn count_bytes(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bounds.max_bytes.is_none_or(|most| before.saturating_add(bytes) <= most)
    }

    /// Whether the bound on bytes is already reached.
    pub(super) fn is_exhausted(&self) -> bool {
        self.bounds.max_bytes.is_some_and(|most| self.bytes.load(Ordering::Relaxed) >= most)
    }

    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_denial(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        Usage {
            bytes: self.bytes.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            denials: self.denials.load(Ordering::Relaxed),
        }
    }
}

/// One of a credential's connections; its place is free again when dropped.
#[derive(Debug)]
pub(super) struct ActiveConnection {
    pub(super) grant: Arc<Grant>,
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.grant.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All credentials of a proxy.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    password: String,
    grant: Arc<Grant>,
}

impl Credentials {
    pub(super) fn issue(&mut self, label: &str, grant: Grant, address: SocketAddr) -> Credential {
        let label: String = label.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        let username = format!("{label}-{}", random_hex(4));
        let password = random_hex(SECRET_BYTES);
        self.entries.insert(username.clone(), Entry { password: password.clone(), grant: Arc::new(grant) });
        let url = format!("http://{username}:{password}@{address}");
        Credential { username, password, url }
    }

    /// The grant behind a valid user name and password.
    pub(super) fn find(&self, username: &str, password: &str) -> Option<Arc<Grant>> {
        let entry = self.entries.get(username)?;
        let is_valid = is_same_secret(entry.password.as_bytes(), password.as_bytes()) && !entry.grant.is_over();
        is_valid.then(|| Arc::clone(&entry.grant))
    }

    pub(super) fn revoke(&mut self, username: &str) -> bool {
        let entry = self.entries.remove(username);
        entry.inspect(|entry| entry.grant.revoked.cancel()).is_some()
    }

    pub(super) fn usage(&self, username: &str) -> Option<Usage> {
        self.entries.get(username).map(|entry| entry.grant.usage())
    }
}

/// Compares in a time that does not tell how much was right.
fn is_same_secret(expected: &[u8], given: &[u8]) -> bool {
    expected.len() == given.len() && expected.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    // Fails only where the kernel has no randomness at all; a guessable secret would be worse than stopping.
    assert!(source.fill(&mut random).is_ok(), "the operating system gives no random bytes");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
