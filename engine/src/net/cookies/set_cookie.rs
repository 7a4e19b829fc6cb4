//! `Set-Cookie` as RFC 6265 §5.2 reads it, which is more forgiving than its grammar.

use std::time::{Duration, SystemTime};

use super::{Cookie, is_public_suffix};
use crate::guard::{GuardedUrl, Host};

/// The cookie that `url` sets with this line; `None` when it is none, or not this host's to set.
pub(super) fn parse(line: &str, url: &GuardedUrl) -> Option<Cookie> {
    let mut parts = line.split(';');
    let pair = parts.next()?;
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let (name, value) = (name.trim(), value.trim());
    let mut domain = None;
    let mut path = None;
    let mut is_secure = false;
    let (mut expires, mut max_age) = (None, None);
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" => domain = Some(value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase()),
            "path" => path = Some(value).filter(|path| path.starts_with('/')),
            "secure" => is_secure = true,
            "expires" => expires = date(value).or(expires),
            "max-age" => max_age = lifetime(value).or(max_age),
            _ => {}
        }
    }
    if is_secure && !url.is_https() {
        return None;
    }
    if name.starts_with("__Secure-") && !is_secure
        || name.starts_with("__Host-") && !(is_secure && domain.is_none() && path == Some("/"))
    {
        return None;
    }
    let default_path = url.url().path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let expires = match max_age {
        Some(age) => {
            Some(SystemTime::now().checked_add(age).unwrap_or(SystemTime::now() + Duration::from_secs(1 << 32)))
        }
        None => expires,
    };
    let cookie = Cookie::new(name, value, &scope(domain.as_deref(), url.host())?).ok()?;
    Some(cookie.at_path(path.unwrap_or(default_path)).over_https_only(is_secure).until(expires))
}

/// The domain as [`Cookie::new`] takes it. A host may speak for itself and for the domains above it that one owner has.
fn scope(domain: Option<&str>, host: &Host) -> Option<String> {
    let own = host.to_string();
    let Some(domain) = domain.filter(|domain| !domain.is_empty()) else { return Some(own) };
    if domain == own {
        // A host that is a public suffix, or an address, has nothing below it that is its own.
        let is_alone = matches!(host, Host::Address(_)) || is_public_suffix(domain);
        return Some(if is_alone { own } else { format!(".{domain}") });
    }
    let is_above = matches!(host, Host::Name(_)) && own.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    (is_above && !is_public_suffix(domain)).then(|| format!(".{domain}"))
}

fn lifetime(seconds: &str) -> Option<Duration> {
    let digits = seconds.strip_prefix('-').unwrap_or(seconds);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_past = seconds.starts_with('-');
    Some(Duration::from_secs(if is_past { 0 } else { digits.parse().unwrap_or(u64::MAX) }))
}

/// Dates of HTTP, and the one with hyphens that old frameworks send.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&text.replace('-', " "))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(line: &str, url: &str) -> Option<Cookie> {
        parse(line, &GuardedUrl::parse(url).unwrap())
    }

    #[test]
    fn a_host_speaks_for_itself_and_for_the_domains_above_it_that_are_one_owners() {
        let (host, page) = ("h.shop.example.co.uk", "https://h.shop.example.co.uk/a/b.m3u8");
        for (line, domain, includes_subdomains) in [
            ("a=b", host, false),
            ("a=b; Domain=", host, false),
            ("a=b; domain=.Example.co.uk", "example.co.uk", true),
            ("a=b; Domain=h.shop.example.co.uk", host, true),
        ] {
            let cookie = set(line, page).unwrap();
            assert_eq!((cookie.domain.as_str(), cookie.includes_subdomains), (domain, includes_subdomains), "{line}");
        }
        for line in
            ["a=b; Domain=co.uk", "a=b; Domain=uk", "a=b; Domain=other.com", "a=b; Domain=x.h.shop.example.co.uk"]
        {
            assert_eq!(set(line, page), None, "{line}");
        }
        assert!(!set("a=b; Domain=127.0.0.1", "http://127.0.0.1/").unwrap().includes_subdomains);
        assert_eq!(set("a=b; Domain=0.0.1", "http://127.0.0.1/"), None);
    }

    #[test]
    fn paths_secrecy_and_age_are_read() {
        let cookie = set("a = b ; PATH=/x; SameSite=None; HttpOnly", "http://h.example.com/a/b").unwrap();
        assert_eq!((cookie.name.as_str(), cookie.value.as_str(), cookie.path.as_str()), ("a", "b", "/x"));
        assert_eq!(set("a=b", "http://h.example.com/a/b/c.ts").unwrap().path, "/a/b");
        assert_eq!(set("a=b", "http://h.example.com/c.ts").unwrap().path, "/");
        assert_eq!(set("a=b; Secure", "http://h.example.com/"), None);
        assert!(set("a=b; Secure", "https://h.example.com/").unwrap().is_secure);
        assert_eq!(set("__Host-a=b; Secure; Path=/; Domain=h.example.com", "https://h.example.com/"), None);
        assert_eq!(set("__Secure-a=b", "https://h.example.com/"), None);
        let over = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        for date in ["Thu, 01 Jan 1970 00:00:01 GMT", "Thu, 01-Jan-1970 00:00:01 GMT"] {
            assert_eq!(set(&format!("a=b; Expires={date}"), "http://h.example.com/").unwrap().expires, Some(over));
        }
        let aged = set("a=b; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=60", "http://h.example.com/").unwrap();
        assert!(aged.expires.is_some_and(|until| until > SystemTime::now()));
        assert!(set("a=b; Max-Age=99999999999999999999", "http://h.example.com/").unwrap().expires.is_some());
        assert!(
            set("a=b; Max-Age=-1", "http://h.example.com/").unwrap().expires.is_some_and(|at| at <= SystemTime::now())
        );
    }
}
