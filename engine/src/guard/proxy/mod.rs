//! The loopback forward proxy: the only way out for everything that is not the engine.
//!
//! Extraction children, yt-dlp's own downloaders and webhooks speak HTTP proxy (CONNECT and absolute-form) to a port on
//! 127.0.0.1 with credentials of their task. The proxy resolves once, classifies all answers, connects to the checked
//! address and confirms the peer, exactly as the engine does, because it uses the engine's connector. A child cannot skip
//! it: its environment holds nothing else, and addresses it connects to directly are closed by its sandbox.
//!
//! smokescreen is the model; different from it, one bad answer refuses the host, and every credential bounds bytes,
//! connections and time. What the proxy cannot see is the inside of a TLS tunnel: redirects there come back as new
//! CONNECT requests and are checked then.

mod credential;
mod head;
mod serve;
mod tunnel;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::credential::{Bounds, Credential, Usage};
use self::credential::{Credentials, Grant};
use crate::error::Result;
use crate::net::connector::Connector;
use crate::net::proxy::Proxy;

/// Connections over all credentials, signed in or not; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 1024;

/// A running forward proxy. Dropping it ends every connection through it.
pub struct ForwardProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    credentials: Mutex<Credentials>,
    places: Arc<Semaphore>,
    closed: CancellationToken,
}

impl ForwardProxy {
    /// Listens on a free port of 127.0.0.1 and serves on the current tokio runtime.
    pub async fn start(connector: Connector) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            connector,
            credentials: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            closed: CancellationToken::new(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes fresh random credentials for one task. `label` appears in the user name, for logs.
    ///
    /// `upstream` (`http://` or `socks5://`, with credentials) is a third-party proxy behind this one. It is classified
    /// like any other host, and the target is still resolved and classified here: the third party is asked for an address.
    pub fn issue(&self, label: &str, bounds: Bounds, upstream: Option<&str>) -> Result<Credential> {
        let upstream = upstream.map(Proxy::parse).transpose()?;
        if let Some(proxy) = &upstream {
            self.shared.connector.policy().check_host(proxy.host(), proxy.port())?;
        }
        let grant = Grant::new(bounds, upstream, self.shared.closed.child_token());
        Ok(self.shared.credentials.lock().issue(label, grant, self.address))
    }

    /// Withdraws credentials and ends their connections at once. Returns whether they existed.
    pub fn revoke(&self, username: &str) -> bool {
        self.shared.credentials.lock().revoke(username)
    }

    /// What has gone through `username` so far; `None` for unknown or revoked credentials.
    pub fn usage(&self, username: &str) -> Option<Usage> {
        self.shared.credentials.lock().usage(username)
    }

    /// Stops listening and ends every connection. Idempotent.
    pub fn close(&self) {
        self.shared.closed.cancel();
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let closed = shared.closed.clone();
    closed
        .run_until_cancelled(async move {
            loop {
                let Ok(place) = Arc::clone(&shared.places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((client, _)) => {
                        let shared = Arc::clone(&shared);
                        tokio::spawn(async move {
                            let closed = shared.closed.clone();
                            closed.run_until_cancelled(serve::serve(client, &shared)).await;
                            drop(place);
                        });
                    }
                    // Out of descriptors or a connection gone before it was accepted; the former needs a moment.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
            }
        })
        .await;
}
