//! Static MPEG-DASH manifests (ISO/IEC 23009-1): text in, ordered fragments out. Pure.

mod duration;
mod period;
mod representation;
mod segments;
mod shares;
pub mod sidx;
mod template;
mod timeline;
mod tree;

use url::Url;

use super::address::resolve;
use super::bounds::{PlaylistLimits, check};
use super::fragment::{Fragment, FragmentCollector, FragmentList, FragmentRange, ListKind};
use super::offer::OfferedStream;
use super::refusal::PlaylistError;
use super::selection::Selection;
use representation::Representation;
use tree::Element;

/// What a manifest says of one period: fragments, or a file of which the period takes a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Ready to fetch.
    Fragment(Box<Fragment>),
    /// `SegmentBase`, or only a `BaseURL`.
    File {
        /// The resource that holds header, index and media.
        url: Url,
        /// Where the `sidx` is: fetch it for [`Presentation::into_list`].
        index: Option<FragmentRange>,
        /// What the period takes of it.
        share: Share,
    },
}

/// A period's part of a file, in the file's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    start_microseconds: u64,
    /// How much of it, when another period follows.
    end_microseconds: Option<u64>,
    is_only: bool,
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
    /// The list, once `index_of` can answer the subsegments of every file that has an index; a file without one is taken
    /// whole.
    ///
    /// # Errors
    /// [`PlaylistError::LimitExceeded`], and [`PlaylistError::Unsupported`] for shares of a file without an index.
    pub fn into_list(
        self,
        limits: &PlaylistLimits,
        mut index_of: impl FnMut(&Url) -> Option<Vec<sidx::Subsegment>>,
    ) -> Result<FragmentList, PlaylistError> {
        let mut collector = FragmentCollector::new(ListKind::Dash, *limits);
        let mut shares = shares::Shares::default();
        for part in self.parts {
            match part {
                Part::Fragment(fragment) => {
                    shares.interrupt();
                    collector.push(*fragment)?;
                }
                Part::File { url, share, .. } => {
                    for fragment in shares.take(&url, share, index_of(&url))? {
                        collector.push(fragment)?;
                    }
                }
            }
        }
        collector.list_mut().separate_renditions = self.separate_renditions;
        collector.finish()
    }
}

/// Whether the text looks like a manifest: an XML document whose first element is `MPD`, whatever its prefix and
/// whatever comments stand before it.
#[must_use]
pub fn is_dash(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest.as_bytes() {
            [b'<', b'?', ..] => "?>",
            [b'<', b'!', b'-', b'-', ..] => "-->",
            [b'<', b'!', ..] => ">",
            [b'<', ..] => {
                let name =
                    rest[1..].split(|character: char| !character.is_alphanumeric() && !"_-.:".contains(character));
                return name.take(1).any(|name| name.rsplit(':').next() == Some("MPD"));
            }
            _ => return false,
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
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
    let spans = period::spans(&periods, total, location);
    let mut is_silent = false;
    let mut presentation = Presentation { parts: Vec::new(), separate_renditions: Vec::new() };
    let mut previous: Option<Representation<'_>> = None;
    for (index, period) in periods.iter().enumerate() {
        let period_base = base_of(period, &base)?;
        let offered = representation::list(period, limits)?;
        if previous.is_some_and(|previous| previous.is_sound_missing_in(&offered)) {
            is_silent = true;
            continue;
        }
        if is_silent {
            // Joined, it would be heard too early.
            return Err(PlaylistError::unsupported("sound that pauses for a period"));
        }
        let chosen = representation::choose(&offered, selection, previous.as_ref())?;
        refuse_protection(chosen)?;
        if index == 0 {
            presentation.separate_renditions = representation::others(&offered, chosen);
        }
        segments::append(&mut presentation.parts, chosen, &period_base, &spans[index], limits)?;
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
    let mut periods = root.children_named("Period");
    let period = periods.next().ok_or(PlaylistError::Empty)?;
    let offered = representation::list(period, limits)?;
    for later in periods {
        if representation::has_sound_only_in(&representation::list(later, limits)?, &offered) {
            return Err(PlaylistError::unsupported("sound that begins in a later period"));
        }
    }
    Ok(offered.iter().enumerate().map(|(index, each)| each.offer(index, &offered)).collect())
}

fn static_manifest(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<Element, PlaylistError> {
    check("bytes of text", text.len() as u64, limits.text_bytes)?;
    let mut root = tree::parse(text, limits)?;
    root.prune(&|element| element.attribute("href") == Some(RESOLVES_TO_NOTHING));
    if root.name != "MPD" {
        return Err(PlaylistError::NotAPlaylist {
            location: super::address::shown(location),
            start: format!("<{}", root.name),
        });
    }
    // Without updates and with a length it is a broadcast that is over.
    let is_over =
        root.attribute("minimumUpdatePeriod").is_none() && root.attribute("mediaPresentationDuration").is_some();
    if root.attribute("type") == Some("dynamic") && !is_over {
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

/// The address of a remote element that is to be left out (§5.5.3).
const RESOLVES_TO_NOTHING: &str = "urn:mpeg:dash:resolve-to-zero:2013";

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
