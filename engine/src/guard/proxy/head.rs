//! Heads of requests and responses: read within bounds, understood strictly, passed on without what is meant for us.
//!
//! One request per connection: `Connection: close` goes both ways, so no second request can ride on a connection that
//! was opened for the first, and no framing of ours has to agree with an origin's.

use std::fmt::Write as _;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::head::tidied;
use crate::net::http1::MOST_HEADERS as MOST_RESPONSE_HEADERS;

/// Longest request head.
pub(super) const LARGEST_REQUEST_HEAD: usize = 32 * 1024;

/// Longest response head that is passed on.
pub(super) const LARGEST_RESPONSE_HEAD: usize = 64 * 1024;

/// Most header lines in a request.
const MOST_HEADERS: usize = 128;

/// Headers between two neighbours (RFC 9110 §7.6.1), ours included.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// What a client asks of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) target: Target,
    pub(super) credentials: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `CONNECT host:port`.
    Tunnel { authority: String },
    /// `GET http://host/path`; `lines` are the request's own headers, ready to send after the request line and `Host`.
    Forward { method: String, url: String, lines: String, body_bytes: u64 },
}

/// A head that cannot be served, as the status and words to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHead {
    pub(super) status: u16,
    pub(super) problem: &'static str,
}

/// Reads up to and including the empty line, beginning with `bytes` that came before. What follows is the second part.
pub(super) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    mut bytes: Vec<u8>,
    longest: usize,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut searched = 0;
    loop {
        if let Some(end) = bytes[searched..].windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(searched + end + 4);
            return if bytes.len() > longest { Err(io::ErrorKind::InvalidData.into()) } else { Ok((bytes, rest)) };
        }
        if bytes.len() > longest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        searched = bytes.len().saturating_sub(3);
        bytes.reserve(2048);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Understands a client's request head.
pub(super) fn parse_request(head: &[u8]) -> Result<RequestHead, BadHead> {
    let bad = |problem| BadHead { status: 400, problem };
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad("the request head is incomplete")),
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead { status: 431, problem: "too many headers" }),
        Err(_) => return Err(bad("the request head is malformed")),
    }
    let (Some(method), Some(path)) = (request.method, request.path) else {
        return Err(bad("there is no request line"));
    };
    let credentials = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("proxy-authorization"));
    let credentials = credentials.and_then(|header| read_basic(header.value));
    let target = if method == "CONNECT" {
        Target::Tunnel { authority: path.to_owned() }
    } else {
        let body_bytes = body_length(request.headers)?;
        Target::Forward {
            method: method.to_owned(),
            url: path.to_owned(),
            lines: end_to_end(request.headers)?,
            body_bytes,
        }
    };
    Ok(RequestHead { target, credentials })
}

/// The body of a request must have a length: a chunked one would have to be understood to know where it ends.
fn body_length(headers: &[httparse::Header<'_>]) -> Result<u64, BadHead> {
    if headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding")) {
        return Err(BadHead { status: 411, problem: "send the request body with a Content-Length" });
    }
    let mut lengths = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length"));
    let bad = BadHead { status: 400, problem: "the Content-Length is not one plain number" };
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(0),
        (Some(header), None) if !header.value.is_empty() && header.value.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).ok_or(bad)
        }
        _ => Err(bad),
    }
}

/// The header lines that are meant for the other end, without `Host`.
fn end_to_end(headers: &[httparse::Header<'_>]) -> Result<String, BadHead> {
    let named: Vec<String> = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token).trim().to_ascii_lowercase())
        .collect();
    let mut lines = String::new();
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        if name == "host" || HOP_BY_HOP.contains(&name.as_str()) || named.contains(&name) {
            continue;
        }
        let value = std::str::from_utf8(header.value);
        let value = value.map_err(|_| BadHead { status: 400, problem: "a header is not UTF-8" })?;
        // Writing to a String cannot fail.
        let _ = write!(lines, "{}: {value}\r\n", header.name);
    }
    Ok(lines)
}

/// An origin's response head, ready for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// The head without what was meant for us, with `Connection: close`.
    pub(super) bytes: Vec<u8>,
    /// Bytes of body, where one plain `Content-Length` tells; otherwise the origin's close ends the body.
    pub(super) body_bytes: Option<u64>,
}

/// Understands an origin's response head, also one with odd lines; what is passed on has none.
pub(super) fn parse_response(head: &[u8], method: &str) -> io::Result<ResponseHead> {
    parse_tidy_response(head, method).or_else(|error| match tidied(head) {
        Ok(tidy) => parse_tidy_response(&tidy, method),
        Err(_) => Err(error),
    })
}

fn parse_tidy_response(head: &[u8], method: &str) -> io::Result<ResponseHead> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the response head is malformed");
    let mut headers = vec![httparse::EMPTY_HEADER; MOST_RESPONSE_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    if !matches!(response.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err(malformed());
    }
    let status = response.code.ok_or_else(malformed)?;
    let mut rewritten = format!("HTTP/1.1 {status} {}\r\n", response.reason.unwrap_or("")).into_bytes();
    for header in response.headers.iter() {
        let is_ours = HOP_BY_HOP.iter().any(|name| header.name.eq_ignore_ascii_case(name));
        if !is_ours {
            rewritten.extend_from_slice(header.name.as_bytes());
            rewritten.extend_from_slice(b": ");
            rewritten.extend_from_slice(header.value);
            rewritten.extend_from_slice(b"\r\n");
        }
    }
    if status >= 200 {
        rewritten.extend_from_slice(b"Connection: close\r\n");
    }
    rewritten.extend_from_slice(b"\r\n");
    let is_framed = response.headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body_bytes = match status {
        204 | 304 => Some(0),
        _ if method == "HEAD" => Some(0),
        _ if is_framed => body_length(response.headers).ok(),
        _ => None,
    };
    Ok(ResponseHead { status, bytes: rewritten, body_bytes })
}

fn read_basic(value: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(decode_base64(encoded.trim())?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// RFC 4648 §4; `None` for anything that is not canonical enough to have been made by an encoder.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut decoded = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((word >> bits) as u8);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::{Target, decode_base64, parse_request, parse_response};

    fn forward(head: &str) -> (String, u64) {
        match parse_request(head.as_bytes()).unwrap().target {
            Target::Forward { lines, body_bytes, .. } => (lines, body_bytes),
            Target::Tunnel { .. } => panic!("{head:?} is no forward request"),
        }
    }

    #[test]
    fn credentials_and_hop_by_hop_headers_are_not_passed_on() {
        let (lines, _) = forward(
            "GET http://a.com/ HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: Basic dTpw\r\nProxy-Connection: x\r\n\
             Connection: keep-alive, X-Private\r\nX-Private: 1\r\nUpgrade: h2c\r\nRange: bytes=0-1\r\nCookie: a=b\r\n\r\n",
        );
        assert_eq!(lines, "Range: bytes=0-1\r\nCookie: a=b\r\n");
    }

    #[test]
    fn reads_basic_credentials() {
        let head = parse_request(b"CONNECT a.com:443 HTTP/1.1\r\nproxy-authorization: bAsIc dXNlcjpwYTpzcw==\r\n\r\n")
            .unwrap();
        assert_eq!(head.credentials, Some(("user".to_owned(), "pa:ss".to_owned())));
        let head = parse_request(b"CONNECT a.com:443 HTTP/1.1\r\nProxy-Authorization: Bearer x\r\n\r\n").unwrap();
        assert_eq!(head.credentials, None);
    }

    #[test]
    fn refuses_bodies_it_cannot_delimit() {
        for (lines, status) in [
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 411),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: 99999999999999999999999\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("X : y\r\n", 400),
            ("X: a\r\n b\r\n", 400),
        ] {
            let head = format!("POST http://a.com/ HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(parse_request(head.as_bytes()).unwrap_err().status, status, "{lines:?}");
        }
        assert_eq!(forward("POST http://a.com/ HTTP/1.1\r\nContent-Length: 17\r\n\r\n").1, 17);
    }

    #[test]
    fn a_response_says_that_the_connection_ends() {
        let head = b"HTTP/1.1 206 Partial\r\nConnection: keep-alive\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n";
        let parsed = parse_response(head, "GET").unwrap();
        let expected = b"HTTP/1.1 206 Partial\r\nETag: \"x\"\r\nContent-Length: 7\r\nConnection: close\r\n\r\n";
        assert_eq!((parsed.status, &parsed.bytes[..], parsed.body_bytes), (206, &expected[..], Some(7)));
        assert_eq!(parse_response(head, "HEAD").unwrap().body_bytes, Some(0));
        assert_eq!(
            parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET").unwrap().body_bytes,
            None
        );
        assert!(parse_response(b"<html>\r\n\r\n", "GET").is_err());
    }

    #[test]
    fn odd_lines_of_a_response_do_not_reach_the_client_and_hundreds_of_headers_do() {
        let cookies = "Set-Cookie: a=b\r\n".repeat(400);
        let head = format!("HTTP/1.1 200 OK\r\nA : b\r\n c\r\nPHP Warning: x\r\n{cookies}Content-Length: 7\r\n\r\n");
        let parsed = parse_response(head.as_bytes(), "GET").unwrap();
        let expected = format!("HTTP/1.1 200 OK\r\nA: b c\r\n{cookies}Content-Length: 7\r\nConnection: close\r\n\r\n");
        assert_eq!((String::from_utf8_lossy(&parsed.bytes).as_ref(), parsed.body_bytes), (expected.as_str(), Some(7)));
        assert!(parse_response(b"HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n", "GET").is_err());
    }

    #[test]
    fn base64_is_read_as_encoders_write_it() {
        for (encoded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(decode_base64(encoded).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode_base64("Zm 9v"), None);
    }
}
