//! What a playlist or manifest lets one choose from, before anything is fetched.

use super::address::shown;
use super::bounds::{PlaylistLimits, check};
use super::hls::{Master, Playlist, Rendition, Variant};
use super::refusal::PlaylistError;
use super::selection::{audio_of, is_audio_only};
use super::terms::Terms;
use super::{dash, hls, text};
use crate::download::Context;
use crate::error::Result;
use crate::request::Request;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Picture and sound.
    Both,
    /// Picture whose sound is a stream of its own.
    Video,
    /// Sound alone.
    Audio,
    /// Subtitles, thumbnails.
    Other,
}

/// One of the streams that [`super::Selection::Index`] can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedStream {
    /// Its position in the text: variants, then renditions (HLS); representations of the first period (DASH).
    pub index: usize,
    /// What it carries.
    pub kind: StreamKind,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Bits per second, 0 when it is not said.
    pub bandwidth: u64,
    /// As written.
    pub codecs: Option<String>,
    /// RFC 5646 tag.
    pub language: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// Sound: the group it belongs to. Picture: the group its sound is in.
    pub audio_group: Option<String>,
    /// Whether a player would take it unasked.
    pub is_default: bool,
    /// Whether it is a stream of its own; a rendition without an address is inside its variants.
    pub is_separate: bool,
}

/// Reads the request's playlist and answers what it offers; empty when there is nothing to choose.
///
/// # Errors
/// Those of [`super::download`] up to the fragments.
pub async fn offered(context: &Context, request: &Request) -> Result<Vec<OfferedStream>> {
    let terms = Terms::new(context, request)?;
    let limits = PlaylistLimits::default();
    let (bytes, location) = terms.text(terms.url(), limits.text_bytes as usize).await?;
    let text = text::decode(&bytes);
    if dash::is_dash(&text) {
        return Ok(dash::offered(&text, &location, &limits)?);
    }
    match hls::parse(&text, &location, &limits)? {
        Playlist::Media(_) => Ok(Vec::new()),
        Playlist::Master(master) => {
            check("nested playlists", 2, limits.depth)?;
            if master.variants.iter().any(|variant| variant.url == location) {
                return Err(PlaylistError::SelfListing { location: shown(&location) }.into());
            }
            Ok(of_master(&master))
        }
    }
}

fn of_master(master: &Master) -> Vec<OfferedStream> {
    let variants = master.variants.iter().map(|variant| of_variant(master, variant));
    let renditions = master.renditions.iter().map(of_rendition);
    let mut streams: Vec<OfferedStream> = variants.chain(renditions).collect();
    streams.iter_mut().enumerate().for_each(|(index, stream)| stream.index = index);
    streams
}

fn of_variant(master: &Master, variant: &Variant) -> OfferedStream {
    let has_separate_sound = audio_of(master, variant).next().is_some()
        && !master.renditions.iter().any(|rendition| {
            rendition.kind == "AUDIO"
                && rendition.url.is_none()
                && variant.audio_group.as_ref() == Some(&rendition.group)
        });
    OfferedStream {
        index: 0,
        kind: match (is_audio_only(variant), has_separate_sound) {
            (true, _) => StreamKind::Audio,
            (false, true) => StreamKind::Video,
            (false, false) => StreamKind::Both,
        },
        width: variant.resolution.map(|(width, _)| width),
        height: variant.resolution.map(|(_, height)| height),
        bandwidth: variant.bandwidth,
        codecs: variant.codecs.clone(),
        language: None,
        name: None,
        audio_group: variant.audio_group.clone(),
        is_default: false,
        is_separate: true,
    }
}

fn of_rendition(rendition: &Rendition) -> OfferedStream {
    OfferedStream {
        index: 0,
        kind: if rendition.kind == "AUDIO" { StreamKind::Audio } else { StreamKind::Other },
        width: None,
        height: None,
        bandwidth: 0,
        codecs: None,
        language: rendition.language.clone(),
        name: Some(rendition.name.clone()).filter(|name| !name.is_empty()),
        audio_group: Some(rendition.group.clone()),
        is_default: rendition.is_default,
        is_separate: rendition.url.is_some(),
    }
}
