//! Which origins speak HTTP/2, and the connections to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::pool::PoolKey;
use super::super::stream::Stream;
use super::MOST_STREAMS;
use super::connection::{Connection, Lease};
use crate::error::{Error, Result};

/// How long it is believed that an origin speaks HTTP/1.1 only, or takes few streams.
const BELIEF_LIFETIME: Duration = Duration::from_secs(600);
/// More origins than this and those without connections are forgotten, so that a playlist cannot grow the map.
const CAPACITY: usize = 256;

/// What is known of each origin; one per client.
#[derive(Default)]
pub struct Origins {
    known: Mutex<HashMap<PoolKey, Arc<Origin>>>,
}

/// How to send a request.
pub enum Route {
    /// By HTTP/1.1, over the new connection that was made to find out, if there is one.
    Http1(Option<Stream>),
    /// By HTTP/2.
    Http2(Lease),
}

/// One origin.
#[derive(Default)]
pub(super) struct Origin {
    state: Mutex<State>,
    /// Held while somebody connects: the others wait for what it brings instead of connecting too.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    http1_until: Option<Instant>,
    failure: Option<(Instant, Error)>,
    /// How often the streams per connection were halved because the origin did not take them, and until when.
    halvings: u32,
    narrow_until: Option<Instant>,
}

impl Origins {
    /// A way to the origin of `key`; `connect` is called when a connection is missing and nobody is making one.
    pub async fn route<F>(&self, key: &PoolKey, connect: impl FnOnce() -> F) -> Result<Route>
    where
        F: Future<Output = Result<Stream>>,
    {
        let origin = self.origin(key);
        if let Some(route) = origin.known_route() {
            return Ok(route);
        }
        let asked = Instant::now();
        let _connecting = origin.connecting.lock().await;
        if let Some(route) = origin.known_route() {
            return Ok(route);
        }
        if let Some((failed, error)) = &origin.state.lock().failure
            && *failed >= asked
        {
            return Err(error.clone());
        }
        match connect().await {
            Ok(stream) if stream.alpn() == Some(b"h2") => match Connection::begin(stream).await {
                Ok(connection) => {
                    let lease = connection.lease(&origin);
                    origin.state.lock().connections.push(connection);
                    Ok(Route::Http2(lease))
                }
                Err(cause) => Err(Error::Truncated { place: key.host.clone(), detail: cause.to_string() }),
            },
            Ok(stream) => {
                origin.distrust();
                Ok(Route::Http1(Some(stream)))
            }
            Err(error) => {
                origin.state.lock().failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn origin(&self, key: &PoolKey) -> Arc<Origin> {
        let mut known = self.known.lock();
        if known.len() >= CAPACITY && !known.contains_key(key) {
            known.retain(|_, origin| Arc::strong_count(origin) > 1 || origin.has_connections());
        }
        Arc::clone(known.entry(key.clone()).or_default())
    }
}

impl Origin {
    fn known_route(self: &Arc<Self>) -> Option<Route> {
        let mut state = self.state.lock();
        if state.http1_until.is_some_and(|until| until > Instant::now()) {
            return Some(Route::Http1(None));
        }
        state.connections.retain(Connection::is_usable);
        if state.narrow_until.is_some_and(|until| until <= Instant::now()) {
            (state.halvings, state.narrow_until) = (0, None);
        }
        let allowed = (MOST_STREAMS >> state.halvings).max(1);
        let has_room = |one: &&Connection| one.streams() < one.most_streams().min(allowed);
        state.connections.iter().find(has_room).map(|one| Route::Http2(one.lease(self)))
    }

    /// Takes the origin for one of HTTP/1.1.
    pub(super) fn distrust(&self) {
        let mut state = self.state.lock();
        state.connections.clear();
        state.http1_until = Some(Instant::now() + BELIEF_LIFETIME);
    }

    /// Gives each connection half as many streams as before.
    pub(super) fn narrow(&self) {
        let mut state = self.state.lock();
        state.halvings = (state.halvings + 1).min(MOST_STREAMS.ilog2());
        state.narrow_until = Some(Instant::now() + BELIEF_LIFETIME);
    }

    fn has_connections(&self) -> bool {
        let mut state = self.state.lock();
        state.connections.retain(Connection::is_usable);
        !state.connections.is_empty()
    }
}
