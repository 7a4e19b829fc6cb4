//! TLS and proxies end to end: certificates decide, cuts are noticed, credentials arrive, targets are asked by address.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use support::download::Lab;
use support::file::bytes;
use support::origin::Origin;
use vasset_engine::error::{Error, Obstacle};
use vasset_engine::remark::Remark;

/// How a TLS server ends a response.
#[derive(Clone, Copy)]
enum Ending {
    /// With a length in the head.
    Length,
    /// Without a length, announced by `close_notify`.
    Announced,
    /// Without a length and without `close_notify`, as a cut looks.
    Cut,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn server(&self, name: &str, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap())
    }
}

/// Serves `file` to every connection; its port.
fn serve_tls(config: Arc<ServerConfig>, file: Vec<u8>, ending: Ending) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
            if read_head(&mut tls).is_empty() {
                continue;
            }
            let length = format!("Content-Length: {}\r\n", file.len());
            let length = if matches!(ending, Ending::Length) { length.as_str() } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n");
            let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(&file)).and_then(|()| tls.flush());
            if !matches!(ending, Ending::Cut) {
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    port
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn trusting(authority: &Authority) -> (Lab, tempfile::NamedTempFile) {
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(authority.issuer.pem().as_bytes()).unwrap();
    let path = ca.path().to_owned();
    let lab = Lab::with(|settings| settings.ca_file = Some(path));
    (lab, ca)
}

#[test]
fn fetches_over_both_versions_of_tls() {
    let authority = Authority::new();
    let file = bytes(1, 3_000_001);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (lab, _ca) = trusting(&authority);
        let port = serve_tls(authority.server("127.0.0.1", &[version]), file.clone(), Ending::Length);
        lab.assert_holds(lab.fetch(&format!("https://127.0.0.1:{port}/f")), &file);
        assert!(lab.target().exists());
    }
}

/// Serves `file` to every connection and closes it; how the handshakes went.
fn serve_counting(config: Arc<ServerConfig>, file: Vec<u8>) -> (u16, Arc<Mutex<Vec<HandshakeKind>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let kinds: Arc<Mutex<Vec<HandshakeKind>>> = Arc::default();
    let seen = kinds.clone();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
            if read_head(&mut tls).is_empty() {
                continue;
            }
            seen.lock().unwrap().extend(tls.conn.handshake_kind());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len());
            let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(&file)).and_then(|()| tls.flush());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (port, kinds)
}

#[test]
fn later_connections_resume_the_session_of_the_first() {
    let authority = Authority::new();
    let file = bytes(3, 300_001);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (lab, _ca) = trusting(&authority);
        let (port, kinds) = serve_counting(authority.server("127.0.0.1", &[version]), file.clone());
        for _ in 0..4 {
            lab.assert_holds(lab.fetch(&format!("https://127.0.0.1:{port}/f")), &file);
            std::fs::remove_file(lab.target()).unwrap();
        }
        let kinds = kinds.lock().unwrap().clone();
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{version:?}: {kinds:?}");
    }
}

#[test]
fn a_certificate_nobody_vouches_for_or_for_another_name_is_refused() {
    let authority = Authority::new();
    let port = serve_tls(authority.server("127.0.0.1", rustls::ALL_VERSIONS), bytes(1, 10), Ending::Length);
    let stranger = Lab::new();
    let refused = stranger.fetch(&format!("https://127.0.0.1:{port}/f")).unwrap_err();
    assert!(matches!(refused, Error::Connect { obstacle: Obstacle::Final, .. }), "{refused:?}");
    assert!(!refused.retryable(), "somebody has to change the certificate first");
    let port = serve_tls(authority.server("other.example", rustls::ALL_VERSIONS), bytes(1, 10), Ending::Length);
    let (lab, _ca) = trusting(&authority);
    assert!(matches!(lab.fetch(&format!("https://127.0.0.1:{port}/f")), Err(Error::Connect { .. })));
}

#[test]
fn a_body_until_close_is_taken_without_close_notify_and_that_is_said() {
    let authority = Authority::new();
    let file = bytes(2, 500_000);
    let config = authority.server("127.0.0.1", rustls::ALL_VERSIONS);
    for (ending, remarks) in [(Ending::Cut, vec![Remark::EndUnannounced]), (Ending::Announced, Vec::new())] {
        let (lab, _ca) = trusting(&authority);
        let url = format!("https://127.0.0.1:{}/f", serve_tls(config.clone(), file.clone(), ending));
        let outcome = lab.fetch(&url);
        assert_eq!(outcome.as_ref().map(|outcome| outcome.remarks.clone()).ok(), Some(remarks));
        lab.assert_holds(outcome, &file);
        std::fs::remove_file(lab.target()).unwrap();
        // What was promised decides where something was.
        let mut request = lab.request(&url);
        request.expected_size = Some(file.len() as u64 + 1);
        lab.assert_refused(lab.run(request), &["origin_lied", "origin_changed", "truncated"]);
    }
    let (lab, _ca) = trusting(&authority);
    let nothing = serve_tls(config, Vec::new(), Ending::Cut);
    lab.assert_refused(lab.fetch(&format!("https://127.0.0.1:{nothing}/f")), &["truncated"]);
}

#[test]
fn a_record_that_arrives_in_two_pieces_at_the_end_does_not_hold_the_body_up() {
    const LAST_RECORD: usize = 10_000;
    let authority = Authority::new();
    let (lab, _ca) = trusting(&authority);
    let file = bytes(6, (3 << 20) + (64 << 10) + LAST_RECORD);
    let config = authority.server("127.0.0.1", &[&rustls::version::TLS13]);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (served, connections) = (file.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let seen = connections.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept_open = Vec::new();
        for tcp in listener.incoming().map_while(Result::ok) {
            seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
            read_head(&mut tls);
            let total = served.len();
            let head = format!(
                "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 0-{}/{total}\r\nContent-Length: {total}\r\n\r\n",
                total - 1
            );
            let (front, last) = served.split_at(total - LAST_RECORD);
            let (large, small) = front.split_at(3 << 20);
            tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(large)).and_then(|()| tls.flush()).unwrap();
            // Small records make the ciphertext so much longer that the reader is woken before the last one is whole,
            // and all of them come in one piece, so that it then holds a part of the last.
            let mut ciphertext = Vec::new();
            for record in small.chunks(512).chain([last]) {
                tls.conn.writer().write_all(record).unwrap();
                while tls.conn.wants_write() {
                    tls.conn.write_tls(&mut ciphertext).unwrap();
                }
            }
            let (first, rest) = ciphertext.split_at(ciphertext.len() - 100);
            tls.sock.write_all(first).unwrap();
            let _ = released.recv();
            let _ = tls.sock.write_all(rest);
            // Closing would wake the reader.
            kept_open.push(tls);
        }
    });
    let mut request = lab.request(&format!("https://127.0.0.1:{port}/f"));
    request.connections = Some(1);
    let handle = lab.engine.submit(request).unwrap();
    let started = std::time::Instant::now();
    while handle.snapshot().downloaded < (file.len() - LAST_RECORD) as u64 {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "the bytes before the last record never came");
        std::thread::yield_now();
    }
    let asked = std::time::Instant::now();
    release.send(()).unwrap();
    handle.wait(Some(std::time::Duration::from_secs(20))).unwrap().unwrap();
    assert!(asked.elapsed() < std::time::Duration::from_millis(1_800), "it waited for more than was owed");
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// What proxies were asked, in words.
type Asked = Arc<Mutex<Vec<String>>>;

fn proxy(tunnel: impl Fn(&mut TcpStream, &Asked) -> Option<TcpStream> + Send + Sync + 'static) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let log = asked.clone();
    let tunnel = Arc::new(tunnel);
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let (log, tunnel) = (log.clone(), tunnel.clone());
            std::thread::spawn(move || {
                let Some(mut upstream) = tunnel(&mut client, &log) else { return };
                let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut upstream, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (port, asked)
}

fn connect_proxy() -> (u16, Asked) {
    proxy(|client, asked| {
        let head = read_head(client);
        asked.lock().unwrap().push(head.clone());
        if !head.contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n") {
            let _ = client.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
            return None;
        }
        let target = head.split(' ').nth(1)?.to_owned();
        let upstream = TcpStream::connect(target).ok()?;
        client.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").ok()?;
        Some(upstream)
    })
}

fn socks_proxy() -> (u16, Asked) {
    proxy(|client, asked| {
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).ok()?;
        client.write_all(&[5, 2]).ok()?;
        let mut signed = [0; 11];
        client.read_exact(&mut signed).ok()?;
        asked.lock().unwrap().push(String::from_utf8_lossy(&signed[1..]).into_owned());
        client.write_all(&[1, u8::from(&signed != b"\x01\x04user\x04p@ss")]).ok()?;
        let mut wanted = [0; 10];
        client.read_exact(&mut wanted).ok()?;
        assert_eq!(wanted[3], 1, "asked by IPv4 address, not by name");
        let port = u16::from_be_bytes([wanted[8], wanted[9]]);
        let upstream =
            TcpStream::connect((std::net::Ipv4Addr::new(wanted[4], wanted[5], wanted[6], wanted[7]), port)).ok()?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
        Some(upstream)
    })
}

#[test]
fn an_http_proxy_gets_the_credentials_and_the_checked_address() {
    let file = bytes(3, 2_000_000);
    let origin = Origin::serving(file.clone(), Some("\"v1\""));
    let (port, asked) = connect_proxy();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.proxy = Some(format!("http://user:p%40ss@127.0.0.1:{port}"));
    lab.run(request).unwrap();
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
    assert!(asked.lock().unwrap()[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", origin.address())));
}

#[test]
fn a_socks5_proxy_gets_the_credentials_and_the_checked_address() {
    let file = bytes(4, 2_000_000);
    let origin = Origin::serving(file.clone(), Some("\"v1\""));
    let (port, _asked) = socks_proxy();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.proxy = Some(format!("socks5://user:p%40ss@127.0.0.1:{port}"));
    lab.run(request).unwrap();
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
}

#[test]
fn wrong_proxy_credentials_are_an_error_that_does_not_show_them() {
    let origin = Origin::serving(bytes(5, 10), None);
    let (port, _asked) = connect_proxy();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.retries = 0;
    request.proxy = Some(format!("http://user:wrongsecret@127.0.0.1:{port}"));
    let error = lab.run(request).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }));
    assert!(!error.to_string().contains("wrongsecret") && error.to_string().contains("407"), "{error}");
    assert!(origin.requests().is_empty());
}

#[test]
fn a_proxy_at_a_place_that_is_not_allowed_is_refused() {
    let lab = Lab::with(|settings| settings.egress_allow.clear());
    let mut request = lab.request("http://9.9.9.9/f");
    request.proxy = Some("socks5://127.0.0.1:1080".to_owned());
    assert!(matches!(lab.run(request), Err(Error::EgressDenied(_))));
}
