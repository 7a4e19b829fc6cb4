//! Static MPEG-DASH manifests (ISO/IEC 23009-1): text in, ordered fragments out. Pure.

mod duration;
mod representation;
mod segments;
pub mod sidx;
mod template;
mod timeline;
mod tree;

use url::Url;

use super::address::resolve;
use super::bounds::{PlaylistLimits, check};
use super::fragment::{Fragment, FragmentCollector, FragmentKind, FragmentList, FragmentRange, ListKind};
use super::offer::OfferedStream;
use super::refusal::PlaylistError;
use super::selection::Selection;
use representation::Representation;
use tree::Element;

/// What a manifest says of one period: fragments, or a file whose index must be read first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Ready to fetch.
    Fragment(Box<Fragment>),
    /// `SegmentBase` with an index range: fetch `index`, then call [`indexed`].
    Indexed {
        /// The resource that holds header, index and media.
        url: Url,
        /// Where the `sidx` is.
        index: FragmentRange,
    },
}

/// A manifest after the choice of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// In output order.
    pub parts: Vec<Part>,
    /// Representations of other kinds that this file does not contain.
    pub separate_renditions: Vec<String>,
}

impl Presentation {
    /// The list, once `index_of` has answered the subsegments of every indexed part.
    ///
    /// # Errors
    /// What `index_of` answers, and [`PlaylistError::LimitExceeded`].
    pub fn into_list(
        self,
        limits: &PlaylistLimits,
        mut index_of: impl FnMut(&Url) -> Result<Vec<sidx::Subsegment>, PlaylistError>,
    ) -> Result<FragmentList, PlaylistError> {
        let mut collector = FragmentCollector::new(ListKind::Dash, *limits);
        for part in self.parts {
            match part {
                Part::Fragment(fragment) => collector.push(*fragment)?,
                Part::Indexed { url, .. } => {
                    let subsegments = index_of(&url)?;
                    for fragment in indexed(&url, &subsegments) {
                        collector.push(fragment)?;
                    }
                }
            }
        }
        collector.list_mut().separate_renditions = self.separate_renditions;
        collector.finish()
    }
}

/// The fragments of an indexed file: everything before the media as one, then each subsegment, so that
/// the result is the resource byte for byte.
#[must_use]
pub fn indexed(url: &Url, subsegments: &[sidx::Subsegment]) -> Vec<Fragment> {
    let header = subsegments.first().and_then(|first| FragmentRange::from_length(0, first.range.start()));
    let fragment = |range, kind, duration_microseconds| Fragment {
        url: url.clone(),
        range: Some(range),
        encryption: None,
        kind,
        duration_microseconds,
    };
    let header = header.map(|range| fragment(range, FragmentKind::Initialization, 0));
    let media = subsegments.iter().map(|each| fragment(each.range, FragmentKind::Media, each.duration_microseconds));
    header.into_iter().chain(media).collect()
}

/// Whether the text looks like a manifest: an XML document whose first element is `MPD`.
#[must_use]
pub fn is_dash(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('<') && text.get(..4096.min(text.len())).unwrap_or(text).contains("<MPD")
}

/// Parses a static manifest found at `location` and chooses one representation per period.
///
/// # Errors
/// Any [`PlaylistError`]: dynamic, DRM, remote elements, malformed or over a limit.
pub fn parse(
    text: &str,
    location: &Url,
    selection: &Selection,
    limits: &PlaylistLimits,
) -> Result<Presentation, PlaylistError> {
    let root = static_manifest(text, location, limits)?;
    let base = base_of(&root, location)?;
    let total = root.attribute("mediaPresentationDuration").and_then(duration::parse);
    let periods: Vec<&Element> = root.children_named("Period").collect();
    let mut presentation = Presentation { parts: Vec::new(), separate_renditions: Vec::new() };
    let mut previous: Option<Representation<'_>> = None;
    for (index, period) in periods.iter().enumerate() {
        let period_base = base_of(period, &base)?;
        let offered = representation::list(period, limits)?;
        let chosen = representation::choose(&offered, selection, previous.as_ref())?;
        refuse_protection(chosen)?;
        if index == 0 {
            presentation.separate_renditions = representation::others(&offered, chosen);
        }
        let period_microseconds = period_duration(&periods, index, total);
        segments::append(&mut presentation.parts, chosen, &period_base, period_microseconds, limits)?;
        check("fragments", presentation.parts.len() as u64, limits.fragments)?;
        previous = Some(*chosen);
    }
    if presentation.parts.is_empty() { Err(PlaylistError::Empty) } else { Ok(presentation) }
}

/// What the first period of a static manifest offers, in the order of the text.
///
/// # Errors
/// As [`parse`], as far as it is asked.
pub fn offered(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Vec<OfferedStream>, PlaylistError> {
    let root = static_manifest(text, location, limits)?;
    let period = root.children_named("Period").next().ok_or(PlaylistError::Empty)?;
    let offered = representation::list(period, limits)?;
    Ok(offered.iter().enumerate().map(|(index, each)| each.offer(index, &offered)).collect())
}

fn static_manifest(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Element, PlaylistError> {
    check("bytes of text", text.len() as u64, limits.text_bytes)?;
    let root = tree::parse(text, limits)?;
    if root.name != "MPD" {
        return Err(PlaylistError::NotAPlaylist {
            location: super::address::shown(location),
            start: format!("<{}", root.name),
        });
    }
    if root.attribute("type") == Some("dynamic") {
        return Err(PlaylistError::Live);
    }
    refuse_remote_elements(&root)?;
    Ok(root)
}

/// `BaseURL` of an element against the one it inherits; the first of several is the author's choice.
fn base_of(element: &Element, inherited: &Url) -> Result<Url, PlaylistError> {
    match element.child("BaseURL").map(|base| base.text.trim()).filter(|text| !text.is_empty()) {
        Some(reference) => resolve(inherited, reference),
        None => Ok(inherited.clone()),
    }
}

/// `xlink:href` makes a manifest of manifests, each with its own address to be guarded; packagers use
/// it for advertisements.
fn refuse_remote_elements(element: &Element) -> Result<(), PlaylistError> {
    for child in &element.children {
        if child.attribute("href").is_some() && child.name != "link" {
            return Err(PlaylistError::unsupported(format!("remote elements (xlink on {})", child.name)));
        }
        refuse_remote_elements(child)?;
    }
    Ok(())
}

fn refuse_protection(representation: &Representation<'_>) -> Result<(), PlaylistError> {
    match representation.protection() {
        Some(system) => Err(PlaylistError::Drm { system: system.to_owned() }),
        None => Ok(()),
    }
}

/// `@duration`, else until the next period's start, else until the end of the presentation.
fn period_duration(periods: &[&Element], index: usize, total: Option<u64>) -> Option<u64> {
    let time = |index: usize, name: &str| periods.get(index)?.attribute(name).and_then(duration::parse);
    time(index, "duration").or_else(|| {
        let start = time(index, "start").or_else(|| {
            (0..index).try_fold(0_u64, |sum, before| Some(sum.saturating_add(time(before, "duration")?)))
        })?;
        let end = time(index + 1, "start").or(if index + 1 == periods.len() { total } else { None })?;
        end.checked_sub(start)
    })
}
