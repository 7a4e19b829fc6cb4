//! HLS playlists (RFC 8216 and the 8216bis drafts): text in, fragments or variants out. Pure.

mod attributes;
mod encryption;
mod master;
mod media;

use url::Url;

pub use master::{Master, Rendition, Variant};

use super::bounds::{PlaylistLimits, check};
use super::fragment::FragmentList;
use super::refusal::PlaylistError;

/// What one playlist text turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playlist {
    /// A choice of other playlists.
    Master(Master),
    /// The fragments themselves.
    Media(FragmentList),
}

/// Whether the text declares itself an HLS playlist, a byte order mark tolerated.
#[must_use]
pub fn is_hls(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with("#EXTM3U")
}

/// Parses a master or media playlist found at `location`.
///
/// # Errors
/// Any [`PlaylistError`]: live, DRM, malformed, self-listing or over a limit.
pub fn parse(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Playlist, PlaylistError> {
    check("bytes of text", text.len() as u64, limits.text_bytes)?;
    if !is_hls(text) {
        return Err(PlaylistError::NotAPlaylist {
            location: super::address::shown(location),
            start: text.chars().take(40).collect(),
        });
    }
    if text.contains("#EXT-X-DEFINE") && text.contains("{$") {
        return Err(PlaylistError::unsupported("variables (EXT-X-DEFINE)"));
    }
    let is_master = text.lines().any(|line| line.starts_with("#EXT-X-STREAM-INF:"));
    let is_media = text.lines().any(|line| line.starts_with("#EXTINF"));
    match (is_master, is_media) {
        (true, true) => Err(PlaylistError::Malformed {
            place: "the whole text".to_owned(),
            problem: "it is a master and a media playlist at once (RFC 8216 §4.1 forbids it)".to_owned(),
        }),
        (true, false) => master::parse(text, location, limits).map(Playlist::Master),
        (false, _) => media::parse(text, location, limits).map(Playlist::Media),
    }
}

/// Lines with their number from 1, `\r` removed, empty ones left out.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}
