//! HTTP over our own connections: guarded at `connect()`, redirects followed hop by hop, bodies read into the
//! caller's buffer.
//!
//! [`Client::get`] is all that downloads and fragments need. It is cheap to clone and shares everything: idle
//! connections, caps per host, the resolver's cache, TLS sessions and the egress policy.

pub mod body;
pub mod coding;
pub mod connector;
pub mod cookies;
pub mod dns;
pub mod head;
pub mod hot;
pub mod http1;
mod http2;
pub mod pool;
pub mod proxy;
pub mod stream;
pub mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderValue};
use parking_lot::Mutex;
use url::Url;

pub use self::body::Body;
use self::body::{Carrier, Connected};
use self::connector::{Connector, Endpoint, place};
use self::cookies::Jar;
use self::http2::{Origins, Route};
use self::pool::{Pool, PoolKey};
use self::proxy::Proxy;
use self::stream::Stream;
use crate::error::{Error, Result, shown};
use crate::guard::GuardedUrl;
use crate::limit::{ConnectionPermits, PermitHolder};

/// Headers of the caller that may follow a redirect to another origin. Everything else (authorisation, cookies,
/// private tokens under any name) stays at the origin it was meant for.
const PUBLIC_HEADERS: [header::HeaderName; 5] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::ORIGIN, header::REFERER, header::USER_AGENT];

/// Hops that are followed unless the caller says otherwise; as many as browsers.
pub const MOST_REDIRECTS: u32 = 20;

/// One `GET`, with the bounds it runs under.
#[derive(Debug, Clone)]
pub struct FetchSpec {
    /// What to get.
    pub url: Url,
    /// The caller's headers; see `private_to`.
    pub headers: HeaderMap,
    /// A `Cookie` header, sent to `private_to` only.
    pub cookies: Option<String>,
    /// Cookies that know where they belong; what answers set is added to them.
    pub jar: Arc<Jar>,
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
    /// Whether HTTP/2 may be spoken where the origin offers it. Right for many small bodies; a large file is faster over
    /// several connections.
    pub allows_http2: bool,
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
            jar: Arc::default(),
            private_to: None,
            range: None,
            if_range: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            max_redirects: MOST_REDIRECTS,
            allows_http2: false,
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
    http2: Origins,
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
        let (pool, http2) = (Pool::default(), Origins::default());
        let shared = Shared { connector, pool, http2, permits, own_holder, pauses, user_agent };
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
            spec.jar.learn(&url, &response.headers);
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
        let answer = if spec.allows_http2 && url.is_https() {
            self.answer_by_best(spec, url, &headers, &key).await?
        } else {
            self.answer_by_http1(spec, url, &headers, &key, None).await?
        };
        let body = Body::new(answer.carrier, url.clone(), key, self.clone(), permit);
        let (status, headers, first_byte) = (answer.status, answer.headers, answer.first_byte);
        Ok(Response { status, headers, final_url: url.url().clone(), first_byte, body })
    }

    /// By HTTP/2 if the origin agrees to it. What it has certainly not processed is sent again at once, a few times.
    async fn answer_by_best(
        &self,
        spec: &FetchSpec,
        url: &GuardedUrl,
        headers: &HeaderMap,
        key: &PoolKey,
    ) -> Result<Answered> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (proxy, timeout) = (spec.proxy.as_ref(), spec.connect_timeout);
            let endpoint = Endpoint { url, proxy, offers_http2: true, timeout };
            let route = self.shared.http2.route(key, || self.shared.connector.connect(&endpoint)).await?;
            let lease = match route {
                Route::Http1(stream) => return self.answer_by_http1(spec, url, headers, key, stream).await,
                Route::Http2(lease) => lease,
            };
            let started = Instant::now();
            let Ok(answered) = tokio::time::timeout(spec.header_timeout, http2::get(&lease, url, headers)).await else {
                lease.give_up();
                return Err(no_answer(spec, url));
            };
            match answered {
                Ok((head, stream)) => {
                    let body = http2::BodyReader::new(stream, &head, lease);
                    return Ok(Answered {
                        status: head.status,
                        headers: head.headers,
                        first_byte: started.elapsed(),
                        carrier: Carrier::Http2(body),
                    });
                }
                Err(fault) => {
                    let is_free = attempts <= fault.free_attempts();
                    self.settle_fault(&fault, &lease, &key.host);
                    if !is_free {
                        return Err(body::http2_error(fault, url));
                    }
                }
            }
        }
    }

    fn settle_fault(&self, fault: &http2::Fault, lease: &http2::Lease, host: &str) {
        match fault {
            http2::Fault::Unusable(_) => lease.distrust(),
            // It agreed to HTTP/2 and then did not say a word of it.
            http2::Fault::Ended(_) if lease.is_mute() => lease.distrust(),
            http2::Fault::Unprocessed(_) | http2::Fault::Ended(_) => lease.retire(),
            http2::Fault::Refused(_) => {
                lease.retire();
                self.shared.permits.push_back(host);
            }
            http2::Fault::Malformed(_) => {}
        }
    }

    /// Over a kept connection, else over `fresh`, else over one that is made now.
    async fn answer_by_http1(
        &self,
        spec: &FetchSpec,
        url: &GuardedUrl,
        headers: &HeaderMap,
        key: &PoolKey,
        fresh: Option<Stream>,
    ) -> Result<Answered> {
        // A kept connection may have been closed by the server just now; only then is one more attempt free.
        if fresh.is_none()
            && let Some(stream) = self.shared.pool.take(key)
        {
            match self.exchange(stream, true, spec, url, headers).await {
                Err(Error::Truncated { .. }) => {}
                answered => return answered,
            }
        }
        let stream = match fresh {
            Some(stream) => stream,
            None => {
                let (proxy, timeout) = (spec.proxy.as_ref(), spec.connect_timeout);
                let endpoint = Endpoint { url, proxy, offers_http2: false, timeout };
                self.shared.connector.connect(&endpoint).await?
            }
        };
        self.exchange(stream, false, spec, url, headers).await
    }

    async fn exchange(
        &self,
        mut stream: Stream,
        has_served: bool,
        spec: &FetchSpec,
        url: &GuardedUrl,
        headers: &HeaderMap,
    ) -> Result<Answered> {
        let started = Instant::now();
        let mut excess = Vec::new();
        let target = &url.url()[url::Position::BeforePath..url::Position::AfterQuery];
        let exchange = async {
            http1::send_get(&mut stream, target, headers).await?;
            http1::read_head(&mut stream, &mut excess).await
        };
        match tokio::time::timeout(spec.header_timeout, exchange).await {
            // Refused like an end of the connection: a fresh one shows whose answer it is.
            Ok(Ok(head)) if head.is_contradictory && has_served => Err(Error::Truncated {
                place: place(url),
                detail: "a kept connection brought both Content-Length and Transfer-Encoding".to_owned(),
            }),
            Ok(Ok(head)) => Ok(Answered {
                status: head.status,
                first_byte: started.elapsed(),
                carrier: Carrier::Http1(Connected::new(&head, stream, excess)),
                headers: head.headers,
            }),
            Ok(Err(fault)) => Err(body::http1_error(fault, url)),
            Err(_) => Err(no_answer(spec, url)),
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
        let line = spec.cookies.as_deref().filter(|_| is_private);
        let cookies = spec.jar.header_for(url, line).map(|cookies| HeaderValue::from_bytes(cookies.as_bytes()));
        if let Some(Ok(cookies)) = cookies {
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
}

/// A head that came, and what its body comes by.
struct Answered {
    status: u16,
    headers: HeaderMap,
    first_byte: Duration,
    carrier: Carrier,
}

fn no_answer(spec: &FetchSpec, url: &GuardedUrl) -> Error {
    Error::Timeout { what: "the answer", place: place(url), seconds: spec.header_timeout.as_secs_f64() }
}

/// `None`: not a redirect. `Some(None)`: a redirect to nowhere.
fn redirect(response: &Response) -> Option<Option<String>> {
    matches!(response.status, 301 | 302 | 303 | 307 | 308).then(|| {
        let location = response.headers.get(header::LOCATION)?.as_bytes();
        // Often raw UTF-8, which `to_str` refuses. Other bytes (Latin-1) go back as they came, which the server understands.
        let escaped = || {
            let escape = |byte: &u8| match byte {
                0..0x80 => char::from(*byte).to_string(),
                _ => format!("%{byte:02X}"),
            };
            location.iter().map(escape).collect()
        };
        Some(String::from_utf8(location.to_vec()).unwrap_or_else(|_| escaped()))
    })
}
