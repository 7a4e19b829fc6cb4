//! From a checked URL to a connected, checked stream.
//!
//! The egress policy is asked about *all* addresses of the name right before `connect()`, and about the peer right
//! after it: a check at any earlier place (URL, resolver hook, redirect handler) is bypassed by literals, by
//! rebinding or by a second resolution. Literals take the same path as names.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::dns::Resolver;
use super::proxy::Proxy;
use super::stream::Stream;
use super::tls::{TlsSettings, TlsStream};
use crate::error::{Error, Result};
use crate::guard::{EgressPolicy, GuardedUrl, Host};

/// RFC 8305 §5: the next address is tried when the one before has not answered in this time.
const HEAD_START: Duration = Duration::from_millis(250);

/// What a connection is made for.
pub struct Endpoint<'a> {
    /// The checked URL.
    pub url: &'a GuardedUrl,
    /// The proxy in between.
    pub proxy: Option<&'a Proxy>,
    /// Whether ALPN offers HTTP/2.
    pub offers_http2: bool,
    /// Bound of everything: name, TCP, proxy, TLS.
    pub timeout: Duration,
}

/// Makes connections; one per engine.
pub struct Connector {
    policy: EgressPolicy,
    resolver: Resolver,
    tls: TlsSettings,
    turn: AtomicUsize,
}

impl Connector {
    /// Connects only where `policy` allows.
    pub fn new(policy: EgressPolicy, tls: TlsSettings) -> Self {
        Self { policy, resolver: Resolver::default(), tls, turn: AtomicUsize::new(0) }
    }

    /// Resolves names by `resolver` instead of the system.
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// The policy, for checking URLs.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Connects to the URL's origin, through the proxy if there is one, with TLS if the scheme says so.
    pub async fn connect(&self, endpoint: &Endpoint<'_>) -> Result<Stream> {
        let place = place(endpoint.url);
        let seconds = endpoint.timeout.as_secs_f64();
        match tokio::time::timeout(endpoint.timeout, self.connect_unbounded(endpoint, &place)).await {
            Ok(connected) => connected,
            Err(_) => {
                self.resolver.forget(&endpoint.url.host().to_string());
                Err(Error::Timeout { what: "connecting to the host", place, seconds })
            }
        }
    }

    async fn connect_unbounded(&self, endpoint: &Endpoint<'_>, place: &str) -> Result<Stream> {
        let tcp = self.open_tcp(endpoint.url.host(), endpoint.url.port(), endpoint.proxy, place).await?;
        if !endpoint.url.is_https() {
            return Ok(Stream::Plain(tcp));
        }
        let failed = |cause: &std::io::Error| Error::connect("agree on TLS with", place, cause);
        let name = match endpoint.url.host() {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|cause| failed(&std::io::Error::other(cause)))?
            }
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let config = self.tls.config(endpoint.offers_http2)?;
        let tls = TlsStream::connect(tcp, name, config).await.map_err(|cause| failed(&cause))?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// A plain connection to `host`, through the proxy if there is one: what the loopback forward proxy hands on.
    pub async fn connect_tcp(
        &self,
        host: &Host,
        port: u16,
        proxy: Option<&Proxy>,
        timeout: Duration,
    ) -> Result<TcpStream> {
        let place = format!("{host}:{port}");
        match tokio::time::timeout(timeout, self.open_tcp(host, port, proxy, &place)).await {
            Ok(connected) => connected,
            Err(_) => {
                self.resolver.forget(&host.to_string());
                Err(Error::Timeout { what: "connecting to the host", place, seconds: timeout.as_secs_f64() })
            }
        }
    }

    async fn open_tcp(&self, host: &Host, port: u16, proxy: Option<&Proxy>, place: &str) -> Result<TcpStream> {
        let addresses = self.addresses(host, port, place).await?;
        match proxy {
            None => self.race(&host.to_string(), &addresses, place).await,
            Some(proxy) => self.through(proxy, &addresses, place).await,
        }
    }

    /// All addresses of the host, every one of them checked.
    async fn addresses(&self, host: &Host, port: u16, place: &str) -> Result<Vec<SocketAddr>> {
        match host {
            Host::Address(address) => Ok(self.policy.check_addresses(&address.to_string(), port, &[*address])?),
            Host::Name(name) => {
                self.policy.check_host(host, port)?;
                let resolved = self.resolver.resolve(name).await;
                let answers = resolved.map_err(|cause| Error::connect("resolve the name of", place, &cause))?;
                Ok(self.policy.check_addresses(name, port, &answers)?)
            }
        }
    }

    /// Connects to the proxy, which is checked like any other place, and asks it for one of `targets` by *address*:
    /// a proxy that resolved the name again could be sent to an address nobody checked. SNI and `Host` keep the name.
    async fn through(&self, proxy: &Proxy, targets: &[SocketAddr], place: &str) -> Result<TcpStream> {
        let proxy_place = format!("the proxy {}", proxy.place());
        let proxies = self.addresses(proxy.host(), proxy.port(), &proxy_place).await?;
        // Few proxies can do IPv6, and there is no race behind a proxy.
        let target = targets.iter().find(|target| target.is_ipv4()).or(targets.first()).copied();
        let Some(target) = target else {
            let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no address");
            return Err(Error::connect("resolve the name of", place, &cause));
        };
        let mut tcp = self.race(&proxy.host().to_string(), &proxies, &proxy_place).await?;
        let opened = proxy.open(&mut tcp, target).await;
        opened.map_err(|cause| Error::connect("get through", &format!("{proxy_place} to {place}"), &cause))?;
        Ok(tcp)
    }

    /// Happy eyeballs (RFC 8305): families alternate, the first to connect wins, the others are dropped. Successive
    /// connections begin with different addresses, so that several addresses of one name share the load.
    async fn race(&self, host: &str, addresses: &[SocketAddr], place: &str) -> Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut waiting = alternate(addresses, turn).into_iter();
        let mut attempts: JoinSet<(SocketAddr, std::io::Result<TcpStream>)> = JoinSet::new();
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "no address");
        let mut start = |attempts: &mut JoinSet<_>| match waiting.next() {
            Some(address) => {
                attempts.spawn(async move { (address, TcpStream::connect(address).await) });
                true
            }
            None => false,
        };
        start(&mut attempts);
        while !attempts.is_empty() {
            tokio::select! {
                ended = attempts.join_next() => match ended {
                    Some(Ok((dialled, Ok(tcp)))) => {
                        let peer = tcp.peer_addr().map_err(|cause| refused(place, &cause))?;
                        self.policy.check_peer(host, dialled, peer)?;
                        tcp.set_nodelay(true).map_err(|cause| refused(place, &cause))?;
                        return Ok(tcp);
                    }
                    Some(Ok((_, Err(cause)))) => {
                        last = cause;
                        start(&mut attempts);
                    }
                    _ => {}
                },
                () = tokio::time::sleep(HEAD_START) => {
                    start(&mut attempts);
                }
            }
        }
        self.resolver.forget(host);
        Err(refused(place, &last))
    }
}

fn refused(place: &str, cause: &std::io::Error) -> Error {
    Error::connect("connect to", place, cause)
}

/// Host and port, as messages show them.
pub fn place(url: &GuardedUrl) -> String {
    match url.host() {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{}", url.port()),
        host => format!("{host}:{}", url.port()),
    }
}

/// The family of the first address first, then alternating; each family rotated by `turn`.
fn alternate(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let rotated = |is_first_family: bool| {
        let mut family: Vec<SocketAddr> = addresses
            .iter()
            .copied()
            .filter(|address| (address.is_ipv4() == first.is_ipv4()) == is_first_family)
            .collect();
        if !family.is_empty() {
            let by = turn % family.len();
            family.rotate_left(by);
        }
        family.into_iter()
    };
    let (mut preferred, mut other) = (rotated(true), rotated(false));
    let mut order = Vec::with_capacity(addresses.len());
    loop {
        let pair = (preferred.next(), other.next());
        if pair == (None, None) {
            return order;
        }
        order.extend(pair.0.into_iter().chain(pair.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_successive_turns_start_elsewhere() {
        let parse = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (a, b, c) = (parse("[2600::1]:80"), parse("[2600::2]:80"), parse("9.9.9.9:80"));
        assert_eq!(alternate(&[a, b, c], 0), [a, c, b]);
        assert_eq!(alternate(&[a, b, c], 1), [b, c, a]);
        assert_eq!(alternate(&[], 3), []);
    }
}
