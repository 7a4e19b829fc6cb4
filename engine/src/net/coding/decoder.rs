//! A compressed body, unpacked piece by piece within bounds.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status, write};
use std::io::{self, Read, Write};
use url::Url;

use super::Coding;
use super::zstd::Zstd;
use crate::error::{Error, shown};

/// How a gzip file begins (RFC 1952 §2.3.1).
pub const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The first bytes decide whether a body is what its header says.
const SNIFFED_BYTES: usize = 12;
/// Unpacked bytes of one piece of input, and the size from which on the ratio counts.
const MOST_AT_ONCE: usize = 16 << 20;
/// Media and text come nowhere near it; what does is a bomb.
const LARGEST_RATIO: u64 = 128;

/// Why a body cannot be unpacked.
#[derive(Debug)]
pub enum Fault {
    /// It is not what its header says, or damaged.
    Broken(String),
    /// It ends in its middle.
    Short,
    /// It unpacks to more than anybody would compress that well; the bound that was reached.
    Bomb(u64),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        if Full::is_cause(&cause) { Self::Bomb(MOST_AT_ONCE as u64) } else { Self::Broken(cause.to_string()) }
    }
}

impl Fault {
    /// As an error about this address.
    pub fn about(self, url: &Url) -> Error {
        match self {
            Self::Broken(detail) => Error::lied(url, format!("its body cannot be unpacked: {detail}")),
            Self::Short => Error::Truncated {
                place: url.host_str().unwrap_or_default().to_owned(),
                detail: "a compressed body ended in its middle".to_owned(),
            },
            Self::Bomb(limit) => {
                Error::LimitExceeded { what: format!("what the compressed body of {} unpacks to", shown(url)), limit }
            }
        }
    }
}

/// The text itself, for one that is a gzip file; at most `limit` bytes of it.
pub fn unzipped(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, Fault> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    let mut bounded = MultiGzDecoder::new(bytes.as_slice()).take(limit as u64 + 1);
    match bounded.read_to_end(&mut text) {
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Err(Fault::Short),
        Err(cause) => Err(Fault::Broken(cause.to_string())),
        Ok(_) if text.len() > limit => Err(Fault::Bomb(limit as u64)),
        Ok(_) => Ok(text),
    }
}

/// As much of the text of a gzip file as its beginning gives; at most `limit` bytes.
pub fn beginning_unzipped(bytes: &[u8], limit: u64) -> Vec<u8> {
    let mut text = Vec::new();
    // A cut or broken file ends in an error, behind what was read before it.
    let _ = MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut text);
    text
}

/// Takes compressed bytes and gives what they stand for.
pub struct Decoder {
    coding: Coding,
    codec: Codec,
    /// Unpacked and not taken yet, from `used` on.
    ready: Vec<u8>,
    used: usize,
    taken_in: u64,
    given_out: u64,
}

enum Codec {
    /// Nothing is decided before there are a few bytes.
    Undecided(Vec<u8>),
    /// The header was wrong: the bytes are the thing itself.
    Identity,
    Gzip(Box<write::MultiGzDecoder<Bounded>>),
    Deflate(Box<Decompress>, bool),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, bool),
    Zstd(Box<Zstd>),
}

impl Decoder {
    /// At the first byte of a body of this coding.
    pub fn new(coding: Coding) -> Self {
        Self { coding, codec: Codec::Undecided(Vec::new()), ready: Vec::new(), used: 0, taken_in: 0, given_out: 0 }
    }

    /// Whether the body really is compressed.
    pub fn is_undoing(&self) -> bool {
        !matches!(self.codec, Codec::Identity | Codec::Undecided(_))
    }

    /// Moves unpacked bytes into `buffer`; 0 when there are none for now.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = (self.ready.len() - self.used).min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[self.used..self.used + count]);
        self.used += count;
        if self.used == self.ready.len() {
            self.ready.clear();
            self.used = 0;
        }
        count
    }

    /// Unpacks the next bytes of the body. Only called when nothing is left to take.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.taken_in += bytes.len() as u64;
        if let Codec::Undecided(start) = &mut self.codec {
            start.extend_from_slice(bytes);
            return if start.len() >= SNIFFED_BYTES { self.decide() } else { Ok(()) };
        }
        self.unpack(bytes)
    }

    /// The body has ended.
    pub fn finish(&mut self) -> Result<(), Fault> {
        if matches!(self.codec, Codec::Undecided(_)) {
            self.decide()?;
        }
        let is_whole = match &mut self.codec {
            Codec::Undecided(_) | Codec::Identity => true,
            Codec::Gzip(gzip) => match gzip.try_finish() {
                Ok(()) => true,
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(cause) => return Err(cause.into()),
            },
            Codec::Deflate(_, has_ended) | Codec::Brotli(_, has_ended) => *has_ended,
            Codec::Zstd(zstd) => zstd.has_ended(),
        };
        if let Codec::Gzip(gzip) = &mut self.codec {
            self.ready.append(&mut gzip.get_mut().bytes);
        }
        if is_whole { Ok(()) } else { Err(Fault::Short) }
    }

    fn decide(&mut self) -> Result<(), Fault> {
        let Codec::Undecided(start) = &mut self.codec else { return Ok(()) };
        let start = std::mem::take(start);
        self.codec = match self.coding {
            // A compressed nothing has bytes; nothing at all is nothing.
            _ if start.is_empty() || is_media(&start) => Codec::Identity,
            Coding::Gzip if start.starts_with(&GZIP_MAGIC) => {
                Codec::Gzip(Box::new(write::MultiGzDecoder::new(Bounded::default())))
            }
            Coding::Zstd if Zstd::is_frame(&start) => Codec::Zstd(Box::default()),
            Coding::Gzip | Coding::Zstd => Codec::Identity,
            Coding::Deflate => Codec::Deflate(Box::new(Decompress::new(has_zlib_header(&start))), false),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Codec::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), false)
            }
        };
        self.unpack(&start)
    }

    fn unpack(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.codec {
            Codec::Undecided(_) => {}
            Codec::Identity => {
                self.ready.extend_from_slice(bytes);
                return Ok(());
            }
            Codec::Gzip(gzip) => {
                gzip.write_all(bytes)?;
                gzip.flush()?;
                self.ready.append(&mut gzip.get_mut().bytes);
            }
            Codec::Deflate(inflater, has_ended) => inflate(inflater, has_ended, bytes, &mut self.ready)?,
            Codec::Brotli(state, has_ended) => unbrotli(state, has_ended, bytes, &mut self.ready)?,
            Codec::Zstd(zstd) => zstd.feed(bytes, &mut self.ready, MOST_AT_ONCE)?,
        }
        self.given_out += self.ready.len() as u64;
        let most = self.taken_in.saturating_mul(LARGEST_RATIO).max(MOST_AT_ONCE as u64);
        if self.given_out > most { Err(Fault::Bomb(most)) } else { Ok(()) }
    }
}

fn inflate(inflater: &mut Decompress, has_ended: &mut bool, bytes: &[u8], ready: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = bytes;
    // What follows the end is padding that some servers send; browsers overlook it too.
    while !*has_ended {
        ready.reserve(64 << 10);
        let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress_vec(rest, ready, FlushDecompress::None);
        let status = status.map_err(|cause| Fault::Broken(cause.to_string()))?;
        rest = &rest[(inflater.total_in() - before_in) as usize..];
        *has_ended = status == Status::StreamEnd;
        if ready.len() > MOST_AT_ONCE {
            return Err(Fault::Bomb(MOST_AT_ONCE as u64));
        }
        if rest.is_empty() && inflater.total_out() == before_out {
            break;
        }
    }
    Ok(())
}

fn unbrotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    has_ended: &mut bool,
    bytes: &[u8],
    ready: &mut Vec<u8>,
) -> Result<(), Fault> {
    let (mut left, mut offset) = (bytes.len(), 0);
    let mut piece = [0; 32 << 10];
    while !*has_ended {
        let (mut room, mut filled, mut total) = (piece.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut offset,
            bytes,
            &mut room,
            &mut filled,
            &mut piece,
            &mut total,
            state,
        );
        ready.extend_from_slice(&piece[..filled]);
        if ready.len() > MOST_AT_ONCE {
            return Err(Fault::Bomb(MOST_AT_ONCE as u64));
        }
        match result {
            BrotliResult::ResultSuccess => *has_ended = true,
            BrotliResult::NeedsMoreInput => break,
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(Fault::Broken("it is not brotli".to_owned())),
        }
    }
    Ok(())
}

/// Playlists, manifests and containers, which no compressor's output begins like: a header that calls them compressed is wrong.
fn is_media(start: &[u8]) -> bool {
    let begins = [&b"#EXTM3U"[..], b"\xef\xbb\xbf#EXTM3U", b"<?xml", b"<MPD", b"WEBVTT", b"\x1a\x45\xdf\xa3", b"ID3"];
    let boxes = [b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"emsg"];
    begins.iter().any(|begin| start.starts_with(begin))
        || start.get(4..8).is_some_and(|name| boxes.iter().any(|one| name == one.as_slice()))
}

fn has_zlib_header(start: &[u8]) -> bool {
    matches!(start, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// Where `flate2` writes to: no more than is bearable for one piece of input.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("one piece unpacks to too much")]
struct Full;

impl Full {
    fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_AT_ONCE {
            return Err(io::Error::other(Full));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn decoded(coding: Coding, body: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
        let mut decoder = Decoder::new(coding);
        let (mut plain, mut buffer) = (Vec::new(), [0; 1000]);
        let mut drain = |decoder: &mut Decoder| loop {
            match decoder.take(&mut buffer) {
                0 => break,
                count => plain.extend_from_slice(&buffer[..count]),
            }
        };
        for piece in body.chunks(piece) {
            decoder.feed(piece)?;
            drain(&mut decoder);
        }
        decoder.finish()?;
        drain(&mut decoder);
        Ok(plain)
    }

    fn encoded(plain: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        for writer in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            writer.write_all(plain).unwrap();
        }
        let zstd = ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest);
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Zstd, zstd),
        ]
    }

    /// By Google's encoder, as are the 64 MiB of zeros below.
    const BROTLI: &[u8] =
        b"\x1b\x52\x00\xa0\xe4\x6d\xfb\x9e\xdb\x4d\x31\x72\xb9\x35\x68\xe4\x4a\xf0\xfc\xf2\x80\x8b\x13\x1d\x56\x32\x25\xc5\xa7\x76\x64\x5e\x31\xd3\xbc\xee\x99\x09\x04\x0b\x3f\x01\xcb\x32\x27\xd9\xa1\xa2\x3f\x3b\x96\x0a\x71\x07\xa6\xff\x04\x46\x61\xa1\x87\x85\x0a\x13\x00";
    const BROTLI_TEXT: &[u8] =
        b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n0.ts\n#EXTINF:4.0,\n1.ts\n#EXT-X-ENDLIST\n";
    const BROTLI_BOMB: &[u8] = b"\xcb\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x8f\xff\xff\x7f\xf0\x4f\x00\xc4\x61\x11\x80\xee\xfd\x1f\xff\xff\xff\xe0\x9f\x00\x88\xc3\x02\x00\xdd\xfb\x3f\xfe\xff\xff\xc1\x3f\x01\x10\x87\x05\x00\xba\xf7\x7f\xfc\xff\xff\x83\x7f\x02\x20\x0e\x0b\x00\x74\xef\xff\xf8\xff\xff\x07\xff\x04\x40\x1c\x16\x00\xe8\xde\xff\xf1\xff\xff\x0f\xfe\x09\x80\x38\x2c\x00\xd0\xbd\xff\xe3\xff\xff\x1f\xfc\x13\x00\x71\x58\x00\xa0\x7b\xff\x37";

    fn plain() -> Vec<u8> {
        (0..60_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    #[test]
    fn decoding_undoes_encoding_in_pieces_of_any_size() {
        for (coding, body) in encoded(&plain()) {
            for piece in [1, 7, 4096, body.len()] {
                assert!(decoded(coding, &body, piece).unwrap() == plain(), "{coding:?} in pieces of {piece}");
            }
        }
        for piece in [1, 7, BROTLI.len()] {
            assert_eq!(decoded(Coding::Brotli, BROTLI, piece).unwrap(), BROTLI_TEXT);
        }
    }

    #[test]
    fn a_body_that_ends_in_its_middle_is_short() {
        for (coding, body) in encoded(&plain()) {
            let cut = decoded(coding, &body[..body.len() / 2], 1000);
            assert!(matches!(cut, Err(Fault::Short)), "{coding:?}: {:?}", cut.map(|plain| plain.len()));
        }
        assert!(matches!(decoded(Coding::Brotli, &BROTLI[..BROTLI.len() - 4], 9), Err(Fault::Short)));
    }

    #[test]
    fn a_bomb_is_refused_while_it_unpacks() {
        let zeros = vec![0; 64 << 20];
        for (coding, body) in encoded(&zeros) {
            assert!(matches!(decoded(coding, &body, 8192), Err(Fault::Bomb(_))), "{coding:?}");
        }
        assert!(matches!(decoded(Coding::Brotli, BROTLI_BOMB, 8192), Err(Fault::Bomb(_))));
    }

    #[test]
    fn a_header_that_is_wrong_changes_nothing() {
        for coding in [Coding::Gzip, Coding::Zstd, Coding::Brotli, Coding::Deflate] {
            for body in [&b"#EXTM3U\n#EXTINF:1,\na.ts\n"[..], b"\0\0\0\x20ftypisom....", b""] {
                assert_eq!(decoded(coding, body, 3).unwrap(), body, "{coding:?}");
            }
        }
        assert_eq!(decoded(Coding::Gzip, &[7; 16], 16).unwrap(), [7; 16], "a key is 16 bytes");
    }

    #[test]
    fn what_is_damaged_is_broken() {
        for (coding, mut body) in encoded(&plain()) {
            let middle = body.len() / 2;
            body[middle..middle + 40].fill(0xff);
            let damaged = decoded(coding, &body, 1000);
            assert!(!matches!(&damaged, Ok(bytes) if *bytes == plain()), "{coding:?}");
        }
        assert!(matches!(decoded(Coding::Brotli, &[0xff; 100], 100), Err(Fault::Broken(_))));
    }
}
