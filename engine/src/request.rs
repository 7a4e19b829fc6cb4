//! What to fetch, where to put it, and within which bounds.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::fragments::Selection;
use crate::hash::Algorithm;
use crate::net::cookies::Cookie;

/// Most connections that may be asked for.
pub const MOST_CONNECTIONS: usize = 64;

/// Where the bytes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// One resource, fetched in ranges when the origin allows it.
    Single {
        /// `http` or `https`.
        url: String,
    },
    /// An HLS playlist, master or media.
    Hls {
        /// Of the playlist.
        url: String,
    },
    /// A static DASH manifest.
    Dash {
        /// Of the manifest.
        url: String,
    },
    /// Pieces listed by the caller, joined in this order.
    Fragments(Vec<FragmentSpec>),
}

impl Source {
    /// The URL that names the source to people, or the first fragment's.
    pub fn url(&self) -> &str {
        match self {
            Self::Single { url } | Self::Hls { url } | Self::Dash { url } => url,
            Self::Fragments(list) => list.first().map_or("", |first| first.url.as_str()),
        }
    }
}

/// One piece of [`Source::Fragments`].
#[derive(Debug, Clone)]
pub struct FragmentSpec {
    /// Where it is.
    pub url: String,
    /// First byte and length, when it is a part of a larger resource.
    pub byte_range: Option<(u64, u64)>,
    /// AES-128-CBC key and initialisation vector.
    pub key: Option<([u8; 16], [u8; 16])>,
}

/// An upstream proxy as the user wrote it: `http://`, `https://`, `socks5://` or `socks5h://`.
pub type ProxyUrl = String;

/// One download. Build with [`Request::new`], then set the fields that differ.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the bytes come from.
    pub source: Source,
    /// The finished file; never replaced.
    pub target: PathBuf,
    /// Sent to the origin of the source URL only.
    pub headers: HeaderMap,
    /// A `Cookie` header, to the origin of the source URL only.
    pub cookies: Option<String>,
    /// Cookies that know where they belong, wherever the download leads.
    pub jar: Vec<Cookie>,
    /// Refuse any other length.
    pub expected_size: Option<u64>,
    /// Refuse other bytes; the algorithm is computed even if `hashes` leaves it out.
    pub expected_digest: Option<(Algorithm, String)>,
    /// Computed in the same pass.
    pub hashes: Vec<Algorithm>,
    /// Exact number of connections; `None` finds it.
    pub connections: Option<usize>,
    /// Upper bound of one range request.
    pub max_range_bytes: Option<u64>,
    /// Bytes per second of this task.
    pub rate_limit: Option<u64>,
    /// Share of this task against others, ≥ 1.
    pub weight: u32,
    /// Upstream proxy for everything this task sends.
    pub proxy: Option<ProxyUrl>,
    /// Refuse a larger file.
    pub max_bytes: Option<u64>,
    /// Bound of the whole task.
    pub timeout: Option<Duration>,
    /// Bound of name + TCP + TLS + proxy for one connection.
    pub connect_timeout: Duration,
    /// The wait for the head of the first answer: origins make archives and transcode before they send a byte.
    pub answer_timeout: Duration,
    /// Silence of one connection in the middle of a body.
    pub idle_timeout: Duration,
    /// Bytes per second over `idle_timeout` below which the task has stalled; 0 is off.
    pub minimum_speed: u64,
    /// Consecutive failures without a new byte before the task gives up.
    pub retries: u32,
    /// Whether a file without validators may be gone on with when its length is the same and the bytes before the missing
    /// ones are, on one connection at a time.
    pub trust_length: bool,
    /// Hops followed for one response.
    pub max_redirects: u32,
    /// Which stream of a playlist that offers several.
    pub selection: Selection,
    /// How many fragments of a playlist the file may lack when the origin does not have them.
    pub skip_missing: u32,
    /// Whether a single resource must be media: a playlist in its place is [`Error::Unsupported`], for whoever asked to
    /// join it instead.
    pub is_media: bool,
    /// Whether fragments may come by HTTP/2 where the origin offers it.
    pub http2: bool,
    /// fsync before and after publishing.
    pub durable: bool,
}

impl Request {
    /// A request with the defaults of the stub file.
    pub fn new(source: Source, target: impl Into<PathBuf>) -> Self {
        Self {
            source,
            target: target.into(),
            headers: HeaderMap::new(),
            cookies: None,
            jar: Vec::new(),
            expected_size: None,
            expected_digest: None,
            hashes: vec![Algorithm::Blake3],
            connections: None,
            max_range_bytes: None,
            rate_limit: None,
            weight: 1,
            proxy: None,
            max_bytes: None,
            timeout: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(30),
            minimum_speed: 0,
            retries: 8,
            trust_length: false,
            max_redirects: crate::net::MOST_REDIRECTS,
            selection: Selection::default(),
            skip_missing: 0,
            is_media: false,
            http2: true,
            durable: true,
        }
    }

    /// One resource by its URL.
    pub fn single(url: impl Into<String>, target: impl Into<PathBuf>) -> Self {
        Self::new(Source::Single { url: url.into() }, target)
    }

    /// Adds a header; what the engine must control itself is refused.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let refused = |why: &str| Error::InvalidRequest(format!("header {name:?} {why}"));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("is not a header name"))?;
        if CONTROLLED.contains(&parsed.as_str()) {
            return Err(refused("is set by the engine"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| refused("has a value with control characters"))?;
        self.headers.append(parsed, value);
        Ok(self)
    }

    /// Refuses what cannot be carried out, before anything is sent.
    pub fn validate(&self) -> Result<()> {
        let refused = |why: &str| Err(Error::InvalidRequest(why.to_owned()));
        if self.target.file_name().is_none() {
            return refused("the target names no file");
        }
        if self.connections.is_some_and(|wanted| !(1..=MOST_CONNECTIONS).contains(&wanted)) {
            return Err(Error::InvalidRequest(format!("connections must be 1 to {MOST_CONNECTIONS}")));
        }
        if self.weight == 0 || self.max_range_bytes == Some(0) {
            return refused("weight and max_range_bytes must be at least 1");
        }
        if let (Some(size), Some(limit)) = (self.expected_size, self.max_bytes)
            && size > limit
        {
            return Err(Error::LimitExceeded { what: format!("an expected size of {size} bytes"), limit });
        }
        if let Some((algorithm, digest)) = &self.expected_digest
            && (digest.len() != algorithm.hex_length() || !digest.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return refused("the expected digest is not hex of the algorithm's length");
        }
        if let Some(cookies) = &self.cookies
            && HeaderValue::from_str(cookies).is_err()
        {
            return refused("the cookies contain control characters");
        }
        if matches!(&self.source, Source::Fragments(list) if list.is_empty()) {
            return refused("the fragment list is empty");
        }
        Ok(())
    }

    /// The algorithms to compute: those asked for and the one that is verified, each once.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let verified = self.expected_digest.iter().map(|(algorithm, _)| *algorithm);
        let mut list = Vec::new();
        for algorithm in self.hashes.iter().copied().chain(verified) {
            if !list.contains(&algorithm) {
                list.push(algorithm);
            }
        }
        list
    }
}

/// Headers whose value decides framing, ranges or routing; a caller who sets them breaks the checks.
const CONTROLLED: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "if-match",
    "if-range",
    "keep-alive",
    "range",
    "transfer-encoding",
    "upgrade",
];
