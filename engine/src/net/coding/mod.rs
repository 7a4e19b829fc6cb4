//! `Content-Encoding`: which bodies are compressed although identity was asked, and what becomes of them.
//!
//! What the request asks for is the thing itself, so a compressed playlist, key, segment or film is unpacked on its way, as
//! every player and browser does. A file that is an archive by its name or type is the exception: its `Content-Encoding:
//! gzip` says in a confused way what the name says too, and who asked for `x.tar.gz` wants that. Such a body is kept as sent.
//! Tokens nobody here knows (`UTF-8`, `aws-chunked`, `none`) mean nothing, as they do to browsers and curl.

mod decoder;
mod zstd;

use http::header::{self, HeaderMap};
use url::Url;

pub use self::decoder::{Decoder, Fault, GZIP_MAGIC, beginning_unzipped, unzipped};

/// Endings of names that mean a compressed file.
const ARCHIVE_ENDINGS: [&str; 7] = [".gz", ".tgz", ".br", ".zst", ".tzst", ".svgz", ".z"];
/// Types that mean a compressed file; `application/x-tar` because Apache calls a `.tar.gz` that.
const ARCHIVE_TYPES: [&str; 7] = [
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-tgz",
    "application/x-compressed-tar",
    "application/zstd",
    "application/x-compress",
];

/// A compression that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952; `x-gzip` too.
    Gzip,
    /// RFC 1950, or RFC 1951 without its wrapper, which some servers call the same.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with the window of RFC 9659.
    Zstd,
}

impl Coding {
    /// The token of the registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn of_token(token: &[u8]) -> Option<Self> {
        match token.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// How a body stands to the thing that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coded {
    /// It is the thing.
    No,
    /// It is compressed, and so is the thing.
    AsSent,
    /// It has to be unpacked.
    By(Coding),
}

/// Reads what the headers of an answer for `url` say.
///
/// # Errors
/// Two different compressions on top of each other, in words.
pub fn coded(headers: &HeaderMap, url: &Url) -> Result<Coded, &'static str> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut known = tokens.filter_map(|token| Coding::of_token(token.trim_ascii()));
    let Some(first) = known.next() else { return Ok(Coded::No) };
    if known.any(|other| other != first) {
        return Err("it is compressed in two ways at once");
    }
    Ok(if is_archive(headers, url) { Coded::AsSent } else { Coded::By(first) })
}

fn is_archive(headers: &HeaderMap, url: &Url) -> bool {
    let ends = |name: &str| {
        let name = name.trim_end_matches(['"', '\'', ' ', ';']).to_ascii_lowercase();
        ARCHIVE_ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ends(url.path()) || ends(text(header::CONTENT_DISPOSITION)) || ARCHIVE_TYPES.contains(&kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(coding: &'static str, kind: &'static str, url: &str) -> Result<Coded, &'static str> {
        let pairs = [(header::CONTENT_ENCODING, coding), (header::CONTENT_TYPE, kind)];
        let headers = pairs.into_iter().map(|(name, value)| (name, http::HeaderValue::from_static(value))).collect();
        coded(&headers, &Url::parse(url).unwrap())
    }

    #[test]
    fn unknown_tokens_are_identity_and_known_ones_are_found_among_them() {
        for token in ["", "identity", "UTF-8", "aws-chunked", "none", "binary", "zip", "compress", "identity, none"] {
            assert_eq!(read(token, "video/mp4", "http://h/f.mp4"), Ok(Coded::No), "{token}");
        }
        assert_eq!(read("X-GZip", "video/mp4", "http://h/f.mp4"), Ok(Coded::By(Coding::Gzip)));
        assert_eq!(read("aws-chunked,br", "video/mp4", "http://h/f.mp4"), Ok(Coded::By(Coding::Brotli)));
        assert_eq!(read("gzip, gzip", "video/mp4", "http://h/f.mp4"), Ok(Coded::By(Coding::Gzip)));
        assert!(read("gzip, br", "video/mp4", "http://h/f.mp4").is_err());
    }

    #[test]
    fn an_archive_is_known_by_name_or_type() {
        assert_eq!(read("gzip", "application/octet-stream", "http://h/f.tar.GZ?x=1"), Ok(Coded::AsSent));
        assert_eq!(read("x-gzip", "application/x-tar", "http://h/download?id=1"), Ok(Coded::AsSent));
        assert_eq!(read("gzip", "application/octet-stream", "http://h/f.gz/seg.ts"), Ok(Coded::By(Coding::Gzip)));
    }
}
