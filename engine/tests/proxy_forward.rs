//! The loopback forward proxy over real sockets: who may use it, where it connects, what it passes on and when it ends.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::file;
use support::origin::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use vasset_engine::guard::EgressPolicy;
use vasset_engine::guard::proxy::{Bounds, Credential, ForwardProxy};
use vasset_engine::net::connector::Connector;
use vasset_engine::net::dns::Resolver;
use vasset_engine::net::tls::TlsSettings;

const SOON: Duration = Duration::from_secs(10);

fn connector(allow: &[&str]) -> Connector {
    let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
    Connector::new(EgressPolicy::new(&allow).unwrap(), TlsSettings::new(None))
}

async fn proxy(allow: &[&str]) -> ForwardProxy {
    ForwardProxy::start(connector(allow)).await.unwrap()
}

fn issue(proxy: &ForwardProxy) -> Credential {
    proxy.issue("task", Bounds::default(), None).unwrap()
}

fn authorization(credential: &Credential) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let plain = format!("{}:{}", credential.username, credential.password);
    let mut text = String::new();
    for piece in plain.as_bytes().chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(*piece.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at <= piece.len() { digit } else { '=' });
        }
    }
    format!("Proxy-Authorization: Basic {text}\r\n")
}

/// Sends raw bytes to the proxy and reads until it closes.
async fn ask(proxy: &ForwardProxy, request: &str) -> String {
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, client.read_to_end(&mut answer)).await.expect("the proxy did not answer in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(proxy: &ForwardProxy, credential: &Credential, url: &str) -> String {
    ask(proxy, &format!("GET {url} HTTP/1.1\r\nHost: ignored\r\n{}\r\n", authorization(credential))).await
}

/// Opens a tunnel and returns it with the status of the answer.
async fn tunnel(proxy: SocketAddr, credential: &Credential, authority: &str) -> (u16, TcpStream) {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", authorization(credential));
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(SOON, client.read_u8()).await.expect("no answer in time").unwrap());
    }
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, client)
}

/// A listener that nobody may reach.
struct Canary {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let hits = Arc::clone(&hits);
            async move {
                while let Ok((_socket, _)) = listener.accept().await {
                    hits.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { address, hits }
    }

    fn assert_untouched(&self) {
        assert_eq!(self.hits.load(Ordering::SeqCst), 0, "somebody reached the canary");
    }
}

#[tokio::test]
async fn an_allowed_origin_is_reached_plainly_and_by_tunnel() {
    let body = file::bytes(1, 300_000);
    let origin = Origin::serving(body.clone(), Some("\"v1\""));
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = issue(&proxy);

    let answer = get(&proxy, &credential, &origin.url("/a?b=c")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Connection: close\r\n"), "{answer:.200}");
    let request = &origin.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a?b=c"));
    assert_eq!(request.header("host"), Some(origin.address().to_string().as_str()));
    assert_eq!(request.header("proxy-authorization"), None);

    let (status, mut client) = tunnel(proxy.address(), &credential, &origin.address().to_string()).await;
    assert_eq!(status, 200);
    client.write_all(b"GET /t HTTP/1.1\r\nHost: x\r\nRange: bytes=10-19\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&body[10..20]) {
        assert!(timeout(SOON, client.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
    }
    let usage = proxy.usage(&credential.username).unwrap();
    assert_eq!((usage.connections, usage.denials), (2, 0));
    assert!(usage.bytes > 300_000);
}

#[tokio::test]
async fn nothing_is_served_without_the_credentials_of_a_running_task() {
    let origin = Origin::serving(vec![1; 10], None);
    let proxy = proxy(&["127.0.0.1"]).await;
    let url = origin.url("/");
    let good = issue(&proxy);
    let wrong = Credential { password: "0".repeat(32), ..good.clone() };
    let unknown = Credential { username: "nobody".into(), ..good.clone() };
    for headers in
        [String::new(), authorization(&wrong), authorization(&unknown), "Proxy-Authorization: Basic ?\r\n".into()]
    {
        let answer = ask(&proxy, &format!("GET {url} HTTP/1.1\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 407 ") && answer.contains("Proxy-Authenticate: Basic"), "{answer}");
        let answer = ask(&proxy, &format!("CONNECT {} HTTP/1.1\r\n{headers}\r\n", origin.address())).await;
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    }
    assert_eq!(origin.connections(), 0);
    assert!(get(&proxy, &good, &url).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn no_spelling_of_this_machine_is_reached() {
    let canary = Canary::start().await;
    let proxy = proxy(&[]).await;
    let credential = issue(&proxy);
    let port = canary.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "a.localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.01",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "LOCALHOST",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[::ffff:0:127.0.0.1]",
        "[fe80::1%25eth0]",
        "user@127.0.0.1",
        "127.0.0.1%00.example.com",
        "example.com\\@127.0.0.1",
    ] {
        let answer = get(&proxy, &credential, &format!("http://{host}:{port}/")).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        let (status, _) = tunnel(proxy.address(), &credential, &format!("{host}:{port}")).await;
        assert!(matches!(status, 400 | 403), "{host}: {status}");
    }
    canary.assert_untouched();
    assert!(proxy.usage(&credential.username).unwrap().denials >= 50);
    assert_eq!(proxy.usage(&credential.username).unwrap().connections, 0);
}

#[tokio::test]
async fn only_http_is_spoken_in_absolute_form_and_only_bare_authorities_are_tunnelled() {
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = issue(&proxy);
    for url in
        ["https://example.com/", "ftp://127.0.0.1/", "file:///etc/passwd", "/etc/passwd", "*", "gopher://127.0.0.1/_"]
    {
        let answer = get(&proxy, &credential, url).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{url}: {answer}");
    }
    for authority in [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "127.0.0.1:80/x",
        "u@127.0.0.1:80",
        "http://127.0.0.1:80",
        ":80",
    ] {
        let (status, _) = tunnel(proxy.address(), &credential, authority).await;
        assert_eq!(status, 400, "{authority}");
    }
}

fn answering(answers: impl Fn(usize) -> Vec<&'static str> + Send + Sync + 'static) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Resolver::from_source({
        let asked = Arc::clone(&asked);
        move |_| {
            let answers = answers(asked.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move { Ok(answers.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect()) })
        }
    });
    (resolver, asked)
}

#[tokio::test]
async fn a_name_with_one_private_answer_is_refused_whatever_the_order() {
    // S107-S109.
    for answers in [
        &["93.184.216.34", "127.0.0.1"][..],
        &["127.0.0.1", "93.184.216.34"],
        &["::1", "93.184.216.34"],
        &["169.254.169.254"],
    ] {
        let canary = Canary::start().await;
        let (resolver, _) = answering(|_| answers.to_vec());
        let proxy = ForwardProxy::start(connector(&[]).with_resolver(resolver)).await.unwrap();
        let credential = issue(&proxy);
        // The canary's port is high and open by policy: only the address can be the reason.
        let authority = format!("rebind.example.com:{}", canary.address.port());
        let (status, _) = tunnel(proxy.address(), &credential, &authority).await;
        assert_eq!(status, 403, "{answers:?}");
        canary.assert_untouched();
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_answer_is_what_is_dialled() {
    // S106: the second answer would be another server; nobody asks for it between check and connect.
    let origin = Origin::serving(b"first".to_vec(), None);
    let (resolver, asked) = answering(|number| vec![if number == 0 { "127.0.0.1" } else { "127.0.0.9" }]);
    let proxy = ForwardProxy::start(connector(&["127.0.0.1/32"]).with_resolver(resolver)).await.unwrap();
    let answer = get(&proxy, &issue(&proxy), &format!("http://rebind.example.com:{}/", origin.address().port())).await;
    assert!(answer.ends_with("first"), "{answer}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(
        origin.requests()[0].header("host"),
        Some(format!("rebind.example.com:{}", origin.address().port()).as_str())
    );
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_ends_as_a_timeout() {
    // S110, in virtual time.
    let resolver = Resolver::from_source(|_| Box::pin(std::future::pending()));
    let connector = connector(&[]).with_resolver(resolver);
    let host = vasset_engine::guard::Host::Name("hangs.example.com".into());
    let error = connector.connect_tcp(&host, 443, None, Duration::from_secs(15)).await.unwrap_err();
    assert_eq!(error.code(), "timeout");
}

#[tokio::test]
async fn private_headers_of_the_proxy_stay_with_the_proxy() {
    let origin = Origin::serving(vec![0; 4], None);
    let proxy = proxy(&["127.0.0.1"]).await;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: evil.example\r\n{}Proxy-Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\nRange: bytes=1-2\r\n\r\n",
        origin.url("/"),
        authorization(&issue(&proxy))
    );
    let answer = ask(&proxy, &request).await;
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    let names: Vec<String> = origin.requests()[0].headers.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["host", "range", "connection"]);
}

#[tokio::test]
async fn a_second_request_does_not_ride_on_the_first_connection() {
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        wire.close();
    });
    let proxy = proxy(&["127.0.0.1"]).await;
    let one = format!("GET {} HTTP/1.1\r\n{}\r\n", origin.url("/one"), authorization(&issue(&proxy)));
    let answer = ask(&proxy, &format!("{one}GET http://127.0.0.1:1/two HTTP/1.1\r\nCookie: secret\r\n\r\n")).await;
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_request_body_of_known_length_arrives_and_others_are_refused() {
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        wire.close();
    });
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = issue(&proxy);
    let head = format!("POST {} HTTP/1.1\r\n{}", origin.url("/"), authorization(&credential));
    let answer = ask(&proxy, &format!("{head}Content-Length: 5\r\n\r\nhello")).await;
    assert!(answer.starts_with("HTTP/1.1 100 ") && answer.contains("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(
        ask(&proxy, &format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).await.starts_with("HTTP/1.1 411 ")
    );
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_refused() {
    let proxy = proxy(&[]).await;
    for request in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        assert!(ask(&proxy, request).await.starts_with("HTTP/1.1 400 "), "{request:?}");
    }
    let many = (0..200).map(|at| format!("X-{at}: y\r\n")).collect::<String>();
    assert!(ask(&proxy, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431 "));
    let long = "y".repeat(40 * 1024);
    assert!(ask(&proxy, &format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n")).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_credential_cannot_pass_more_bytes_than_its_bound() {
    let origin = Origin::serving(vec![7; 1_000_000], None);
    let proxy = proxy(&["127.0.0.1"]).await;
    let bounds = Bounds { max_bytes: Some(100_000), ..Bounds::default() };
    let credential = proxy.issue("task", bounds, None).unwrap();
    let answer = get(&proxy, &credential, &origin.url("/")).await;
    assert!(answer.len() < 200_000, "{}", answer.len());
    assert!(get(&proxy, &credential, &origin.url("/")).await.starts_with("HTTP/1.1 403 "));
    let other = issue(&proxy);
    assert!(get(&proxy, &other, &origin.url("/")).await.len() > 1_000_000, "another task's bytes are its own");
}

#[tokio::test]
async fn a_credential_cannot_hold_more_connections_than_its_bound() {
    let origin = Origin::start(|_, wire| wire.stall());
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = proxy.issue("task", Bounds { max_connections: 2, ..Bounds::default() }, None).unwrap();
    let authority = origin.address().to_string();
    let first = tunnel(proxy.address(), &credential, &authority).await;
    let second = tunnel(proxy.address(), &credential, &authority).await;
    assert_eq!((first.0, second.0), (200, 200));
    assert_eq!(tunnel(proxy.address(), &credential, &authority).await.0, 429);
    drop(first);
    let freed = async { while tunnel(proxy.address(), &credential, &authority).await.0 != 200 {} };
    timeout(SOON, freed).await.expect("a closed connection gives its place back");
}

async fn assert_ends(client: &mut TcpStream) {
    let mut byte = [0];
    let read = timeout(SOON, client.read(&mut byte)).await.expect("the connection was not ended");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn revoking_ends_connections_at_once() {
    let origin = Origin::start(|_, wire| wire.stall());
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = issue(&proxy);
    let (status, mut client) = tunnel(proxy.address(), &credential, &origin.address().to_string()).await;
    assert_eq!(status, 200);
    assert!(proxy.revoke(&credential.username));
    assert_ends(&mut client).await;
    assert_eq!(tunnel(proxy.address(), &credential, &origin.address().to_string()).await.0, 407);
    assert!(!proxy.revoke(&credential.username));
    assert_eq!(proxy.usage(&credential.username), None);
}

#[tokio::test]
async fn time_ends_a_credential_and_its_connections() {
    let origin = Origin::start(|_, wire| wire.stall());
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential =
        proxy.issue("task", Bounds { timeout: Some(Duration::from_millis(300)), ..Bounds::default() }, None).unwrap();
    let (status, mut client) = tunnel(proxy.address(), &credential, &origin.address().to_string()).await;
    assert_eq!(status, 200);
    assert_ends(&mut client).await;
    assert_eq!(tunnel(proxy.address(), &credential, &origin.address().to_string()).await.0, 407);
}

#[tokio::test]
async fn closing_the_proxy_ends_everything() {
    let origin = Origin::start(|_, wire| wire.stall());
    let proxy = proxy(&["127.0.0.1"]).await;
    let (_, mut client) = tunnel(proxy.address(), &issue(&proxy), &origin.address().to_string()).await;
    proxy.close();
    assert_ends(&mut client).await;
    let refused = async { while TcpStream::connect(proxy.address()).await.is_ok() {} };
    timeout(SOON, refused).await.expect("the port is closed");
}

#[tokio::test]
async fn an_origin_that_answers_nonsense_or_nothing_is_a_bad_gateway() {
    let nonsense = Origin::start(|_, wire| {
        wire.send("SSH-2.0-OpenSSH\r\n\r\n\r\n");
        wire.close();
    });
    let silent = Origin::start(|_, wire| wire.reset());
    let proxy = proxy(&["127.0.0.1"]).await;
    let credential = issue(&proxy);
    for origin in [nonsense, silent] {
        let answer = get(&proxy, &credential, &origin.url("/")).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(get(&proxy, &credential, &format!("http://{free}/")).await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn a_third_party_proxy_is_asked_for_the_checked_address_and_is_classified_itself() {
    let upstream = Origin::start(|request, wire| {
        assert_eq!(request.method, "CONNECT");
        wire.send("HTTP/1.1 200 OK\r\n\r\n");
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvia");
        wire.close();
    });
    let (resolver, _) = answering(|_| vec!["93.184.216.34"]);
    let proxy =
        ForwardProxy::start(connector(&[&upstream.address().to_string()]).with_resolver(resolver)).await.unwrap();
    let url = format!("http://user:pa%3Ass@{}", upstream.address());
    let credential = proxy.issue("task", Bounds::default(), Some(&url)).unwrap();
    let answer = get(&proxy, &credential, "http://media.example.com/x").await;
    assert!(answer.ends_with("via"), "{answer}");
    let request = &upstream.requests()[0];
    assert_eq!(request.target, "93.184.216.34:80", "the third party must not resolve the name again");
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpwYTpzcw=="));
    // A private target is refused before the third party hears of it.
    assert!(get(&proxy, &credential, "http://10.0.0.1/").await.starts_with("HTTP/1.1 403 "));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_third_party_proxy_on_a_private_address_is_never_accepted() {
    // S130-S134.
    let proxy = proxy(&[]).await;
    for upstream in [
        "http://127.0.0.1:6379",
        "http://169.254.169.254:80",
        "http://[::1]:5432",
        "http://1.2.3.4:0",
        "http://1.2.3.4:99999",
        "socks5://x",
        "socks5://localhost:1080",
        "ftp://1.2.3.4:80",
        "1.2.3.4:80\r\nX:y",
        "http://2130706433:8080",
        "http://0x7f.1:8080",
        "",
    ] {
        assert!(proxy.issue("task", Bounds::default(), Some(upstream)).is_err(), "{upstream:?}");
    }
    assert!(proxy.issue("task", Bounds::default(), Some("http://1.2.3.4:3128")).is_ok());
}

#[tokio::test]
async fn secrets_are_random_and_stay_out_of_debug_output() {
    let proxy = proxy(&[]).await;
    let (one, two) = (issue(&proxy), issue(&proxy));
    assert!(one.username.starts_with("task-") && one.password.len() == 32);
    assert!(one.username != two.username && one.password != two.password);
    assert!(!format!("{one:?}").contains(&one.password));
    assert!(one.url.contains(&format!("{}:{}@127.0.0.1:", one.username, one.password)));
}
