//! Playlists behind addresses that do not say so: `/live/1234`, `?id=1`, `.m3u`, whatever type the origin names.

use url::Url;

use super::{dash, hls, text};
use crate::error::{Error, Result, shown};
use crate::net::coding::{GZIP_MAGIC, beginning_unzipped};
use crate::sink::PartFile;

/// A manifest's root stands after a declaration, perhaps after a licence in a comment.
const BEGINNING_BYTES: u64 = 64 << 10;

/// Refuses a finished file that is a playlist: as a film it would be a few lines of text.
pub(crate) fn refuse_a_playlist(part: &PartFile, url: &Url) -> Result<()> {
    let mut beginning = vec![0; part.length()?.min(BEGINNING_BYTES) as usize];
    part.read_at(&mut beginning, 0)?;
    // Some are kept compressed, as `index.m3u8.gz`; its first words come before the cut is noticed.
    if beginning.starts_with(&GZIP_MAGIC) {
        beginning = beginning_unzipped(&beginning, BEGINNING_BYTES);
    }
    if is_playlist(&beginning) { Err(Error::Playlist { url: shown(url) }) } else { Ok(()) }
}

fn is_playlist(beginning: &[u8]) -> bool {
    // Media begin with neither; a film need not be decoded as text.
    let first = beginning.trim_ascii_start().first();
    if !matches!(first, Some(b'#' | b'<' | 0 | 0xef | 0xfe | 0xff)) {
        return false;
    }
    let text = text::decode(beginning);
    hls::is_hls(&text) || dash::is_dash(&text)
}

#[cfg(test)]
mod tests {
    use super::is_playlist;

    #[test]
    fn playlists_are_known_by_their_first_words_and_media_by_theirs() {
        let wide: Vec<u8> = "<d:MPD/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let licence = format!("<?xml version=\"1.0\"?><!--{}--><MPD/>", "x".repeat(20_000));
        for playlist in
            [&b"#EXTM3U\n"[..], b"\xef\xbb\xbf\n#EXTM3U", b"# made\n#EXTM3U\n", licence.as_bytes(), &wide, b"<MPD>"]
        {
            assert!(is_playlist(playlist), "{playlist:?}");
        }
        for other in [&b""[..], b"\0\0\0\x18ftyp", b"<html><MPD>", b"#!/bin/sh", b"WEBVTT", b"G\x40", b"\xff\xf1MPD"] {
            assert!(!is_playlist(other), "{other:?}");
        }
    }
}
