//! From the caller's source to the list of requests: playlists are fetched and followed, manifests indexed.

use std::collections::HashMap;

use url::Url;

use super::address::shown;
use super::bounds::{PlaylistLimits, check};
use super::fragment::{
    Doubt, Encryption, Fragment, FragmentCollector, FragmentKind, FragmentList, FragmentRange, KeySource, ListKind,
};
use super::hls::Playlist;
use super::refusal::PlaylistError;
use super::selection::{Selection, choose};
use super::terms::Terms;
use super::{dash, hls, text};
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
    let mut next = vec![terms.url().clone()];
    let mut separate = Vec::new();
    let mut variables = hls::Variables::new();
    loop {
        if let Some(known) = next.iter().find(|url| visited.contains(url)) {
            return Err(PlaylistError::SelfListing { location: shown(known) }.into());
        }
        visited.extend(next.first().cloned());
        check("nested playlists", visited.len() as u64, limits.depth)?;
        let (bytes, location) = first_that_answers(terms, &next, limits).await?;
        let text = text::decode(&bytes);
        if dash::is_dash(&text) {
            return indexed(terms, dash::parse(&text, &location, selection, limits)?, limits).await;
        }
        match hls::parse_with(&text, &location, limits, &variables)? {
            Playlist::Media(mut list) => {
                list.separate_renditions = separate;
                return Ok(list);
            }
            Playlist::Master(master) => {
                let chosen = choose(&master, selection)?;
                separate = chosen.separate;
                next = chosen.urls;
                variables = master.variables;
            }
        }
    }
}

/// The same encoding is often listed at several places (RFC 8216 §6.2.4), of which one is gone. The first one's failure
/// is what the caller is told.
async fn first_that_answers(terms: &Terms, urls: &[Url], limits: &PlaylistLimits) -> Result<(Vec<u8>, Url)> {
    let mut failure = None;
    for url in urls {
        match terms.text(url, limits.text_bytes as usize).await {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| PlaylistError::Empty.into()))
}

async fn indexed(terms: &Terms, presentation: dash::Presentation, limits: &PlaylistLimits) -> Result<FragmentList> {
    let mut indexes = HashMap::new();
    for part in &presentation.parts {
        if let dash::Part::File { url, index: Some(index), .. } = part
            && !indexes.contains_key(url)
        {
            check("bytes of a segment index", index.len(), LARGEST_INDEX_BYTES)?;
            let range = (index.start(), Some(index.end() - 1));
            let (bytes, _) = terms.small(url, Some(range), LARGEST_INDEX_BYTES as usize).await?;
            // What is no `sidx` (the cues of a WebM file) or lists other indexes says nothing of use here.
            if let Ok(index) = dash::sidx::parse(&bytes, index.start()) {
                indexes.insert(url.clone(), index);
            }
        }
    }
    Ok(presentation.into_list(limits, |url| indexes.get(url).cloned())?)
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
                .map(|(key, vector)| (KeySource::Bytes(key), vector))
                .map(|(key, initialization_vector)| Encryption { key, initialization_vector, doubt: Doubt::None }),
            kind: FragmentKind::Media,
            duration_microseconds: 0,
            is_presumed: false,
        })?;
    }
    Ok(collector.finish()?)
}
