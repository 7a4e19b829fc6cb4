//! From the caller's source to the list of requests: playlists are fetched and followed, manifests indexed.

use std::collections::HashMap;

use url::Url;

use super::address::shown;
use super::bounds::{PlaylistLimits, check};
use super::fragment::{
    Encryption, Fragment, FragmentCollector, FragmentKind, FragmentList, FragmentRange, KeySource, ListKind,
};
use super::hls::Playlist;
use super::refusal::PlaylistError;
use super::selection::{Selection, choose};
use super::terms::Terms;
use super::{dash, hls};
use crate::error::{Error, Result};
use crate::request::{FragmentSpec, Source};

/// Largest index box that is read: 16-bit entry counts fit in 800 KiB.
const LARGEST_INDEX_BYTES: u64 = 1 << 20;

impl From<PlaylistError> for Error {
    fn from(error: PlaylistError) -> Self {
        let text = error.to_string();
        match error {
            PlaylistError::LimitExceeded { what, limit } => {
                Self::LimitExceeded { what: format!("the number of {what} in the playlist"), limit }
            }
            PlaylistError::Live => Self::Unsupported(
                "the playlist is live (it declares no end), and recording what is still broadcast".to_owned(),
            ),
            PlaylistError::Drm { system } => {
                Self::Unsupported(format!("the fragments are protected by DRM ({system}), and removing it"))
            }
            PlaylistError::Unsupported { feature } => Self::Unsupported(format!("joining a playlist with {feature}")),
            PlaylistError::NoSuchVariant { .. } => Self::InvalidRequest(text),
            _ => Self::OriginLied { url: "the playlist".to_owned(), detail: text },
        }
    }
}

/// Everything that makes the file, in order.
pub(super) async fn list(
    terms: &Terms,
    source: &Source,
    selection: &Selection,
    limits: &PlaylistLimits,
) -> Result<FragmentList> {
    match source {
        Source::Fragments(specs) => explicit(terms, specs, limits),
        Source::Single { .. } => Err(Error::InvalidRequest("a single file is no playlist".to_owned())),
        Source::Hls { .. } | Source::Dash { .. } => follow(terms, selection, limits).await,
    }
}

/// Reads playlists until fragments come, each address once and within the depth. The text decides what it is, not the
/// name: a manifest behind `.m3u8` is common enough.
async fn follow(terms: &Terms, selection: &Selection, limits: &PlaylistLimits) -> Result<FragmentList> {
    let mut visited: Vec<Url> = Vec::new();
    let mut next = terms.url().clone();
    let mut separate = Vec::new();
    loop {
        if visited.contains(&next) {
            return Err(PlaylistError::SelfListing { location: shown(&next) }.into());
        }
        visited.push(next.clone());
        check("nested playlists", visited.len() as u64, limits.depth)?;
        let (bytes, location) = terms.text(&next, limits.text_bytes as usize).await?;
        let text = String::from_utf8_lossy(&bytes);
        if dash::is_dash(&text) {
            return indexed(terms, dash::parse(&text, &location, selection, limits)?, limits).await;
        }
        match hls::parse(&text, &location, limits)? {
            Playlist::Media(mut list) => {
                list.separate_renditions = separate;
                return Ok(list);
            }
            Playlist::Master(master) => {
                let chosen = choose(&master, selection)?;
                separate = chosen.separate;
                next = chosen.url;
            }
        }
    }
}

async fn indexed(terms: &Terms, presentation: dash::Presentation, limits: &PlaylistLimits) -> Result<FragmentList> {
    let mut indexes = HashMap::new();
    for part in &presentation.parts {
        if let dash::Part::Indexed { url, index } = part {
            check("bytes of a segment index", index.len(), LARGEST_INDEX_BYTES)?;
            let range = (index.start(), Some(index.end() - 1));
            let (bytes, _) = terms.small(url, Some(range), LARGEST_INDEX_BYTES as usize).await?;
            indexes.insert(url.clone(), dash::sidx::parse(&bytes, index.start())?);
        }
    }
    let list = presentation.into_list(limits, |url| Ok(indexes.get(url).cloned().unwrap_or_default()))?;
    Ok(list)
}

fn explicit(terms: &Terms, specs: &[FragmentSpec], limits: &PlaylistLimits) -> Result<FragmentList> {
    let mut collector = FragmentCollector::new(ListKind::Explicit, *limits);
    for spec in specs {
        let range = match spec.byte_range {
            None => None,
            Some((start, length)) => Some(FragmentRange::from_length(start, length).ok_or_else(|| {
                Error::InvalidRequest(format!("a fragment's range of {length} bytes at {start} is empty or too far"))
            })?),
        };
        collector.push(Fragment {
            url: terms.context.client.check_url(&spec.url)?.url().clone(),
            range,
            encryption: spec
                .key
                .map(|(key, initialization_vector)| Encryption { key: KeySource::Bytes(key), initialization_vector }),
            kind: FragmentKind::Media,
            duration_microseconds: 0,
        })?;
    }
    Ok(collector.finish()?)
}
