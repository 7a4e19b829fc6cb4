//! Which of several encodings becomes the file.

use super::hls::{Master, Rendition, Variant};
use super::refusal::PlaylistError;

/// The caller's choice among variants (HLS) or representations (DASH).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// The highest declared bandwidth that carries video, else the highest of all.
    #[default]
    Highest,
    /// By position, counted from 0 in the order of the text: variants and then renditions (HLS), representations of the
    /// first period (DASH).
    Index(usize),
    /// The highest bandwidth not above this many bits per second.
    AtMost(u64),
    /// A DASH `Representation` by its `id`.
    Identifier(String),
    /// The separate audio: in this language, else what a player would take unasked, else what the author named first.
    Audio {
        /// RFC 5646 tag, which fits all that begin with it: `en` takes `en-US`.
        language: Option<String>,
    },
}

impl Selection {
    fn describe(&self) -> String {
        match self {
            Self::Highest => "variant".to_owned(),
            Self::Index(index) => format!("stream number {index}"),
            Self::AtMost(bandwidth) => format!("variant of at most {bandwidth} bit/s"),
            Self::Identifier(identifier) => format!("representation {identifier:?}"),
            Self::Audio { language: Some(language) } => format!("separate audio in {language:?}"),
            Self::Audio { language: None } => "separate audio".to_owned(),
        }
    }

    /// The error for a selection that matched nothing.
    pub(crate) fn not_found(&self, offered: impl IntoIterator<Item = String>) -> PlaylistError {
        let mut offered: Vec<String> = offered.into_iter().take(20).collect();
        if offered.is_empty() {
            offered.push("nothing".to_owned());
        }
        PlaylistError::NoSuchVariant { asked: self.describe(), offered: offered.join(", ") }
    }
}

/// Whether sound in `language` is what somebody who asked for `wanted` means (RFC 4647 §3.3.1).
pub(crate) fn fits(language: Option<&str>, wanted: &str) -> bool {
    let Some((start, rest)) = language.and_then(|language| language.split_at_checked(wanted.len())) else {
        return false;
    };
    start.eq_ignore_ascii_case(wanted) && (rest.is_empty() || rest.starts_with('-'))
}

/// What to read next after a master playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Where it is, the author's first place first; never empty.
    pub(crate) urls: Vec<url::Url>,
    /// Renditions of the variant's groups with files of their own.
    pub(crate) separate: Vec<String>,
}

/// Chooses from an HLS master playlist.
pub(crate) fn choose(master: &Master, selection: &Selection) -> Result<Chosen, PlaylistError> {
    let variants = &master.variants;
    let chosen = match selection {
        Selection::Highest => highest(variants.iter()),
        Selection::Index(index) => match index.checked_sub(variants.len()) {
            None => variants.get(*index),
            Some(rendition) => {
                let url = master.renditions.get(rendition).and_then(|rendition| rendition.url.clone());
                let names = master.renditions.iter().map(|rendition| rendition.name.clone());
                let urls = url.map(|url| vec![url]).ok_or_else(|| selection.not_found(names))?;
                return Ok(Chosen { urls, separate: Vec::new() });
            }
        },
        Selection::AtMost(bandwidth) => highest(variants.iter().filter(|variant| variant.bandwidth <= *bandwidth)),
        Selection::Identifier(_) => None,
        Selection::Audio { language } => return choose_audio(master, language.as_deref(), selection),
    };
    let variant = chosen
        .ok_or_else(|| selection.not_found(variants.iter().map(|variant| format!("{} bit/s", variant.bandwidth))))?;
    let separate = audio_of(master, variant)
        .map(|rendition| format!("{} {}", rendition.kind.to_lowercase(), rendition.name))
        .collect();
    let elsewhere = variants.iter().filter(|each| is_same(each, variant) && each.url != variant.url).take(MOST_PLACES);
    let urls = std::iter::once(variant).chain(elsewhere).map(|each| each.url.clone()).collect();
    Ok(Chosen { urls, separate })
}

/// Places besides the first that a variant is looked for at.
const MOST_PLACES: usize = 4;

/// Whether it is the same encoding at another place.
fn is_same(one: &Variant, other: &Variant) -> bool {
    let what = |each: &Variant| (each.bandwidth, each.resolution, each.codecs.clone());
    what(one) == what(other)
}

/// The first of the highest bandwidth: ties go to the order of the text, which is the author's.
fn highest<'list>(variants: impl Iterator<Item = &'list Variant>) -> Option<&'list Variant> {
    variants.fold(None, |best: Option<&Variant>, variant| match best {
        Some(best) if rank(best) >= rank(variant) => Some(best),
        _ => Some(variant),
    })
}

/// Audio-only variants rank below any with a picture.
fn rank(variant: &Variant) -> (bool, u64) {
    (!is_audio_only(variant), variant.bandwidth)
}

pub(super) fn is_audio_only(variant: &Variant) -> bool {
    let codecs = variant.codecs.as_deref();
    variant.resolution.is_none() && codecs.is_some_and(|codecs| codecs.split(',').all(is_audio_codec))
}

pub(super) fn is_audio_codec(codec: &str) -> bool {
    let codec = codec.trim();
    ["mp4a", "ac-3", "ec-3", "opus", "Opus", "fLaC", "alac"].iter().any(|prefix| codec.starts_with(prefix))
}

/// The renditions of a variant's sound that have addresses of their own.
pub(super) fn audio_of<'list>(
    master: &'list Master,
    variant: &'list Variant,
) -> impl Iterator<Item = &'list Rendition> {
    master.renditions.iter().filter(move |rendition| {
        rendition.kind == "AUDIO" && rendition.url.is_some() && variant.audio_group.as_ref() == Some(&rendition.group)
    })
}

fn choose_audio(master: &Master, language: Option<&str>, selection: &Selection) -> Result<Chosen, PlaylistError> {
    let candidates: Vec<&Rendition> = match highest(master.variants.iter()) {
        Some(variant) => audio_of(master, variant).collect(),
        None => Vec::new(),
    };
    let suitable = || {
        let is_asked =
            |rendition: &&&Rendition| language.is_none_or(|wanted| fits(rendition.language.as_deref(), wanted));
        candidates.iter().filter(is_asked)
    };
    let found = suitable().find(|rendition| rendition.is_default).or_else(|| suitable().next());
    let url = found.and_then(|rendition| rendition.url.clone());
    url.map(|url| Chosen { urls: vec![url], separate: Vec::new() })
        .ok_or_else(|| selection.not_found(candidates.iter().map(|rendition| rendition.name.clone())))
}
