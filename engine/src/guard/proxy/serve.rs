//! One client connection: sign in, decide, connect, pass bytes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Shared;
use super::credential::{ActiveConnection, Grant};
use super::head::{
    BadHead, LARGEST_REQUEST_HEAD, LARGEST_RESPONSE_HEAD, Target, parse_request, parse_response, read_head,
};
use super::tunnel::Metered;
use crate::error::Error;
use crate::guard::GuardedUrl;

/// How long a client may take to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound of name, TCP and third-party proxy together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an origin may take to answer a plain request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Buffer of a tunnel per direction: outside to client, client to outside.
const TUNNEL_BUFFERS: (usize, usize) = (16 * 1024, 64 * 1024);

/// A refusal as the client sees it.
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Self {
        Self::new(bad.status, "bad_request", bad.problem)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::InvalidRequest(_) => 400,
            Error::EgressDenied(_) => 403,
            Error::Timeout { .. } => 504,
            _ => 502,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

/// Serves one request and closes. Errors end the connection; there is nobody to report them to but the client.
pub(super) async fn serve(mut client: TcpStream, shared: &Shared) {
    let _ = client.set_nodelay(true);
    let refused = match timeout(HEAD_TIMEOUT, read_head(&mut client, Vec::new(), LARGEST_REQUEST_HEAD)).await {
        Ok(Ok((head, rest))) => handle(&mut client, shared, &head, rest).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Refusal::new(431, "bad_request", "the request head is longer than 32 KiB"))
        }
        Ok(Err(_)) => return,
        Err(_) => Err(Refusal::new(408, "bad_request", "the request head did not arrive within 10 s")),
    };
    if let Err(refusal) = refused {
        let _ = answer(&mut client, &refusal).await;
    }
}

async fn handle(client: &mut TcpStream, shared: &Shared, head: &[u8], rest: Vec<u8>) -> Result<(), Refusal> {
    let request = parse_request(head)?;
    let found = request.credentials.and_then(|(user, password)| shared.credentials.lock().find(&user, &password));
    let grant = found.ok_or_else(|| Refusal::new(407, "sign_in", "sign in with the credentials of a running task"))?;
    let served = tokio::select! {
        served = forward(client, shared, &grant, request.target, rest) => served,
        () = grant.ended() => Ok(()),
    };
    served.inspect_err(|refusal| {
        if matches!(refusal.status, 400 | 403 | 429) {
            grant.count_denial();
        }
    })
}

async fn forward(
    client: &mut TcpStream,
    shared: &Shared,
    grant: &Arc<Grant>,
    target: Target,
    rest: Vec<u8>,
) -> Result<(), Refusal> {
    let too_many = || Refusal::new(429, "limit_exceeded", "the task has too many connections open");
    let active = grant.enter().ok_or_else(too_many)?;
    if grant.is_exhausted() {
        return Err(Refusal::new(403, "limit_exceeded", "the task's bytes are used up"));
    }
    match target {
        Target::Tunnel { authority } => {
            let outside = connect(shared, &active, &check_authority(shared, &authority)?).await?;
            tunnel(client, outside, &rest).await;
        }
        Target::Forward { method, url, lines, body_bytes } => {
            let url = shared.connector.policy().check_url(&url).map_err(Error::from)?;
            if url.is_https() {
                return Err(Refusal::new(400, "bad_request", "ask for https by CONNECT"));
            }
            let outside = connect(shared, &active, &url).await?;
            let head = request_head(&method, &url, &lines);
            exchange(client, outside, PlainRequest { method, head, early: rest, body_bytes }).await?;
        }
    }
    Ok(())
}

/// `host:port` of a CONNECT, read by the one URL parser there is. The port must be written.
fn check_authority(shared: &Shared, authority: &str) -> Result<GuardedUrl, Refusal> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_bare = !authority.contains(['/', '?', '#', '@']);
    if !has_port || !is_bare {
        return Err(Refusal::new(400, "bad_request", "CONNECT takes host:port"));
    }
    let url = shared.connector.policy().check_url(&format!("https://{authority}/"));
    Ok(url.map_err(Error::from)?)
}

async fn connect(shared: &Shared, active: &ActiveConnection, url: &GuardedUrl) -> Result<Metered, Refusal> {
    let upstream = active.grant.upstream.as_ref();
    let tcp = shared.connector.connect_tcp(url.host(), url.port(), upstream, CONNECT_TIMEOUT).await?;
    active.grant.count_connection();
    Ok(Metered::new(tcp, Arc::clone(&active.grant)))
}

async fn tunnel(client: &mut TcpStream, mut outside: Metered, rest: &[u8]) {
    let silence = outside.silence();
    let pass = async {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        outside.write_all(rest).await?;
        copy_bidirectional_with_sizes(client, &mut outside, TUNNEL_BUFFERS.0, TUNNEL_BUFFERS.1).await
    };
    tokio::select! {
        _ = pass => {}
        () = silence => {}
    }
}

fn request_head(method: &str, url: &GuardedUrl, lines: &str) -> String {
    let host = &url.url()[::url::Position::BeforeHost..::url::Position::AfterPort];
    let path = &url.url()[::url::Position::BeforePath..::url::Position::AfterQuery];
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n")
}

/// A request in absolute form, ready for its origin.
struct PlainRequest {
    method: String,
    head: String,
    /// What arrived behind the head: the beginning of the body.
    early: Vec<u8>,
    body_bytes: u64,
}

/// Sends the request with its body and passes the response on.
async fn exchange(client: &mut TcpStream, outside: Metered, request: PlainRequest) -> Result<(), Refusal> {
    let silence = outside.silence();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_outside, mut to_outside) = tokio::io::split(outside);
    let send = async {
        to_outside.write_all(request.head.as_bytes()).await?;
        let body = request.early.as_slice().chain(&mut from_client);
        copy(&mut body.take(request.body_bytes), &mut to_outside).await?;
        to_outside.flush().await?;
        // An origin may answer before it has read everything; the response decides when this is over.
        std::future::pending::<io::Result<()>>().await
    };
    let mut has_answered = false;
    let receive = async {
        let mut unread = Vec::new();
        loop {
            let head = timeout(RESPONSE_TIMEOUT, read_head(&mut from_outside, unread, LARGEST_RESPONSE_HEAD)).await;
            let (head, rest) = head.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let response = parse_response(&head, &request.method)?;
            if response.status == 101 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the origin switched protocols unasked"));
            }
            if response.status < 200 {
                to_client.write_all(&response.bytes).await?;
                unread = rest;
                continue;
            }
            has_answered = true;
            to_client.write_all(&response.bytes).await?;
            // Up to the length it tells, else until it closes, as we asked it to.
            let body = rest.as_slice().chain(&mut from_outside);
            return copy(&mut body.take(response.body_bytes.unwrap_or(u64::MAX)), &mut to_client).await.map(drop);
        }
    };
    let result = tokio::select! {
        result = receive => result,
        result = send => result,
        () = silence => Ok(()),
    };
    match result {
        Err(error) if !has_answered && error.kind() == io::ErrorKind::TimedOut => {
            Err(Refusal::new(504, "timeout", "the origin did not answer within 60 s"))
        }
        Err(error) if !has_answered => Err(Refusal::new(502, "connect", format!("the origin did not answer: {error}"))),
        _ => Ok(()),
    }
}

async fn answer(client: &mut TcpStream, refusal: &Refusal) -> io::Result<()> {
    let reason = match refusal.status {
        400 => "Bad Request",
        403 => "Forbidden",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        411 => "Length Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        504 => "Gateway Timeout",
        _ => "Bad Gateway",
    };
    let challenge = if refusal.status == 407 { "Proxy-Authenticate: Basic realm=\"vasset\"\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Vasset-Refusal: {}\r\n{challenge}Connection: close\r\n\r\n{}\n",
        refusal.status,
        refusal.message.len() + 1,
        refusal.code,
        refusal.message,
    );
    client.write_all(head.as_bytes()).await?;
    client.shutdown().await?;
    // Unread request bytes would turn our close into a reset that overtakes the answer.
    let mut discarded = [0; 4096];
    let drain = async { while client.read(&mut discarded).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(Duration::from_secs(1), drain).await;
    Ok(())
}
