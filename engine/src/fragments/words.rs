//! Words in the place of a fragment: error pages, notices and playlists under the status 200 would be joined without complaint.
//!
//! No media begin with text, so the bytes decide. Type and length do not: a notice is sent as `video/mp2t` where a proxy
//! names every answer so, and a film as `text/plain` by servers that do not know `.ts`.

use crate::likeness::{is_text, media_type};
use crate::net::Response;

/// As much of a beginning is looked at. A transport stream, an MP4 and a WebM each show a byte no text has within the first five.
const BEGINNING_BYTES: usize = 512;
/// So many letters in a row, and so many spaces between them, are no accident, whatever they are called.
const CERTAIN_BYTES: usize = 16;
const FEWEST_SPACES: usize = 2;

/// What is no media.
#[derive(Debug)]
pub(super) enum Words {
    /// A playlist: whoever asks again gets it again.
    Playlist,
    /// Anything else, with its article: the host may be busy or want a sign-in.
    Page(String),
}

/// The beginning of one answer's body, gathered however small the reads are.
pub(super) struct Beginning {
    bytes: Vec<u8>,
    media_type: Option<String>,
    is_judged: bool,
}

impl Beginning {
    pub(super) fn of(response: &Response) -> Self {
        Self { bytes: Vec::new(), media_type: media_type(response), is_judged: false }
    }

    /// What came instead of media, once enough of it is here.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Words> {
        if self.is_judged {
            return None;
        }
        let missing = BEGINNING_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        if self.bytes.len() < BEGINNING_BYTES { None } else { self.end() }
    }

    /// As [`Beginning::take`], of a body that has ended.
    pub(super) fn end(&mut self) -> Option<Words> {
        if std::mem::replace(&mut self.is_judged, true) {
            return None;
        }
        let media_type = self.media_type.as_deref();
        if !are_words(&self.bytes, media_type) {
            return None;
        }
        if spoken(&self.bytes).get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"#EXTM3U")) {
            return Some(Words::Playlist);
        }
        let of_type = media_type.map_or(String::new(), |media_type| format!(" ({media_type})"));
        Some(Words::Page(format!("a page or a notice{of_type} in the place of a fragment")))
    }
}

/// Without what may stand before the first word.
fn spoken(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

fn are_words(bytes: &[u8], media_type: Option<&str>) -> bool {
    let start = spoken(bytes);
    let is_printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace() || *byte == 0x1b;
    if start.is_empty() || !start.iter().all(is_printable) || is_subtitle(start) {
        return false;
    }
    // A page in an old encoding is no UTF-8; a letter of several bytes may be cut at the end.
    let is_markup = matches!(start, [b'<', next, ..] if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?'));
    let is_utf8 = std::str::from_utf8(start).map_or_else(|cause| cause.error_len().is_none(), |_| true);
    let is_sentence =
        start.len() >= CERTAIN_BYTES && start.iter().filter(|byte| **byte == b' ').count() >= FEWEST_SPACES;
    let is_object = matches!(start[0], b'{' | b'[') && start.contains(&b'"');
    is_markup || is_utf8 && (is_sentence || is_object || start[0] == b'#' || media_type.is_some_and(is_text))
}

/// The media that are text.
fn is_subtitle(start: &[u8]) -> bool {
    let has = |word: &[u8]| start.windows(word.len()).any(|window| window == word);
    start.starts_with(b"WEBVTT")
        || start.starts_with(b"<tt")
        || start.starts_with(b"<?xml") && has(b"http://www.w3.org/ns/ttml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(bytes: &[u8], step: usize, media_type: Option<&str>) -> bool {
        let mut beginning =
            Beginning { bytes: Vec::new(), media_type: media_type.map(str::to_owned), is_judged: false };
        bytes.chunks(step).any(|chunk| beginning.take(chunk).is_some()) || beginning.end().is_some()
    }

    #[test]
    fn pages_and_notices_are_words_under_any_type_and_however_they_drip() {
        let long = "Link expired. ".repeat(100);
        for words in [
            &b"<!DOCTYPE html><p>"[..],
            b"\xef\xbb\xbf\r\n<html>",
            b"<!-- cached --><div>",
            b"<p>\xce\xe9\xe4\xe8\xf2\xe5",
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            b"{\"code\":403}",
            b"#EXTM3U\n",
            b"Too many requests",
            long.as_bytes(),
        ] {
            for step in [1, 7, 4096] {
                assert!(judged(words, step, Some("video/mp2t")), "{}", String::from_utf8_lossy(words));
                assert!(judged(words, step, None));
            }
        }
        assert!(judged(b"busy", 1, Some("text/plain")));
    }

    #[test]
    fn media_and_subtitles_are_not() {
        let packets = [&b"G@\x11\x10\0"[..], &[b'x'; 183]].concat().repeat(3);
        for media in [
            &packets[..],
            b"\0\0\0\x18ftypiso6",
            b"\x1a\x45\xdf\xa3\x01",
            b"\xff\xf1\x50\x80",
            b"ID3\x04\0\0\0\0\0\x3fPRIV",
            b"WEBVTT\n\n00:00.000 --> 00:04.000\nA line.",
            b"<tt xmlns=\"http://www.w3.org/ns/ttml\">",
            b"<?xml version=\"1.0\"?><tt:tt xmlns:tt=\"http://www.w3.org/ns/ttml\">",
            b"",
        ] {
            for step in [1, 4096] {
                assert!(!judged(media, step, Some("text/plain")), "{}", String::from_utf8_lossy(media));
            }
        }
    }
}
