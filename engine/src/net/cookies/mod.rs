//! Cookies of one download (RFC 6265): those the caller knows and those its answers set, sent wherever their domain, path and
//! scheme say. Ports do not count, redirects, playlists, keys and segments are all the same to them, and nothing outlives the task.

mod set_cookie;

use std::time::SystemTime;

use http::header::{self, HeaderMap};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::guard::{GuardedUrl, Host};

/// What answers may add to a jar; more, and the oldest of them are forgotten.
const MOST_LEARNED: usize = 300;
/// Longest `Cookie` header that is sent: more is refused by most servers.
const LONGEST_HEADER_BYTES: usize = 16 * 1024;
/// Longest single cookie that is kept.
const LONGEST_COOKIE_BYTES: usize = 8 * 1024;

/// One cookie, and where it belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    value: String,
    domain: String,
    includes_subdomains: bool,
    path: String,
    is_secure: bool,
    expires: Option<SystemTime>,
}

impl std::fmt::Debug for Cookie {
    /// Never the value: it is a key to somebody's account.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Cookie({} of {}{})", self.name, self.domain, self.path)
    }
}

impl Cookie {
    /// A cookie of a host, or with a leading dot of a domain and everything below it; for every path, both schemes, and ever.
    ///
    /// # Errors
    /// A name or value that no header could carry, or a domain that covers strangers (`.co.uk`).
    pub fn new(name: &str, value: &str, domain: &str) -> Result<Self> {
        let refused = |why: &str| Error::InvalidRequest(format!("the cookie {name:?} {why}"));
        if name.len() + value.len() > LONGEST_COOKIE_BYTES {
            return Err(refused("is too long"));
        }
        let is_sendable =
            |text: &str| text.bytes().all(|byte| byte != b';' && (byte >= b' ' || byte == b'\t') && byte != 0x7f);
        if !is_sendable(name) || !is_sendable(value) || name.contains('=') || (name.is_empty() && value.is_empty()) {
            return Err(refused("cannot be sent: it has control characters or a semicolon"));
        }
        let bare = domain.strip_prefix('.').unwrap_or(domain).trim_matches(['[', ']']).to_ascii_lowercase();
        let includes_subdomains = domain.starts_with('.') && bare.parse::<std::net::IpAddr>().is_err();
        if bare.is_empty() || (includes_subdomains && is_public_suffix(&bare)) {
            return Err(refused("is for a domain that many share"));
        }
        let (name, value, path) = (name.to_owned(), value.to_owned(), "/".to_owned());
        Ok(Self { name, value, domain: bare, includes_subdomains, path, is_secure: false, expires: None })
    }

    /// Only for this path and what is below it.
    pub fn at_path(self, path: &str) -> Self {
        let path = if path.starts_with('/') { path } else { "/" };
        Self { path: path.to_owned(), ..self }
    }

    /// Only over https.
    pub fn over_https_only(self, is_secure: bool) -> Self {
        Self { is_secure, ..self }
    }

    /// Until then.
    pub fn until(self, expires: Option<SystemTime>) -> Self {
        Self { expires, ..self }
    }

    fn is_for(&self, url: &GuardedUrl, now: SystemTime) -> bool {
        (!self.is_secure || url.is_https())
            && self.expires.is_none_or(|until| until > now)
            && self.is_of_host(url.host())
            && covers_path(&self.path, url.url().path())
    }

    fn is_of_host(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => {
                let below = name.strip_suffix(self.domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
                *name == self.domain || (self.includes_subdomains && below)
            }
            Host::Address(address) => address.to_string() == self.domain,
        }
    }

    fn replaces(&self, other: &Self) -> bool {
        (&self.name, &self.domain, &self.path) == (&other.name, &other.domain, &other.path)
    }
}

/// RFC 6265 §5.1.4.
fn covers_path(cookie: &str, asked: &str) -> bool {
    asked.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

/// Whether strangers register names below it; `github.io` as well as `co.uk`, and every name without a dot.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain).is_none_or(|suffix| suffix == domain)
}

/// The cookies of one download, shared by everything it sends.
#[derive(Debug, Default)]
pub struct Jar {
    cookies: Mutex<Cookies>,
}

#[derive(Debug, Default)]
struct Cookies {
    given: Vec<Cookie>,
    learned: Vec<Cookie>,
}

impl Jar {
    /// A jar with what the caller knows.
    pub fn new(given: Vec<Cookie>) -> Self {
        Self { cookies: Mutex::new(Cookies { given, learned: Vec::new() }) }
    }

    /// The value of `Cookie` for a request, with the caller's own line, which a cookie of the same name outranks. The longest
    /// paths first (RFC 6265 §5.4).
    pub fn header_for(&self, url: &GuardedUrl, line: Option<&str>) -> Option<String> {
        let cookies = self.cookies.lock();
        if line.is_none() && cookies.given.is_empty() && cookies.learned.is_empty() {
            return None;
        }
        let now = SystemTime::now();
        let all = cookies.learned.iter().chain(&cookies.given);
        let mut chosen: Vec<&Cookie> = all.filter(|cookie| cookie.is_for(url, now)).collect();
        chosen.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let is_outranked = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default().trim();
            chosen.iter().any(|cookie| cookie.name == name)
        };
        let pairs = line.into_iter().flat_map(|line| line.split(';')).map(str::trim).filter(|pair| !pair.is_empty());
        let mut header = pairs.filter(|pair| !is_outranked(pair)).collect::<Vec<_>>().join("; ");
        for cookie in chosen {
            if header.len() + cookie.name.len() + cookie.value.len() + 3 > LONGEST_HEADER_BYTES {
                break;
            }
            let separator = if header.is_empty() { "" } else { "; " };
            let equals = if cookie.name.is_empty() { "" } else { "=" };
            header.extend([separator, &cookie.name, equals, &cookie.value]);
        }
        (!header.is_empty()).then_some(header)
    }

    /// Takes what an answer from `url` sets, or removes.
    pub fn learn(&self, url: &GuardedUrl, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let Some(cookie) = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| set_cookie::parse(text, url))
            else {
                continue;
            };
            let cookies = &mut *self.cookies.lock();
            cookies.given.retain(|known| !cookie.replaces(known));
            cookies.learned.retain(|known| !cookie.replaces(known));
            if cookie.expires.is_none_or(|until| until > SystemTime::now()) {
                cookies.learned.push(cookie);
            }
            if cookies.learned.len() > MOST_LEARNED {
                cookies.learned.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn url(text: &str) -> GuardedUrl {
        GuardedUrl::parse(text).unwrap()
    }

    fn sent(jar: &Jar, to: &str) -> String {
        jar.header_for(&url(to), None).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_where_its_domain_path_and_scheme_say() {
        let jar = Jar::new(vec![
            Cookie::new("all", "1", ".example.com").unwrap(),
            Cookie::new("one", "2", "cdn.example.com").unwrap().at_path("/hls"),
            Cookie::new("safe", "3", ".example.com").unwrap().over_https_only(true),
            Cookie::new("old", "4", ".example.com").unwrap().until(Some(SystemTime::now() - Duration::from_secs(1))),
        ]);
        for (to, expected) in [
            ("http://cdn.example.com:8080/hls/1.ts", "one=2; all=1"),
            ("http://cdn.example.com/hls2/1.ts", "all=1"),
            ("https://example.com/", "all=1; safe=3"),
            ("http://a.b.example.com/", "all=1"),
            ("http://notexample.com/", ""),
            ("http://a.cdn.example.com/hls/", "all=1"),
            ("http://example.org/", ""),
        ] {
            assert_eq!(sent(&jar, to), expected, "{to}");
        }
    }

    #[test]
    fn a_domain_that_strangers_share_is_refused_and_so_is_what_no_header_carries() {
        for domain in [".com", ".co.uk", ".github.io", ".localdomain", ".", ""] {
            assert!(Cookie::new("a", "b", domain).is_err(), "{domain}");
        }
        assert!(Cookie::new("a", "b", "github.io").is_ok(), "the host itself");
        for (name, value) in [("a", "b;c"), ("a", "b\r\nX: y"), ("a=b", "c"), ("", ""), ("a", "\u{7f}")] {
            assert!(Cookie::new(name, value, "h.example").is_err(), "{name}={value}");
        }
        assert!(Cookie::new("a", &"x".repeat(LONGEST_COOKIE_BYTES), "h.example").is_err());
    }

    #[test]
    fn what_an_answer_sets_outranks_what_was_known_and_an_expired_one_removes_it() {
        let jar = Jar::new(vec![Cookie::new("s", "old", "h.example.com").unwrap()]);
        let place = url("https://h.example.com/a/b");
        let learn = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SET_COOKIE, line.parse().unwrap());
            jar.learn(&place, &headers);
        };
        learn("s=new; Path=/");
        assert_eq!(jar.header_for(&place, Some("s=line; t=1")).as_deref(), Some("t=1; s=new"));
        learn("s=; Path=/; Max-Age=0");
        assert_eq!(jar.header_for(&place, None), None);
    }

    #[test]
    fn an_endless_supply_of_cookies_is_bounded() {
        let jar = Jar::default();
        let place = url("http://h.example.com/");
        for number in 0..2 * MOST_LEARNED {
            let mut headers = HeaderMap::new();
            headers.insert(header::SET_COOKIE, format!("c{number}={}", "x".repeat(200)).parse().unwrap());
            jar.learn(&place, &headers);
        }
        assert_eq!(jar.cookies.lock().learned.len(), MOST_LEARNED);
        assert!(sent(&jar, "http://h.example.com/").len() <= LONGEST_HEADER_BYTES);
    }
}
