//! HTTP/1.1 heads and body framing over a [`Stream`].
//!
//! Strict where RFC 9112 names a smuggling or truncation risk: differing lengths, unreadable chunk sizes and oversized
//! heads are errors, never guesses. What harms nobody on a connection that is closed afterwards is survived there: heads
//! with odd lines ([`super::head`]), and a length beside chunks (docs/decisions/length-beside-chunks.md).

use std::io;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head::{end_of_head, tidied};
use super::stream::Stream;
use super::tls::Unannounced;

/// Longest response head.
pub const LARGEST_HEAD_BYTES: usize = 64 * 1024;
/// Header lines for which there is room on the stack.
const USUAL_HEADERS: usize = 128;
/// Most header lines in a head; real origins send hundreds of cookies.
pub const MOST_HEADERS: usize = 2048;
/// Most interim (1xx) responses before the real one.
const MOST_INTERIM: usize = 8;

/// Why a head or body cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// The connection failed or ended.
    Io(io::Error),
    /// The bytes are not HTTP/1.1 that has one meaning.
    Framing(String),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// A response head.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may serve another request.
    pub keeps_alive: bool,
    /// It names a length and chunks at once. The chunks count (RFC 9112 §6.3), but on a connection that has served another
    /// request before, the bytes may be the answer to that one.
    pub is_contradictory: bool,
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the zero chunk.
    Chunked,
    /// At the end of the connection.
    UntilClose,
}

/// Sends `GET target` with exactly these headers.
pub async fn send_get(stream: &mut Stream, target: &str, headers: &HeaderMap) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"GET ");
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        head.extend_from_slice(title_case(name).as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    stream.flush().await
}

/// Some origins and middleboxes still expect the capitals that HTTP/1.1 clients have always sent.
fn title_case(name: &HeaderName) -> String {
    let mut is_start = true;
    name.as_str()
        .chars()
        .map(|letter| {
            let cased = if is_start { letter.to_ascii_uppercase() } else { letter };
            is_start = letter == '-';
            cased
        })
        .collect()
}

/// Reads the head of the final response to a `GET`. What arrived behind it is left in `excess`.
pub async fn read_head(stream: &mut Stream, excess: &mut Vec<u8>) -> Result<Head, Fault> {
    for _ in 0..=MOST_INTERIM {
        let head = read_one_head(stream, excess).await?;
        if head.status == 101 {
            return Err(Fault::Framing("it switches protocols, which was not asked".to_owned()));
        }
        if head.status >= 200 {
            return Ok(head);
        }
    }
    Err(Fault::Framing(format!("more than {MOST_INTERIM} interim responses")))
}

async fn read_one_head(stream: &mut Stream, excess: &mut Vec<u8>) -> Result<Head, Fault> {
    let mut searched = 0;
    loop {
        // Parsing only when a blank line has come keeps a dripped head linear.
        let from = searched.max(3) - 3;
        let has_end = excess[from.min(excess.len())..].windows(2).any(|pair| pair == b"\n\n")
            || excess[from.min(excess.len())..].windows(3).any(|three| three == b"\n\r\n");
        searched = excess.len();
        if has_end && let Some((head, length)) = parse_head(excess)? {
            excess.drain(..length);
            return Ok(head);
        }
        if excess.len() >= LARGEST_HEAD_BYTES {
            return Err(Fault::Framing(format!("its head is over {LARGEST_HEAD_BYTES} bytes")));
        }
        let mut piece = [0; 8192];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            let detail = if excess.is_empty() {
                "the connection closed without an answer"
            } else {
                "the connection closed inside the head"
            };
            return Err(Fault::Io(io::Error::new(io::ErrorKind::UnexpectedEof, detail)));
        }
        excess.extend_from_slice(&piece[..read]);
    }
}

/// Parses one head at the start of `bytes`; `None` while it is incomplete.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let strictly = parse_with_room(bytes);
    let Err(Fault::Framing(problem)) = strictly else { return strictly };
    let Some(length) = end_of_head(bytes) else { return Err(Fault::Framing(problem)) };
    let tidy = tidied(&bytes[..length]).map_err(|why| Fault::Framing(format!("{problem}; {why}")))?;
    let parsed = parse_with_room(&tidy)?;
    Ok(parsed.map(|(head, _)| (Head { keeps_alive: false, ..head }, length)))
}

fn parse_with_room(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let unreadable = |cause| Fault::Framing(format!("its head is not HTTP/1.1: {cause}"));
    match parse(bytes, &mut [httparse::EMPTY_HEADER; USUAL_HEADERS]) {
        Err(Problem::Syntax(httparse::Error::TooManyHeaders)) => {
            match parse(bytes, &mut vec![httparse::EMPTY_HEADER; MOST_HEADERS]) {
                Err(Problem::Syntax(cause)) => Err(unreadable(cause)),
                Err(Problem::Meaning(fault)) => Err(fault),
                Ok(parsed) => Ok(parsed),
            }
        }
        Err(Problem::Syntax(cause)) => Err(unreadable(cause)),
        Err(Problem::Meaning(fault)) => Err(fault),
        Ok(parsed) => Ok(parsed),
    }
}

enum Problem {
    Syntax(httparse::Error),
    Meaning(Fault),
}

fn parse<'bytes>(
    bytes: &'bytes [u8],
    lines: &mut [httparse::Header<'bytes>],
) -> Result<Option<(Head, usize)>, Problem> {
    let mut response = httparse::Response::new(lines);
    let length = match response.parse(bytes).map_err(Problem::Syntax)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let status = response.code.unwrap_or_default();
    let is_http11 = response.version == Some(1);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let unreadable = || Problem::Meaning(Fault::Framing(format!("its header {:?} cannot be read", line.name)));
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| unreadable())?;
        headers.append(name, HeaderValue::from_bytes(line.value).map_err(|_| unreadable())?);
    }
    let framing = framing(status, &headers).map_err(Problem::Meaning)?;
    let is_contradictory = framing == Framing::Chunked && headers.contains_key(CONTENT_LENGTH);
    // HTTP/1.0 knows no chunks: whoever sends them there has passed on what it did not understand.
    let is_known_framing = framing != Framing::Chunked || is_http11;
    let keeps_alive =
        keeps_alive(is_http11, &headers) && framing != Framing::UntilClose && is_known_framing && !is_contradictory;
    Ok(Some((Head { status, headers, framing, keeps_alive, is_contradictory }, length)))
}

fn framing(status: u16, headers: &HeaderMap) -> Result<Framing, Fault> {
    if status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    let mut length = None;
    let lengths = headers.get_all(CONTENT_LENGTH);
    for value in lengths.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let parsed = decimal(value.trim_ascii())
            .ok_or_else(|| Fault::Framing("its Content-Length is not a number".to_owned()))?;
        if length.is_some_and(|known| known != parsed) {
            return Err(Fault::Framing("it has two different Content-Lengths".to_owned()));
        }
        length = Some(parsed);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = codings.next().is_none() && coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        return if is_chunked {
            Ok(Framing::Chunked)
        } else {
            Err(Fault::Framing("its transfer coding was not asked for".to_owned()))
        };
    }
    Ok(length.map_or(Framing::UntilClose, Framing::Length))
}

/// Digits only: `+5`, `0x5` and what overflows are not numbers.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn keeps_alive(is_http11: bool, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    !says("close") && (is_http11 || says("keep-alive"))
}

/// Reads a body according to its framing.
pub struct BodyReader {
    state: State,
    has_begun: bool,
    ended_unannounced: bool,
}

enum State {
    Length(u64),
    ChunkSize(Vec<u8>),
    ChunkData(u64),
    ChunkEnd(u8),
    Trailers { line: u32, total: u32 },
    UntilClose,
    Ended,
}

impl BodyReader {
    /// At the first byte of the body.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize(Vec::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, has_begun: false, ended_unannounced: false }
    }

    /// Whether the whole body has been read.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether the body ended with its connection, and TLS did not say that it would: a cut looks the same.
    pub fn ended_unannounced(&self) -> bool {
        self.ended_unannounced
    }

    /// How many bytes are certainly still to come before the body ends or its framing needs a look.
    pub fn owed(&self) -> Option<u64> {
        match self.state {
            State::Length(owed) | State::ChunkData(owed) => Some(owed),
            State::Ended => Some(0),
            _ => None,
        }
    }

    /// Reads body bytes into `buffer`; 0 is the end of the body, never of the connection alone.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        excess: &mut Excess,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, Fault>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(Ok(0)),
                State::Length(owed) | State::ChunkData(owed) => {
                    let limit = buffer.len().min(usize::try_from(*owed).unwrap_or(usize::MAX));
                    let read = ready!(excess.poll_read(cx, stream, &mut buffer[..limit]))?;
                    if read == 0 {
                        return Poll::Ready(Err(ended_early(*owed)));
                    }
                    *owed -= read as u64;
                    if *owed == 0 {
                        self.state =
                            if matches!(self.state, State::Length(_)) { State::Ended } else { State::ChunkEnd(0) };
                    }
                    return Poll::Ready(Ok(read));
                }
                State::UntilClose => {
                    // Many servers close without `close_notify`. Browsers and curl take what came; so does this, and says so.
                    let read = match ready!(excess.poll_read(cx, stream, buffer)) {
                        Err(cause) if Unannounced::is_cause(&cause) && self.has_begun => {
                            self.ended_unannounced = true;
                            0
                        }
                        read => read?,
                    };
                    self.has_begun = true;
                    if read == 0 {
                        self.state = State::Ended;
                    }
                    return Poll::Ready(Ok(read));
                }
                _ => {
                    let byte = ready!(excess.poll_byte(cx, stream))?;
                    self.advance_framing(byte)?;
                }
            }
        }
    }

    fn advance_framing(&mut self, byte: u8) -> Result<(), Fault> {
        let broken = |what: &str| Err(Fault::Framing(format!("its chunked body is broken: {what}")));
        match &mut self.state {
            State::ChunkSize(line) if byte == b'\n' => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let Some(size) = hexadecimal(digits) else { return broken("a chunk size cannot be read") };
                self.state = if size == 0 { State::Trailers { line: 0, total: 0 } } else { State::ChunkData(size) };
            }
            State::ChunkSize(line) => {
                line.push(byte);
                if line.len() > 256 {
                    return broken("a chunk size line is too long");
                }
            }
            State::ChunkEnd(seen) => match (*seen, byte) {
                (0, b'\r') => *seen = 1,
                (_, b'\n') => self.state = State::ChunkSize(Vec::new()),
                _ => return broken("a chunk is longer than its size"),
            },
            State::Trailers { line, total } => {
                *total += 1;
                match byte {
                    b'\n' if *line == 0 => self.state = State::Ended,
                    b'\n' => *line = 0,
                    b'\r' => {}
                    _ => *line += 1,
                }
                if matches!(self.state, State::Trailers { total, .. } if total > 16 * 1024) {
                    return broken("its trailers are too long");
                }
            }
            State::Length(_) | State::ChunkData(_) | State::UntilClose | State::Ended => {}
        }
        Ok(())
    }
}

fn ended_early(owed: u64) -> Fault {
    Fault::Io(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{owed} bytes of the body are missing")))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| Some(number << 4 | u64::from((*digit as char).to_digit(16)?)))
}

/// Bytes that were received together with a head and belong to what follows it.
#[derive(Default)]
pub struct Excess {
    bytes: Vec<u8>,
    used: usize,
}

impl Excess {
    /// `bytes` come before anything the stream still delivers.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, used: 0 }
    }

    /// What has not been read.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.used);
        self.bytes
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut Stream, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            return stream.poll_read_into(cx, buffer);
        }
        let count = self.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes[self.used..self.used + count]);
        self.used += count;
        if self.is_empty() {
            *self = Self::default();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_byte(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<u8, Fault>> {
        if self.is_empty() {
            let mut piece = [0; 4096];
            let read = ready!(stream.poll_read_into(cx, &mut piece))?;
            if read == 0 {
                return Poll::Ready(Err(ended_early(1)));
            }
            *self = Self::new(piece[..read].to_vec());
        }
        let byte = self.bytes[self.used];
        self.used += 1;
        Poll::Ready(Ok(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Fault> {
        parse_head(text.as_bytes()).map(|parsed| parsed.expect("complete").0)
    }

    #[test]
    fn chunks_win_over_a_length_and_the_connection_is_over_then() {
        let both = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!((both.framing, both.keeps_alive, both.is_contradictory), (Framing::Chunked, false, true));
        for other in
            ["5x\r\nTransfer-Encoding: chunked", "5, 6\r\nTransfer-Encoding: chunked", "5\r\nTransfer-Encoding: x"]
        {
            assert!(head(&format!("HTTP/1.1 200 OK\r\nContent-Length: {other}\r\n\r\n")).is_err(), "{other}");
        }
        let old = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!head(old).unwrap().keeps_alive);
    }

    #[test]
    fn a_head_with_odd_lines_is_read_and_its_connection_is_not_used_again() {
        let odd = head("HTTP/1.1 200 OK\r\nPHP Warning: x\r\nA : b\r\n c\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(
            (odd.framing, odd.keeps_alive, odd.headers["a"].as_bytes()),
            (Framing::Length(5), false, &b"b c"[..])
        );
        for lines in ["Content-Length : 5", "Content-Length: 5\r\n 6", "PHP Transfer-Encoding: chunked"] {
            assert!(head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")).is_err(), "{lines}");
        }
        assert!(head("ICY 200 OK\r\nA : b\r\n\r\n").is_err());
    }

    #[test]
    fn hundreds_of_headers_are_read() {
        let cookies = "Set-Cookie: a=b\r\n".repeat(500);
        let many = head(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{cookies}\r\n")).unwrap();
        assert_eq!((many.headers.len(), many.keeps_alive), (501, true));
    }

    #[test]
    fn refuses_lengths_that_differ_or_are_no_numbers() {
        for lengths in ["5\r\nContent-Length: 6", "5, 6", "+5", "-1", "0x5", "99999999999999999999999", ""] {
            assert!(head(&format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n")).is_err(), "{lengths}");
        }
        let same = head("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n").unwrap();
        assert_eq!(same.framing, Framing::Length(5));
    }

    #[test]
    fn keeps_alive_only_when_the_end_of_the_body_is_known() {
        assert!(!head("HTTP/1.1 200 OK\r\n\r\n").unwrap().keeps_alive);
        assert!(head("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().keeps_alive);
        assert!(!head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().keeps_alive);
        assert!(!head("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n").unwrap().keeps_alive);
    }

    #[test]
    fn a_status_without_body_has_none() {
        assert_eq!(head("HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n").unwrap().framing, Framing::Length(0));
    }
}
