//! HTTP over our own connections: guarded at `connect()`, redirects followed hop by hop, bodies read into the
//! caller's buffer.
//!
//! [`Client::get`] is all that downloads and fragments need. It is cheap to clone and shares everything: idle
//! connections, caps per host, the resolver's cache, TLS sessions and the egress policy.

pub mod connector;
pub mod dns;
pub mod hot;
pub mod http1;
pub mod pool;
pub mod proxy;
pub mod stream;
pub mod tls;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderValue};
use parking_lot::Mutex;
use url::Url;

use self::connector::{Connector, Endpoint, place};
use self::hot::HotBuffer;
use self::http1::{BodyReader, Excess, Fault, Head};
use self::pool::{Pool, PoolKey};
use self::proxy::Proxy;
use self::stream::Stream;
use crate::error::{Error, Result, shown};
use crate::guard::GuardedUrl;
use crate::limit::{ConnectionPermit, ConnectionPermits, PermitHolder};

/// Headers of the caller that may follow a redirect to another origin. Everything else (authorisation, cookies,
/// private tokens under any name) stays at the origin it was meant for.
const PUBLIC_HEADERS: [header::HeaderName; 5] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::ORIGIN, header::REFERER, header::USER_AGENT];

/// One `GET`, with the bounds it runs under.
#[derive(Debug, Clone)]
pub struct FetchSpec {
    /// What to get.
    pub url: Url,
    /// The caller's headers; see `private_to`.
    pub headers: HeaderMap,
    /// A `Cookie` header, sent to `private_to` only.
    pub cookies: Option<String>,
    /// The origin that headers outside the public few, and cookies, may be sent to. `None` is the origin of `url`.
    pub private_to: Option<url::Origin>,
    /// First and last byte, both included; an open end asks for all the rest.
    pub range: Option<(u64, Option<u64>)>,
    /// `If-Range` validator; only sent with a range.
    pub if_range: Option<String>,
    /// Upstream proxy.
    pub proxy: Option<Proxy>,
    /// Bound of name + TCP + TLS + proxy.
    pub connect_timeout: Duration,
    /// Bound of the wait for response headers.
    pub header_timeout: Duration,
    /// Hops that are followed.
    pub max_redirects: u32,
    /// In whose name the connection is taken from the caps; `None` is the client itself, with no fair share.
    pub holder: Option<PermitHolder>,
}

impl FetchSpec {
    /// A plain `GET` with the default bounds.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            headers: HeaderMap::new(),
            cookies: None,
            private_to: None,
            range: None,
            if_range: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            max_redirects: 10,
            holder: None,
        }
    }
}

/// A final response (never 1xx or a followed 3xx); the body has not been read.
pub struct Response {
    /// Any final status: judging it is the caller's work.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where the response came from, after redirects.
    pub final_url: Url,
    /// From sending the request to the head: round trip and the server's thinking.
    pub first_byte: Duration,
    /// The body; dropping it early closes the connection.
    pub body: Body,
}

/// The shared HTTP client of an engine.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    pool: Pool,
    permits: ConnectionPermits,
    own_holder: PermitHolder,
    pauses: Mutex<HashMap<String, Instant>>,
    user_agent: HeaderValue,
}

impl Client {
    /// A client that connects by `connector`, within the caps of `permits`.
    pub fn new(connector: Connector, permits: ConnectionPermits, user_agent: HeaderValue) -> Self {
        let own_holder = permits.holder(1);
        let pauses = Mutex::default();
        let shared = Shared { connector, pool: Pool::default(), permits, own_holder, pauses, user_agent };
        Self { shared: Arc::new(shared) }
    }

    /// The caps on connections in use.
    pub fn permits(&self) -> &ConnectionPermits {
        &self.shared.permits
    }

    /// The host refused (429, 503): halves its cap and lets nobody ask it again before `pause` is over.
    pub fn push_back(&self, host: &str, pause: Duration) {
        self.shared.permits.push_back(host);
        let until = Instant::now() + pause;
        let mut pauses = self.shared.pauses.lock();
        pauses.retain(|_, known| *known > Instant::now());
        let known = pauses.entry(host.to_owned()).or_insert(until);
        *known = until.max(*known);
    }

    async fn wait_for_pause(&self, host: &str) {
        loop {
            let until = self.shared.pauses.lock().get(host).copied();
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until.into()).await,
                _ => return,
            }
        }
    }

    /// Reads and checks a URL as the egress policy sees it.
    pub fn check_url(&self, text: &str) -> Result<GuardedUrl> {
        Ok(self.shared.connector.policy().check_url(text)?)
    }

    /// Sends the request and follows redirects, each hop checked anew. Waits for a place at the host first.
    pub async fn get(&self, spec: &FetchSpec) -> Result<Response> {
        let private_to = spec.private_to.clone().unwrap_or_else(|| spec.url.origin());
        let mut url = self.check_url(spec.url.as_str())?;
        let mut hops = 0;
        loop {
            let response = self.get_once(spec, &url, &private_to).await?;
            let Some(location) = redirect(&response) else { return Ok(response) };
            if hops == spec.max_redirects {
                return Err(Error::LimitExceeded {
                    what: format!("the number of redirects from {}", shown(&spec.url)),
                    limit: u64::from(hops),
                });
            }
            hops += 1;
            let location = location.ok_or_else(|| Error::lied(url.url(), "its redirect has no readable Location"))?;
            let next = self.shared.connector.policy().check_reference(&url, &location)?;
            if url.is_https()
                && !next.is_https()
                && (spec.cookies.is_some() || spec.headers.contains_key(header::AUTHORIZATION))
            {
                return Err(Error::lied(url.url(), "it redirects a signed-in request from https to http"));
            }
            url = next;
        }
    }

    async fn get_once(&self, spec: &FetchSpec, url: &GuardedUrl, private_to: &url::Origin) -> Result<Response> {
        let key = PoolKey {
            is_https: url.is_https(),
            host: url.host().to_string(),
            port: url.port(),
            proxy: spec.proxy.clone(),
        };
        self.wait_for_pause(&key.host).await;
        let permit = spec.holder.as_ref().unwrap_or(&self.shared.own_holder).acquire(&key.host).await;
        let headers = self.request_headers(spec, url, private_to);
        // A kept connection may have been closed by the server just now; only then is one more attempt free.
        if let Some(stream) = self.shared.pool.take(&key) {
            match self.exchange(stream, spec, url, &headers).await {
                Ok((head, stream, excess, first_byte)) => {
                    return Ok(self.response(head, stream, excess, first_byte, url, key, permit));
                }
                Err(Error::Truncated { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        let endpoint = Endpoint { url, proxy: spec.proxy.as_ref(), offers_http2: false, timeout: spec.connect_timeout };
        let stream = self.shared.connector.connect(&endpoint).await?;
        let (head, stream, excess, first_byte) = self.exchange(stream, spec, url, &headers).await?;
        Ok(self.response(head, stream, excess, first_byte, url, key, permit))
    }

    async fn exchange(
        &self,
        mut stream: Stream,
        spec: &FetchSpec,
        url: &GuardedUrl,
        headers: &HeaderMap,
    ) -> Result<(Head, Stream, Vec<u8>, Duration)> {
        let started = Instant::now();
        let mut excess = Vec::new();
        let target = &url.url()[url::Position::BeforePath..url::Position::AfterQuery];
        let exchange = async {
            http1::send_get(&mut stream, target, headers).await?;
            http1::read_head(&mut stream, &mut excess).await
        };
        match tokio::time::timeout(spec.header_timeout, exchange).await {
            Ok(Ok(head)) => Ok((head, stream, excess, started.elapsed())),
            Ok(Err(fault)) => Err(fault_error(fault, url)),
            Err(_) => Err(Error::Timeout {
                what: "the answer",
                place: place(url),
                seconds: spec.header_timeout.as_secs_f64(),
            }),
        }
    }

    fn request_headers(&self, spec: &FetchSpec, url: &GuardedUrl, private_to: &url::Origin) -> HeaderMap {
        let is_private = url.url().origin() == *private_to;
        let mut headers = HeaderMap::with_capacity(spec.headers.len() + 8);
        let host = &url.url()[url::Position::BeforeHost..url::Position::AfterPort];
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("")));
        headers.insert(header::USER_AGENT, self.shared.user_agent.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        for name in spec.headers.keys().filter(|name| is_private || PUBLIC_HEADERS.contains(name)) {
            headers.remove(name);
            for value in spec.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if is_private && let Some(Ok(cookies)) = spec.cookies.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::COOKIE, cookies);
        }
        if let Some((first, last)) = spec.range {
            let last = last.map_or(String::new(), |last| last.to_string());
            if let Ok(range) = HeaderValue::from_str(&format!("bytes={first}-{last}")) {
                headers.insert(header::RANGE, range);
            }
            if let Some(Ok(validator)) = spec.if_range.as_deref().map(HeaderValue::from_str) {
                headers.insert(header::IF_RANGE, validator);
            }
        }
        headers
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one response, named once")]
    fn response(
        &self,
        head: Head,
        stream: Stream,
        excess: Vec<u8>,
        first_byte: Duration,
        url: &GuardedUrl,
        key: PoolKey,
        permit: ConnectionPermit,
    ) -> Response {
        let mut body = Body {
            reader: BodyReader::new(head.framing),
            stream: Some(stream),
            excess: Excess::new(excess),
            keeps_alive: head.keeps_alive,
            url: url.clone(),
            key,
            client: self.clone(),
            permit: Some(permit),
            threshold: 1,
            has_known_length: matches!(head.framing, http1::Framing::Length(_)),
        };
        body.settle();
        Response { status: head.status, headers: head.headers, final_url: url.url().clone(), first_byte, body }
    }
}

/// `None`: not a redirect. `Some(None)`: a redirect to nowhere.
fn redirect(response: &Response) -> Option<Option<String>> {
    matches!(response.status, 301 | 302 | 303 | 307 | 308).then(|| {
        let location = response.headers.get(header::LOCATION)?;
        // Locations are often raw UTF-8, which `to_str` refuses.
        String::from_utf8(location.as_bytes().to_vec()).ok()
    })
}

fn fault_error(fault: Fault, url: &GuardedUrl) -> Error {
    match fault {
        Fault::Io(cause) => Error::Truncated { place: place(url), detail: cause.to_string() },
        Fault::Framing(detail) => Error::lied(url.url(), detail),
    }
}

/// A response body, delivered into the caller's buffer. Read to its end, its connection serves the next request.
pub struct Body {
    reader: BodyReader,
    stream: Option<Stream>,
    excess: Excess,
    keeps_alive: bool,
    url: GuardedUrl,
    key: PoolKey,
    client: Client,
    permit: Option<ConnectionPermit>,
    threshold: usize,
    has_known_length: bool,
}

impl Body {
    /// Reads at least one byte; 0 is the end that the framing announced. Every other end is an error.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Reads at least one and at most `limit` bytes into this thread's hot buffer. Use them before the next `await`.
    pub async fn read_hot(&mut self, limit: usize) -> Result<(HotBuffer, usize)> {
        poll_fn(|cx| {
            let mut hot = HotBuffer::lease();
            let limit = limit.min(hot.len());
            self.poll_read(cx, &mut hot[..limit]).map_ok(|read| (hot, read))
        })
        .await
    }

    /// As [`Body::read`], for callers who have the buffer only while there is something to read.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let read = ready!(self.reader.poll_read(cx, stream, &mut self.excess, buffer))
            .map_err(|fault| fault_error(fault, &self.url))?;
        self.settle();
        Poll::Ready(Ok(read))
    }

    /// Reads a whole small body; more than `limit` bytes is an error.
    pub async fn read_all(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            let read = self.read(&mut piece).await?;
            if read == 0 {
                return Ok(bytes);
            }
            if bytes.len() + read > limit {
                return Err(Error::LimitExceeded {
                    what: format!("the size of {}", shown(self.url.url())),
                    limit: limit as u64,
                });
            }
            bytes.extend_from_slice(&piece[..read]);
        }
    }

    /// Whether all of the body has been read.
    pub fn has_ended(&self) -> bool {
        self.reader.has_ended()
    }

    /// Whether the head named the length of the body.
    pub fn has_known_length(&self) -> bool {
        self.has_known_length
    }

    /// Bytes certainly still to come; `None` when the framing does not tell (chunked between chunks, until close).
    pub fn owed(&self) -> Option<u64> {
        self.reader.owed()
    }

    /// Wakes the reader only for `bytes` at once, or fewer where the body ends earlier.
    pub fn set_wake_threshold(&mut self, bytes: usize) {
        let held = self.excess.len() + self.stream.as_ref().map_or(0, Stream::held_at_most);
        let owed = self.reader.owed().unwrap_or(1).saturating_sub(held as u64);
        let wanted = bytes.min(usize::try_from(owed).unwrap_or(usize::MAX)).max(1);
        if wanted != self.threshold
            && let Some(stream) = &self.stream
        {
            stream.set_wake_threshold(wanted);
            self.threshold = wanted;
        }
    }

    /// The host this body comes from, as the caps count it.
    pub fn host(&self) -> &str {
        &self.key.host
    }

    /// Whether this connection should be given up between two requests: a task with fewer waits for one.
    pub fn is_wanted(&self) -> bool {
        self.permit.as_ref().is_some_and(ConnectionPermit::is_wanted)
    }

    /// Gives connection and permit back as soon as the end has been read.
    fn settle(&mut self) {
        if !self.reader.has_ended() {
            return;
        }
        if self.threshold != 1
            && let Some(stream) = &self.stream
        {
            stream.set_wake_threshold(1);
        }
        // Bytes behind the end belong to no request: such a connection is not to be trusted again.
        let is_clean = self.excess.is_empty();
        if let Some(stream) = self.stream.take()
            && self.keeps_alive
            && is_clean
        {
            self.client.shared.pool.put(self.key.clone(), stream);
        }
        self.permit = None;
    }
}
