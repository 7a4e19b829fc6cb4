//! Master playlists: the variants and renditions a caller can choose from.

use url::Url;

use super::attributes::Attributes;
use super::define::Variables;
use super::numbered_lines;
use crate::fragments::address::resolve;
use crate::fragments::bounds::{PlaylistLimits, check};
use crate::fragments::refusal::PlaylistError;

/// One `EXT-X-STREAM-INF` and the playlist it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The media playlist.
    pub url: Url,
    /// Peak bits per second; 0 when the tag forgot it.
    pub bandwidth: u64,
    /// Width and height in pixels.
    pub resolution: Option<(u32, u32)>,
    /// As written, for example `avc1.640028,mp4a.40.2`.
    pub codecs: Option<String>,
    /// The `GROUP-ID` of its audio renditions.
    pub audio_group: Option<String>,
}

/// One `EXT-X-MEDIA` with an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// `AUDIO`, `VIDEO`, `SUBTITLES` or `CLOSED-CAPTIONS`.
    pub kind: String,
    /// The group a variant refers to.
    pub group: String,
    /// For people.
    pub name: String,
    /// RFC 5646 tag.
    pub language: Option<String>,
    /// Whether a player would take it unasked.
    pub is_default: bool,
    /// The media playlist; renditions carried inside the variant have none.
    pub url: Option<Url>,
}

/// A master playlist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Master {
    /// In the order of the text.
    pub variants: Vec<Variant>,
    /// In the order of the text.
    pub renditions: Vec<Rendition>,
    /// Tags nobody here knows.
    pub unknown_tags: u64,
    /// What `EXT-X-DEFINE` named, for the playlists it leads to.
    pub variables: Variables,
}

/// Tags that do not change what can be chosen.
const HARMLESS: [&str; 9] = [
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
    "EXT-X-DEFINE",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
    "EXT-X-CONTENT-STEERING",
];

pub(super) fn parse(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Master, PlaylistError> {
    let mut master = Master::default();
    let mut pending: Option<(usize, &str)> = None;
    for (line, content) in numbered_lines(text) {
        let Some(tag) = content.strip_prefix('#') else {
            // An address without its tag is tolerated: it cannot be chosen, so it changes nothing.
            if let Some((tag_line, value)) = pending.take() {
                master.variants.push(variant(tag_line, value, resolve(location, content)?)?);
            }
            continue;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-STREAM-INF" => pending = Some((line, value)),
            "EXT-X-MEDIA" => master.renditions.push(rendition(line, value, location)?),
            _ if HARMLESS.contains(&name) || !name.starts_with("EXT") => {}
            _ => master.unknown_tags += 1,
        }
        let choices = master.variants.len() + master.renditions.len();
        check("variants and renditions", choices as u64, limits.variants)?;
    }
    if master.variants.is_empty() { Err(PlaylistError::Empty) } else { Ok(master) }
}

fn variant(line: usize, value: &str, url: Url) -> Result<Variant, PlaylistError> {
    let attributes = attributes(line, value)?;
    Ok(Variant {
        url,
        bandwidth: attributes.integer("BANDWIDTH").unwrap_or(0),
        resolution: attributes.get("RESOLUTION").and_then(|text| {
            let (width, height) = text.split_once(['x', 'X'])?;
            Some((width.parse().ok()?, height.parse().ok()?))
        }),
        codecs: attributes.get("CODECS").map(str::to_owned),
        audio_group: attributes.get("AUDIO").map(str::to_owned),
    })
}

fn rendition(line: usize, value: &str, location: &Url) -> Result<Rendition, PlaylistError> {
    let attributes = attributes(line, value)?;
    let text = |name| attributes.get(name).unwrap_or("").to_owned();
    Ok(Rendition {
        kind: text("TYPE"),
        group: text("GROUP-ID"),
        name: text("NAME"),
        language: attributes.get("LANGUAGE").map(str::to_owned),
        is_default: attributes.yes("DEFAULT"),
        url: attributes
            .get("URI")
            .filter(|reference| !reference.trim().is_empty())
            .map(|reference| resolve(location, reference))
            .transpose()?,
    })
}

fn attributes<'line>(line: usize, text: &'line str) -> Result<Attributes<'line>, PlaylistError> {
    Attributes::parse(text).ok_or_else(|| PlaylistError::at_line(line, "a quoted value has no closing quote"))
}
