//! HLS playlists (RFC 8216 and the 8216bis drafts): text in, fragments or variants out. Pure.

mod attributes;
mod define;
mod encryption;
mod master;
mod media;

use url::Url;

pub use define::Variables;
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

/// Whether the text declares itself an HLS playlist; a byte order mark, blank lines and comments before that are
/// tolerated, and a first line forgotten by a packager whose tags follow.
#[must_use]
pub fn is_hls(text: &str) -> bool {
    let first = numbered_lines(text).map(|(_, line)| line).find(|line| !is_comment(line));
    first.is_some_and(|line| begins(line, "#EXTM3U") || begins(line, "#EXT-X-"))
}

fn begins(line: &str, tag: &str) -> bool {
    line.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#') && !begins(line, "#EXT")
}

/// Parses a master or media playlist found at `location`.
///
/// # Errors
/// Any [`PlaylistError`]: live, DRM, malformed, self-listing or over a limit.
pub fn parse(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Playlist, PlaylistError> {
    parse_with(text, location, limits, &Variables::new())
}

/// As [`parse`], with the variables of the master that led here.
pub(super) fn parse_with(
    text: &str,
    location: &Url,
    limits: &PlaylistLimits,
    inherited: &Variables,
) -> Result<Playlist, PlaylistError> {
    check("bytes of text", text.len() as u64, limits.text_bytes)?;
    if !is_hls(text) {
        return Err(PlaylistError::NotAPlaylist {
            location: super::address::shown(location),
            start: text.chars().take(40).collect(),
        });
    }
    let (text, variables) = define::substitute(text, location, limits, inherited)?;
    let text = text.as_ref();
    let has = |tag: &str| numbered_lines(text).any(|(_, line)| line.starts_with(tag));
    let is_master = has("#EXT-X-STREAM-INF:");
    // A channel list names its variants with #EXTINF as well; what no master has is a segment's length.
    let is_media = if is_master { has("#EXT-X-TARGETDURATION") } else { true };
    match (is_master, is_media) {
        (true, true) => Err(PlaylistError::Malformed {
            place: "the whole text".to_owned(),
            problem: "it is a master and a media playlist at once (RFC 8216 §4.1 forbids it)".to_owned(),
        }),
        (true, false) => {
            let master = master::parse(text, location, limits)?;
            Ok(Playlist::Master(Master { variables, ..master }))
        }
        (false, _) => media::parse(text, location, limits).map(Playlist::Media),
    }
}

/// Lines with their number from 1, without the space around them, empty ones left out. Where there is no line feed,
/// a carriage return alone ends a line.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    text.trim_start_matches('\u{feff}')
        .split(end)
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}
