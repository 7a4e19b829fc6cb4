//! An HTTP/2 origin over TLS that answers each request as a test wants it, also against the rules.
//!
//! It runs on a runtime of its own, so that a hung download cannot hang it. Below HTTP/2 it can send raw frames, and it
//! can turn to HTTP/1.1 when the client asks for that.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::Authority;

/// Bytes of one stream that may wait for the connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How many this origin saw before.
    pub number: usize,
    /// Which connection it came on, counted from zero.
    pub connection: usize,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// When it came.
    pub at: std::time::Instant,
}

/// What comes after the head and the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// END_STREAM.
    End,
    /// RST_STREAM.
    Reset(Reason),
    /// Nothing, until the client gives up.
    Silence,
    /// The TCP connection is cut.
    Cut,
}

/// How one request is answered.
#[derive(Debug, Clone)]
pub enum Act {
    /// With these bytes, or the range of them that was asked for.
    File(Vec<u8>),
    /// With exactly this.
    Say { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>, ending: Ending },
    /// With this many interim responses, and then nothing.
    Interim(usize),
    /// With RST_STREAM instead of a head.
    Refuse(Reason),
    /// As the other says, after so many requests have arrived in all.
    After(usize, Box<Act>),
    /// With its answer and an orderly GOAWAY: what is on its way is still answered, nothing later.
    LastOne(Box<Act>),
    /// With a GOAWAY that ends every stream at once.
    GoAway(Reason),
}

impl Act {
    /// These bytes with a head that fits.
    pub fn say(body: impl Into<Vec<u8>>, ending: Ending) -> Self {
        Self::Say { status: 200, headers: Vec::new(), body: body.into(), ending }
    }

    /// Adds a header.
    pub fn with(self, name: &'static str, value: impl ToString) -> Self {
        match self {
            Self::Say { status, mut headers, body, ending } => {
                headers.push((name, value.to_string()));
                Self::Say { status, headers, body, ending }
            }
            other => other,
        }
    }

    /// Another status.
    pub fn status(self, status: u16) -> Self {
        match self {
            Self::Say { headers, body, ending, .. } => Self::Say { status, headers, body, ending },
            other => other,
        }
    }
}

type Script = dyn Fn(&Asked) -> Act + Send + Sync;

struct Shared {
    script: Box<Script>,
    raw: Option<(Vec<u8>, Vec<u8>)>,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
    connections: AtomicUsize,
    by_http1: AtomicUsize,
}

/// A running origin on 127.0.0.1.
pub struct Http2Origin {
    authority: Authority,
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Http2Origin {
    /// Answers by `script` over HTTP/2 only.
    pub fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::run(Box::new(script), None, &[b"h2"])
    }

    /// Answers with `first` and then `repeated` for ever instead of HTTP/2, and by `script` over HTTP/1.1 to those who
    /// want that.
    pub fn raw(first: Vec<u8>, repeated: Vec<u8>, script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::run(Box::new(script), Some((first, repeated)), &[b"h2", b"http/1.1"])
    }

    /// Answers over HTTP/1.1 only.
    pub fn without_http2(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::run(Box::new(script), None, &[b"http/1.1"])
    }

    fn run(script: Box<Script>, raw: Option<(Vec<u8>, Vec<u8>)>, protocols: &[&[u8]]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(authority.server(protocols));
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            raw,
            asked: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            by_http1: AtomicUsize::new(0),
        });
        runtime.spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self { authority, address, shared, runtime: Some(runtime) }
    }

    /// The URL of a path that starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The root that vouches for it.
    pub fn ca_file(&self) -> &Path {
        self.authority.path()
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many TLS connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them chose HTTP/1.1.
    pub fn connections_by_http1(&self) -> usize {
        self.shared.by_http1.load(Ordering::SeqCst)
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Shared {
    fn note(&self, connection: usize, path: &str, headers: &HeaderMap) -> Asked {
        let mut list = self.asked.lock().unwrap();
        let asked = Asked {
            number: list.len(),
            connection,
            path: path.to_owned(),
            headers: headers.clone(),
            at: std::time::Instant::now(),
        };
        list.push(asked.clone());
        self.count.send_replace(list.len());
        asked
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let number = shared.connections.fetch_add(1, Ordering::SeqCst);
            let protocol = tls.get_ref().1.alpn_protocol().unwrap_or(b"http/1.1").to_vec();
            match (&shared.raw, protocol.as_slice()) {
                (_, b"http/1.1") => {
                    shared.by_http1.fetch_add(1, Ordering::SeqCst);
                    converse_by_http1(tls, number, &shared).await;
                }
                (Some((first, repeated)), _) => send_raw(tls, first, repeated).await,
                (None, _) => converse(tls, number, shared).await,
            }
        });
    }
}

async fn send_raw(mut tls: TlsStream<TcpStream>, first: &[u8], repeated: &[u8]) {
    let mut preface = [0; 24];
    if tls.read_exact(&mut preface).await.is_err() || tls.write_all(first).await.is_err() {
        return;
    }
    let _ = tls.flush().await;
    while !repeated.is_empty() && tls.write_all(repeated).await.is_ok() {}
    let mut rest = [0; 1024];
    while tls.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}

async fn converse_by_http1(mut tls: TlsStream<TcpStream>, connection: usize, shared: &Shared) {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match tls.read_buf(&mut unread).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&unread[..end]).into_owned();
        unread.drain(..end);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (shown, body) = match (shared.script)(&shared.note(connection, &path, &HeaderMap::new())) {
            Act::File(body) => ("200 OK", body),
            _ => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {shown}\r\nContent-Length: {}\r\n\r\n", body.len());
        if tls.write_all(head.as_bytes()).await.is_err()
            || tls.write_all(&body).await.is_err()
            || tls.flush().await.is_err()
        {
            return;
        }
    }
}

async fn converse(tls: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let (cut, mut is_cut) = watch::channel(false);
    let Ok(mut connection) = h2::server::Builder::new()
        .max_concurrent_streams(100)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake(tls)
        .await
    else {
        return;
    };
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => begin(&mut connection, request, respond, number, &shared, &cut),
                _ => return,
            },
            _ = is_cut.wait_for(|is_cut| *is_cut) => return,
        }
    }
}

fn begin(
    connection: &mut Connection<TlsStream<TcpStream>, Bytes>,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    number: usize,
    shared: &Arc<Shared>,
    cut: &watch::Sender<bool>,
) {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
    let mut headers = request.headers().clone();
    if let Some(authority) = request.uri().authority() {
        headers.insert("authority-as-sent", authority.as_str().parse().unwrap());
    }
    let asked = shared.note(number, &path, &headers);
    let act = match (shared.script)(&asked) {
        Act::GoAway(reason) => return connection.abrupt_shutdown(reason),
        Act::LastOne(act) => {
            connection.graceful_shutdown();
            *act
        }
        act => act,
    };
    let (counted, cut) = (shared.count.subscribe(), cut.clone());
    tokio::spawn(async move {
        let _ = perform(act, &asked, respond, counted, &cut).await;
    });
}

async fn perform(
    act: Act,
    asked: &Asked,
    mut respond: SendResponse<Bytes>,
    mut counted: watch::Receiver<usize>,
    cut: &watch::Sender<bool>,
) -> Result<(), h2::Error> {
    match act {
        Act::File(bytes) => {
            let (status, headers, body) = honest(&bytes, &asked.headers);
            say(&mut respond, status, &headers, body, Ending::End, cut).await
        }
        Act::Say { status, headers, body, ending } => say(&mut respond, status, &headers, body, ending, cut).await,
        Act::Interim(count) => {
            for _ in 0..count {
                respond.send_informational(Response::builder().status(103).body(()).unwrap())?;
                tokio::task::yield_now().await;
            }
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map(drop)
        }
        Act::Refuse(reason) => {
            respond.send_reset(reason);
            Ok(())
        }
        Act::After(count, act) => {
            let _ = counted.wait_for(|seen| *seen >= count).await;
            Box::pin(perform(*act, asked, respond, counted, cut)).await
        }
        Act::LastOne(_) | Act::GoAway(_) => Ok(()),
    }
}

/// Status, headers and body of an honest answer.
fn honest(bytes: &[u8], asked: &HeaderMap) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
    let range = asked.get("range").and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else {
        return (200, vec![("content-length", bytes.len().to_string())], bytes.to_vec());
    };
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
    let part = bytes[first..end].to_vec();
    let content_range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
    (206, vec![("content-length", part.len().to_string()), ("content-range", content_range)], part)
}

async fn say(
    respond: &mut SendResponse<Bytes>,
    status: u16,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
    ending: Ending,
    cut: &watch::Sender<bool>,
) -> Result<(), h2::Error> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), false)?;
    send(&mut stream, body.into()).await?;
    if matches!(ending, Ending::Reset(_) | Ending::Cut) {
        // A reset discards what is still queued: the client would never see that there was an answer.
        until_written(&mut stream).await?;
    }
    match ending {
        Ending::End => stream.send_data(Bytes::new(), true),
        Ending::Reset(reason) => {
            stream.send_reset(reason);
            Ok(())
        }
        Ending::Silence => std::future::poll_fn(|cx| stream.poll_reset(cx)).await.map(drop),
        Ending::Cut => {
            cut.send_replace(true);
            Ok(())
        }
    }
}

/// Waits until everything that was sent is on the connection, which is when the whole buffer is free again.
async fn until_written(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    stream.reserve_capacity(SEND_BUFFER_BYTES);
    while stream.capacity() < SEND_BUFFER_BYTES {
        let Some(capacity) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        capacity?;
    }
    Ok(())
}

/// Sends all of it as the client's windows allow.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(capacity) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let piece = bytes.split_to(capacity?.min(bytes.len()));
        stream.send_data(piece, false)?;
    }
    Ok(())
}
