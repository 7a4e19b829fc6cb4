//! Names with several addresses: a dead one costs a moment, a refusing one nothing, and living ones share the connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use vasset_engine::error::Error;
use vasset_engine::guard::EgressPolicy;
use vasset_engine::net::connector::{Connector, Endpoint};
use vasset_engine::net::dns::Resolver;
use vasset_engine::net::stream::Stream;
use vasset_engine::net::tls::TlsSettings;

const BOUND: Duration = Duration::from_secs(20);

/// Every name resolves to these addresses.
fn connector(addresses: &[&str]) -> Connector {
    let policy = EgressPolicy::new(&["127.0.0.0/8".to_owned(), "::1".to_owned()]).unwrap();
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let resolver = Resolver::from_source(move |_| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    });
    Connector::new(policy, TlsSettings::new(None)).with_resolver(resolver)
}

async fn connect(connector: &Connector, port: u16, timeout: Duration) -> Result<SocketAddr, Error> {
    let url = connector.policy().check_url(&format!("http://media.example:{port}/f"))?;
    let endpoint = Endpoint { url: &url, proxy: None, offers_http2: false, timeout };
    Ok(match connector.connect(&endpoint).await? {
        Stream::Plain(tcp) => tcp.peer_addr().unwrap(),
        Stream::Tls(_) => panic!("nobody asked for TLS"),
    })
}

/// Listeners at several loopback addresses on one port.
fn listeners(hosts: &[&str]) -> (u16, Vec<TcpListener>) {
    for _ in 0..50 {
        let first = TcpListener::bind((hosts[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others: Result<Vec<TcpListener>, _> =
            hosts[1..].iter().map(|host| TcpListener::bind((*host, port))).collect();
        if let Ok(mut others) = others {
            others.insert(0, first);
            return (port, others);
        }
    }
    panic!("no port is free at all of {hosts:?}");
}

/// An address where SYNs are dropped: its queue of connections is full and nobody takes one out. The queue is
/// as long as the returned value lives.
fn black_hole(host: &str) -> (u16, impl Sized) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(host.parse().unwrap(), 0).into()).unwrap();
    socket.listen(0).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let place = SocketAddr::new(host.parse().unwrap(), port);
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&place, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue never fills");
    }
    (port, (socket, queued))
}

#[tokio::test]
async fn successive_connections_go_to_different_addresses_of_a_name() {
    let hosts = ["127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"];
    let (port, _listeners) = listeners(&hosts);
    let connector = connector(&hosts);
    let mut seen: HashMap<IpAddr, usize> = HashMap::new();
    for _ in 0..16 {
        *seen.entry(connect(&connector, port, BOUND).await.unwrap().ip()).or_default() += 1;
    }
    assert_eq!(seen.len(), hosts.len());
    assert!(seen.values().all(|count| *count == 4), "{seen:?}");
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over() {
    let (port, _listeners) = listeners(&["127.0.0.31"]);
    let connector = connector(&["127.0.0.32", "::1", "127.0.0.31"]);
    for _ in 0..6 {
        assert_eq!(connect(&connector, port, BOUND).await.unwrap().ip().to_string(), "127.0.0.31");
    }
}

#[tokio::test]
async fn an_address_that_never_answers_holds_nobody_up() {
    let (port, _queue) = black_hole("127.0.0.41");
    let living = TcpListener::bind(("127.0.0.42", port)).unwrap();
    let connector = connector(&["127.0.0.41", "127.0.0.42"]);
    for _ in 0..2 {
        // Waiting the dead one out would take the whole bound, and then fail.
        assert_eq!(connect(&connector, port, BOUND).await.unwrap().ip().to_string(), "127.0.0.42");
    }
    drop(living);
}

#[tokio::test]
async fn when_no_address_answers_it_says_which_host_and_within_its_bound() {
    let (port, _queue) = black_hole("127.0.0.61");
    let silent = connector(&["127.0.0.61"]);
    let error = connect(&silent, port, Duration::from_millis(400)).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { place, .. } if place.contains("media.example")), "{error}");
    let refusing = connector(&["127.0.0.62", "127.0.0.63"]);
    let error = connect(&refusing, port, BOUND).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { place, .. } if place.contains("media.example")), "{error}");
}
