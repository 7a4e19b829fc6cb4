//! What a response says about the file: its length, whether it can be had in ranges, and which version it is.
//!
//! The first `GET` of a download is the probe; its body is kept and becomes the first range. No `HEAD`: it costs a
//! round trip, and origins answer it differently from what they then send.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};

use crate::error::{Error, Result, shown};
use crate::journal::LONGEST_VALIDATOR_BYTES;
use crate::net::Response;
use crate::net::coding::{Coded, coded};
use crate::net::http1::decimal;
use crate::plan::MAX_BYTES;
use crate::retry::retry_after;

/// Which version of the file a response carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Strong entity tag.
    pub etag: Option<String>,
    /// `Last-Modified` as received, if it is strong in the sense of RFC 9110 §8.8.2.2.
    pub last_modified: Option<String>,
    /// Weak entity tag: its likeness proves nothing, its change does.
    pub weak_etag: Option<String>,
}

impl Version {
    /// Reads the validators. A weak tag (`W/`) promises equivalence, not equal bytes, and counts as none. A date
    /// counts when the file had been left alone for at least a second when it was served.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?.trim();
            (!value.is_empty() && value.len() <= LONGEST_VALIDATOR_BYTES).then(|| value.to_owned())
        };
        let tag = text(header::ETAG);
        let etag = tag.clone().filter(|tag| tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"'));
        let weak_etag = tag.filter(|tag| tag.starts_with("W/"));
        let last_modified = text(header::LAST_MODIFIED).filter(|value| {
            let Ok(modified) = httpdate::parse_http_date(value) else { return false };
            let served = text(header::DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
            let age = served.unwrap_or_else(SystemTime::now).duration_since(modified).unwrap_or_default();
            age >= Duration::from_secs(1)
        });
        Self { etag, last_modified, weak_etag }
    }

    /// Whether two responses can be known to carry the same bytes.
    pub fn is_strong(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// What `If-Range` carries.
    pub fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// How `other` contradicts this version, if it does. A validator that only one of them has says nothing, but at
    /// least one must be confirmed.
    pub fn contradiction(&self, other: &Self) -> Option<String> {
        let differs = |ours: &Option<String>, theirs: &Option<String>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours != theirs),
            _ => None,
        };
        match (differs(&self.etag, &other.etag), differs(&self.last_modified, &other.last_modified)) {
            (Some(true), _) => Some("its ETag is another one".to_owned()),
            (_, Some(true)) => Some("its Last-Modified is another one".to_owned()),
            (None, None) if self.is_strong() => Some("its ETag and Last-Modified are gone".to_owned()),
            _ => None,
        }
    }

    /// As [`Version::contradiction`] where nothing strong is known: then a weak tag that changes counts. Elsewhere it does
    /// not, since machines of one site may differ in them.
    pub fn weak_contradiction(&self, other: &Self) -> Option<String> {
        let (Some(ours), Some(theirs)) = (&self.weak_etag, &other.weak_etag) else { return None };
        (!self.is_strong() && ours != theirs).then(|| "its weak ETag is another one".to_owned())
    }
}

/// What the body of a successful response holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole file, of this length if the origin tells it.
    Whole(Option<u64>),
    /// These bytes of a file of `total`, if the origin tells it.
    Part {
        /// The bytes in the body.
        bytes: Range<u64>,
        /// Length of the file.
        total: Option<u64>,
    },
}

/// A response that was judged.
pub struct Answer {
    /// What is in the body.
    pub content: Content,
    /// Which version it is.
    pub version: Version,
    /// Whether its body is compressed. Such a body is unpacked when it is read, unless it is a part of one or belongs to an
    /// archive; it is of no known version, because a part of it is no part of the file.
    pub is_coded: bool,
    /// The response.
    pub response: Response,
}

/// Judges status and headers of a response to a request for `requested` (first byte, and last if one was named).
///
/// # Errors
/// `HttpStatus` and `UrlExpired` for other statuses; `OriginLied` for an answer that contradicts itself or the
/// request; `RangeRefused` is reported as `HttpStatus` 416.
pub fn judge(mut response: Response, requested: Option<(u64, Option<u64>)>) -> Result<Answer> {
    let url = &response.final_url;
    let coding = coded(&response.headers, url).map_err(|detail| Error::lied(url, detail))?;
    let says_range = response.headers.contains_key(header::CONTENT_RANGE);
    let content = match (response.status, requested) {
        (200 | 203, _) if !says_range => {
            Content::Whole(response.body.owed().filter(|_| response.body.has_known_length()))
        }
        // Some servers send ranges under the status of the whole: what they say of the bytes decides, not the number.
        (200 | 203 | 206, Some((first, last))) => part(&response, first, last)?,
        (200 | 203 | 206, None) => match part(&response, 0, None)? {
            Content::Part { bytes, total: Some(total) } if bytes == (0..total) => Content::Whole(Some(total)),
            _ => return Err(Error::lied(url, "it sends a part although the whole was asked")),
        },
        (status, _) => return Err(status_error(&response, status)),
    };
    if let Content::Whole(Some(total)) | Content::Part { total: Some(total), .. } = content
        && total > MAX_BYTES
    {
        return Err(Error::LimitExceeded { what: format!("the length {total} of {}", shown(url)), limit: MAX_BYTES });
    }
    let is_coded = coding != Coded::No;
    let version = if is_coded { Version::default() } else { Version::of(&response.headers) };
    let content = unpacked(content, coding, &mut response);
    Ok(Answer { content, version, is_coded, response })
}

/// What the body holds once it is unpacked; lengths and positions of the compressed bytes are none of the file's.
fn unpacked(content: Content, coding: Coded, response: &mut Response) -> Content {
    let Coded::By(coding) = coding else { return content };
    match content {
        Content::Part { bytes, total } if total != Some(bytes.end) || bytes.start > 0 => {
            Content::Part { bytes, total: None }
        }
        Content::Part { .. } | Content::Whole(_) => {
            response.body.decode(coding);
            Content::Whole(None)
        }
    }
}

fn part(response: &Response, first: u64, last: Option<u64>) -> Result<Content> {
    let lied = |detail: &str| Error::lied(&response.final_url, detail);
    if response
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/byteranges"))
    {
        return Err(lied("it sends several ranges although one was asked"));
    }
    let mut fields = response.headers.get_all(header::CONTENT_RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(lied("it sends a part and has no single Content-Range"));
    };
    let (bytes, total) = content_range(field.as_bytes()).ok_or_else(|| lied("its Content-Range cannot be read"))?;
    if bytes.start > first || bytes.end <= first {
        return Err(lied("it sends another range"));
    }
    if let Some(last) = last
        && bytes.start == first
        && bytes.end > last.saturating_add(1)
    {
        return Err(lied("it sends more than the range that was asked"));
    }
    if response.body.has_known_length() && response.body.owed() != Some(bytes.end - bytes.start) {
        return Err(lied("its Content-Length and Content-Range disagree"));
    }
    Ok(Content::Part { bytes, total })
}

/// Parses `bytes first-last/total` (RFC 9110 §14.4); `None` for everything that does not describe bytes of a file. Behind
/// the unit the `=` of the request's field is met as well, and means the same.
pub fn content_range(field: &[u8]) -> Option<(Range<u64>, Option<u64>)> {
    let field = field.trim_ascii();
    let (unit, rest) = field.split_at_checked(6)?;
    if !unit[..5].eq_ignore_ascii_case(b"bytes") || !matches!(unit[5], b' ' | b'=') {
        return None;
    }
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (range, total) = (&rest[..slash], &rest[slash + 1..]);
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (decimal(&range[..dash])?, decimal(&range[dash + 1..])?);
    let total = if total == b"*" { None } else { Some(decimal(total)?) };
    let end = last.checked_add(1)?;
    (first <= last && total.is_none_or(|total| end <= total)).then_some((first..end, total))
}

fn status_error(response: &Response, status: u16) -> Error {
    let url = shown(&response.final_url);
    if matches!(status, 403 | 410) {
        return Error::UrlExpired { url, status };
    }
    let asked = response.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(|value| retry_after(value, SystemTime::now()));
    Error::HttpStatus { url, status, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges_and_refuses_what_describes_no_bytes() {
        assert_eq!(content_range(b"bytes 0-9/10"), Some((0..10, Some(10))));
        assert_eq!(content_range(b" Bytes 5-9/* "), Some((5..10, None)));
        assert_eq!(content_range(b"bytes=0-9/10"), Some((0..10, Some(10))));
        let broken: [&[u8]; 10] = [
            b"bytes 0-0/0",
            b"bytes 0-9",
            b"bytes */10",
            b"bytes 9-5/10",
            b"bytes 0-10/10",
            b"bytes -5/10",
            b"bytes 0-/10",
            b"items 0-9/10",
            b"bytes 0-18446744073709551615/18446744073709551616",
            b"bytes 0-18446744073709551615/*",
        ];
        for field in broken {
            assert_eq!(content_range(field), None, "{}", String::from_utf8_lossy(field));
        }
    }

    fn version(etag: Option<&str>, date: Option<&str>) -> Version {
        Version { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned), weak_etag: None }
    }

    #[test]
    fn a_version_is_confirmed_by_any_validator_and_refuted_by_any() {
        let known = version(Some("\"a\""), Some("d"));
        assert_eq!(known.contradiction(&version(Some("\"a\""), None)), None);
        assert_eq!(known.contradiction(&version(None, Some("d"))), None);
        assert!(known.contradiction(&version(Some("\"b\""), Some("d"))).is_some());
        assert!(known.contradiction(&version(Some("\"a\""), Some("e"))).is_some());
        assert!(known.contradiction(&version(None, None)).is_some());
    }

    #[test]
    fn weak_tags_and_files_changed_this_second_are_no_validators() {
        let headers = |pairs: &[(HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
        };
        let date = (header::DATE, "Tue, 24 Nov 2026 07:00:00 GMT");
        let fresh = (header::LAST_MODIFIED, "Tue, 24 Nov 2026 07:00:00 GMT");
        let old = (header::LAST_MODIFIED, "Tue, 24 Nov 2026 06:00:00 GMT");
        let weak = (header::ETAG, "W/\"a\"");
        assert!(!Version::of(&headers(&[date.clone(), fresh, weak])).is_strong());
        assert!(Version::of(&headers(&[date, old])).is_strong());
    }
}
