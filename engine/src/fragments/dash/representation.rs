//! The encodings a period offers, and the one that is taken.

use super::tree::Element;
use crate::fragments::bounds::{PlaylistLimits, check};
use crate::fragments::offer::{OfferedStream, StreamKind};
use crate::fragments::refusal::PlaylistError;
use crate::fragments::selection::{Selection, fits, is_audio_codec};

/// A `Representation` with the elements it inherits from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Representation<'manifest> {
    pub(super) period: &'manifest Element,
    pub(super) set: &'manifest Element,
    pub(super) element: &'manifest Element,
}

/// What a representation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Video,
    Audio,
    Other,
}

impl<'manifest> Representation<'manifest> {
    pub(super) fn identifier(&self) -> &'manifest str {
        self.element.attribute("id").unwrap_or("")
    }

    pub(super) fn bandwidth(&self) -> u64 {
        self.element.attribute("bandwidth").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The system that protects it, most telling first.
    pub(super) fn protection(&self) -> Option<&'manifest str> {
        let mut schemes = [self.element, self.set]
            .into_iter()
            .flat_map(|element| element.children_named("ContentProtection"))
            .map(|protection| protection.attribute("schemeIdUri").unwrap_or("an unnamed scheme"));
        let first = schemes.next()?;
        Some(if first.contains("mp4protection") { schemes.next().unwrap_or(first) } else { first })
    }

    /// The elements called `name` here and above, nearest first: attributes inherit in that order.
    pub(super) fn inherited(&self, name: &'manifest str) -> Vec<&'manifest Element> {
        [self.element, self.set, self.period].into_iter().filter_map(|element| element.child(name)).collect()
    }

    fn attribute(&self, name: &str) -> Option<&'manifest str> {
        self.element.attribute(name).or_else(|| self.set.attribute(name))
    }

    fn content(&self) -> Content {
        let declared = self.attribute("contentType").or_else(|| self.attribute("mimeType")).unwrap_or("");
        match declared.split('/').next() {
            Some("video") => Content::Video,
            Some("audio") => Content::Audio,
            Some("") if self.attribute("height").is_some() => Content::Video,
            Some("") if self.attribute("audioSamplingRate").is_some() => Content::Audio,
            Some("") => Content::Video,
            _ => Content::Other,
        }
    }

    fn language(&self) -> Option<&'manifest str> {
        self.set.attribute("lang")
    }

    /// Whether the author says that a player takes it unasked.
    fn is_main(&self) -> bool {
        self.set.children_named("Role").any(|role| role.attribute("value") == Some("main"))
    }

    fn label(&self) -> Option<&'manifest str> {
        self.set.child("Label").map(|label| label.text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether it is another encoding of the same thing: the picture, or the sound in one language and for one purpose.
    fn is_like(&self, other: &Self) -> bool {
        let what = |each: &Self| (each.content(), each.language(), each.label(), each.is_main());
        what(self) == what(other)
    }

    /// What it is to somebody who chooses. A picture whose codecs name no sound has it elsewhere, if the period has any.
    pub(super) fn offer(&self, index: usize, all: &[Self]) -> OfferedStream {
        let codecs = self.attribute("codecs");
        let has_sound_elsewhere = all.iter().any(|each| each.content() == Content::Audio);
        let pixels = |name| self.attribute(name).and_then(|text| text.parse().ok());
        OfferedStream {
            index,
            kind: match self.content() {
                Content::Video if has_sound_elsewhere && !self.carries_sound() => StreamKind::Video,
                Content::Video => StreamKind::Both,
                Content::Audio => StreamKind::Audio,
                Content::Other => StreamKind::Other,
            },
            width: pixels("width"),
            height: pixels("height"),
            bandwidth: self.bandwidth(),
            codecs: codecs.map(str::to_owned),
            language: self.language().map(str::to_owned),
            name: self.label().map(str::to_owned),
            audio_group: None,
            is_default: self.is_main(),
            is_separate: true,
        }
    }

    /// Whether this is sound, and the period offers none.
    pub(super) fn is_sound_missing_in(&self, period: &[Self]) -> bool {
        self.content() == Content::Audio && !period.iter().any(|each| each.content() == Content::Audio)
    }

    fn carries_sound(&self) -> bool {
        self.attribute("codecs").is_some_and(|codecs| codecs.split(',').any(is_audio_codec))
    }

    fn describe(&self) -> String {
        format!("{} ({:?}, {} bit/s)", self.identifier(), self.content(), self.bandwidth())
    }
}

/// All representations of a period in the order of the text.
pub(super) fn list<'manifest>(
    period: &'manifest Element,
    limits: &PlaylistLimits,
) -> Result<Vec<Representation<'manifest>>, PlaylistError> {
    let mut representations = Vec::new();
    let mut set_aside = Vec::new();
    for set in period.children_named("AdaptationSet") {
        for element in set.children_named("Representation") {
            let representations =
                if needs_more(set) || needs_more(element) { &mut set_aside } else { &mut representations };
            representations.push(Representation { period, set, element });
        }
        check("representations", (representations.len() + set_aside.len()) as u64, limits.variants)?;
    }
    Ok(representations)
}

/// Whether an element may only be used by who knows what it demands (§5.8.4.8): sets for fast forward, tiled pictures,
/// several views. Colours change nothing about the bytes.
fn needs_more(element: &Element) -> bool {
    let is_known = |scheme: &str| scheme.starts_with("urn:mpeg:mpegB:cicp:") || scheme.contains("dash:preselection");
    let mut demands = element.children_named("EssentialProperty").map(|property| property.attribute("schemeIdUri"));
    demands.any(|scheme| !scheme.is_some_and(is_known))
        || element
            .children_named("SupplementalProperty")
            .any(|property| property.attribute("schemeIdUri").is_some_and(|scheme| scheme.contains("/trickmode")))
}

/// Whether `later` has sound of its own and `first` has none.
pub(super) fn has_sound_only_in(later: &[Representation<'_>], first: &[Representation<'_>]) -> bool {
    let has_sound = |list: &[Representation<'_>]| list.iter().any(|each| each.content() == Content::Audio);
    let carries_sound = |each: &Representation<'_>| each.carries_sound();
    has_sound(later) && !has_sound(first) && !first.iter().any(carries_sound)
}

/// Chooses by `selection`, and in later periods what goes on with `previous`, so that one file does not change kind,
/// language or resolution at an advertisement.
pub(super) fn choose<'list, 'manifest>(
    offered: &'list [Representation<'manifest>],
    selection: &Selection,
    previous: Option<&Representation<'manifest>>,
) -> Result<&'list Representation<'manifest>, PlaylistError> {
    let chosen = match previous {
        None => select(offered, selection),
        Some(previous) => continuation(offered, previous),
    };
    chosen.ok_or_else(|| selection.not_found(offered.iter().map(Representation::describe)))
}

/// The one with the same identifier; else the nearest of the same kind, of the same language if there is one.
fn continuation<'list, 'manifest>(
    offered: &'list [Representation<'manifest>],
    previous: &Representation<'manifest>,
) -> Option<&'list Representation<'manifest>> {
    let distance = |each: &&Representation<'_>| {
        let is_another = [
            each.language() != previous.language(),
            each.identifier() != previous.identifier(),
            !each.is_like(previous),
            each.attribute("height") != previous.attribute("height"),
        ];
        (is_another, each.bandwidth().abs_diff(previous.bandwidth()))
    };
    offered.iter().filter(|each| each.content() == previous.content()).min_by_key(distance)
}

/// The representations of other kinds than the chosen one, one line per adaptation set.
pub(super) fn others(offered: &[Representation<'_>], chosen: &Representation<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for each in offered.iter().filter(|each| each.content() != chosen.content()) {
        let name = format!("{:?} {}", each.content(), each.language().unwrap_or("")).to_lowercase().trim().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn select<'list, 'manifest>(
    offered: &'list [Representation<'manifest>],
    selection: &Selection,
) -> Option<&'list Representation<'manifest>> {
    let of = |content| offered.iter().filter(move |each| each.content() == content);
    match selection {
        Selection::Highest => highest(of(Content::Video)).or_else(|| highest(of(Content::Audio))),
        Selection::Index(index) => offered.get(*index),
        Selection::AtMost(bandwidth) => highest(of(Content::Video).filter(|each| each.bandwidth() <= *bandwidth)),
        Selection::Identifier(identifier) => offered.iter().find(|each| each.identifier() == identifier),
        Selection::Audio { language } => {
            let suitable = || {
                of(Content::Audio).filter(|each| language.as_deref().is_none_or(|wanted| fits(each.language(), wanted)))
            };
            // Bits are compared within one language only: a dub is no better for being in 5.1.
            let usual = suitable().find(|each| each.is_main()).or_else(|| suitable().next())?;
            highest(suitable().filter(|each| each.is_like(usual)))
        }
    }
}

/// The first of the highest bandwidth.
fn highest<'list, 'manifest: 'list>(
    candidates: impl Iterator<Item = &'list Representation<'manifest>>,
) -> Option<&'list Representation<'manifest>> {
    candidates.fold(None, |best: Option<&Representation<'_>>, each| match best {
        Some(best) if best.bandwidth() >= each.bandwidth() => Some(best),
        _ => Some(each),
    })
}
