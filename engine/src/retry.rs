//! How long to wait before trying again: pure, so that its bounds can be tested.

use std::time::{Duration, SystemTime};

use crate::error::{Error, Obstacle};

/// First wait; doubled per consecutive failure.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer, whatever the origin asks.
pub const LONGEST: Duration = Duration::from_secs(60);

/// How often what seldom passes within seconds is tried again.
const FEW: u32 = 2;

/// Whether a status speaks of the moment and not of the request: overload, a lock, a deploy, and what the edges of content
/// networks say of the server behind them (520 to 524, 529).
pub fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 | 509 | 520..=524 | 529)
}

/// How often a request is sent again after `error` if its caller allows `retries`.
///
/// Before the first byte (`has_bytes` is false) nobody is kept waiting for what is hardly going to change: a refused
/// connection, an unknown name, a proxy's no, an origin that did not answer in the patient time it was given, a page.
/// After it there is something to lose, and a server that is being restarted looks just the same.
pub fn retries_worth(error: &Error, retries: u32, has_bytes: bool) -> u32 {
    match error {
        Error::DiskFull { .. } => 0,
        Error::Timeout { what: "the answer", .. } => retries.min(if has_bytes { FEW } else { 1 }),
        Error::Connect { obstacle: Obstacle::Standing, .. } | Error::Page { .. } if !has_bytes => retries.min(FEW),
        Error::Page { .. } => retries,
        _ if error.retryable() => retries,
        _ => 0,
    }
}

/// As [`retries_worth`], for one of many pieces: those around it are there, so that a single refusal may be a machine that has
/// not got it yet.
pub fn retries_worth_of_fragment(error: &Error, retries: u32, has_bytes: bool) -> u32 {
    match error {
        Error::HttpStatus { status: 400..=499, .. } | Error::UrlExpired { .. } if !error.retryable() => retries.min(1),
        // Some hosts say "too many requests" in words and under the status 200.
        Error::Page { .. } => retries.min(2 * FEW),
        _ => retries_worth(error, retries, has_bytes),
    }
}

/// The wait after the `failures`-th failure in a row (1 is the first), between half and the whole of
/// 100 ms · 2^(n-1), and never less than what the origin asked for. `jitter` is in 0..1.
pub fn backoff(failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let spread = doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    spread.max(asked.unwrap_or_default()).min(LONGEST)
}

/// What a pause before another try is waiting for, for people.
pub fn next_try(pause: Duration, error: &Error) -> String {
    format!("the next try in {:.1} s ({error})", pause.as_secs_f64())
}

/// Reads `Retry-After`: seconds or an HTTP date (RFC 9110 §10.2.3), capped at [`LONGEST`].
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds.min(LONGEST.as_secs())));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// A number in 0..1 that differs between tasks and calls; spreading retries needs no better randomness.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_never_pass_the_longest() {
        assert_eq!(backoff(1, None, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(3, None, 0.0), Duration::from_millis(200));
        assert_eq!(backoff(u32::MAX, None, 1.0), LONGEST);
    }

    #[test]
    fn what_hardly_changes_is_tried_seldom_and_what_nobody_changes_never() {
        let refused = Error::connect("connect to", "host", &std::io::ErrorKind::ConnectionRefused.into());
        let reset = Error::connect("connect to", "host", &std::io::ErrorKind::ConnectionReset.into());
        let stranger = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let certificate = Error::connect("agree on TLS with", "host", &std::io::Error::other(stranger));
        let unknown = "failed to lookup address information: Name or service not known";
        let name = Error::connect("resolve the name of", "host", &std::io::Error::other(unknown));
        let busy = "failed to lookup address information: Temporary failure in name resolution";
        let resolver = Error::connect("resolve the name of", "host", &std::io::Error::other(busy));
        for (error, at_first, later) in
            [(refused, 2, 8), (name, 2, 8), (resolver, 8, 8), (reset, 8, 8), (certificate, 0, 0)]
        {
            assert_eq!(retries_worth(&error, 8, false), at_first, "{error}");
            assert_eq!(retries_worth(&error, 8, true), later, "{error}");
            assert!(retries_worth(&error, 1, true) <= 1);
        }
    }

    #[test]
    fn one_refusal_of_a_fragment_is_not_believed() {
        let status = |status| Error::HttpStatus { url: String::new(), status, retry_after: None };
        let expired = Error::UrlExpired { url: String::new(), status: 403 };
        for error in [status(400), status(404), expired] {
            assert_eq!((retries_worth(&error, 8, true), retries_worth_of_fragment(&error, 8, true)), (0, 1));
        }
        assert_eq!(retries_worth_of_fragment(&status(423), 8, true), 8);
        assert_eq!(retries_worth_of_fragment(&status(505), 8, true), 0);
    }

    #[test]
    fn what_the_origin_asks_is_a_floor_and_is_capped() {
        assert_eq!(backoff(1, Some(Duration::from_secs(7)), 0.0), Duration::from_secs(7));
        assert_eq!(backoff(1, Some(Duration::from_secs(7_000)), 0.0), LONGEST);
    }

    #[test]
    fn reads_seconds_and_dates_and_refuses_the_rest() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 07:00:00 GMT").unwrap();
        assert_eq!(retry_after("3", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("99999999999999999999999", now), Some(LONGEST));
        assert_eq!(retry_after("Tue, 24 Nov 2026 07:00:05 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 06:00:05 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("-1", now), None);
        assert_eq!(retry_after("soon", now), None);
    }
}
