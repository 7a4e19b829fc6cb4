//! `SegmentTemplate`, `SegmentList` and `SegmentBase` of one representation → parts.

use url::Url;

use super::period::Span;
use super::representation::Representation;
use super::template::{Identifiers, expand};
use super::timeline::{self, Slot};
use super::tree::Element;
use super::{Part, Share, base_of};
use crate::fragments::address::{resolve, resolve_inline};
use crate::fragments::bounds::PlaylistLimits;
use crate::fragments::fragment::{Fragment, FragmentKind, FragmentRange};
use crate::fragments::refusal::PlaylistError;

/// Appends everything `representation` contributes to one period.
pub(super) fn append(
    parts: &mut Vec<Part>,
    representation: &Representation<'_>,
    period_base: &Url,
    span: &Span,
    limits: &PlaylistLimits,
) -> Result<(), PlaylistError> {
    let base = base_of(representation.element, &base_of(representation.set, period_base)?)?;
    let period = PeriodContext { base: &base, span, limits };
    let template = representation.inherited("SegmentTemplate");
    if !template.is_empty() {
        return append_template(parts, representation, &Inherited(template), &period);
    }
    let list = representation.inherited("SegmentList");
    if !list.is_empty() {
        return append_list(parts, &Inherited(list), &period);
    }
    append_base(parts, &Inherited(representation.inherited("SegmentBase")), &period)
}

struct PeriodContext<'manifest> {
    base: &'manifest Url,
    span: &'manifest Span,
    limits: &'manifest PlaylistLimits,
}

impl PeriodContext<'_> {
    /// Whether any of a slot lies in the period: of several periods on one timeline each takes its own share. Only
    /// where another period follows or precedes: a presentation's own length is too often rounded.
    fn contains(&self, slot: &Slot, timescale: u64, offset: u64) -> bool {
        if self.span.is_only {
            return true;
        }
        let end = self.span.end_microseconds().map(|end| offset.saturating_add(ticks(end, timescale)));
        slot.time.saturating_add(slot.duration) > offset && end.is_none_or(|end| slot.time < end)
    }
}

/// One segment element at up to three levels, nearest first.
struct Inherited<'manifest>(Vec<&'manifest Element>);

impl<'manifest> Inherited<'manifest> {
    fn attribute(&self, name: &str) -> Option<&'manifest str> {
        self.0.iter().find_map(|element| element.attribute(name))
    }

    fn child(&self, name: &str) -> Option<&'manifest Element> {
        self.0.iter().find_map(|element| element.child(name))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, PlaylistError> {
        self.attribute(name)
            .map(|text| text.trim().parse())
            .transpose()
            .map_err(|_| PlaylistError::at_element("a segment element", format!("@{name} is not a number")))
    }

    fn timescale(&self) -> Result<u64, PlaylistError> {
        match self.number("timescale")?.unwrap_or(1) {
            0 => Err(PlaylistError::at_element("a segment element", "@timescale is zero")),
            timescale => Ok(timescale),
        }
    }

    fn offset(&self) -> Result<u64, PlaylistError> {
        Ok(self.number("presentationTimeOffset")?.unwrap_or(0))
    }

    /// Where the slots' times are the resource's own, which part of them is the period's.
    fn is_in_own_time(&self) -> bool {
        self.child("SegmentTimeline").is_some()
    }

    /// When each segment begins: the timeline if there is one, else equal durations over the period.
    fn slots(&self, period: &PeriodContext<'_>) -> Result<Option<Vec<Slot>>, PlaylistError> {
        let timescale = self.timescale()?;
        let ticks = period.span.duration_microseconds.map(|duration| ticks(duration, timescale));
        if let Some(entries) = self.child("SegmentTimeline") {
            let offset = self.offset()?;
            let end = ticks.map(|ticks| ticks.saturating_add(offset));
            return timeline::expand(entries, end, period.limits).map(Some);
        }
        match (self.attribute("duration"), ticks) {
            (Some(duration), Some(ticks)) => timeline::regular(duration, ticks, period.limits).map(Some),
            _ => Ok(None),
        }
    }
}

fn append_template(
    parts: &mut Vec<Part>,
    representation: &Representation<'_>,
    template: &Inherited<'_>,
    period: &PeriodContext<'_>,
) -> Result<(), PlaylistError> {
    let identifiers = Identifiers {
        representation: representation.identifier(),
        bandwidth: representation.bandwidth(),
        number: None,
        time: None,
    };
    if let Some(initialization) = template.attribute("initialization") {
        let url = resolve_inline(period.base, &expand_unless_inline(initialization, &identifiers)?)?;
        parts.push(part(url, None, FragmentKind::Initialization, 0));
    } else if let Some(initialization) = template.child("Initialization") {
        parts.push(initialization_part(initialization, period)?);
    }
    let media =
        template.attribute("media").ok_or_else(|| PlaylistError::at_element("SegmentTemplate", "@media is missing"))?;
    let timescale = template.timescale()?;
    let first = template.number("startNumber")?.unwrap_or(1);
    let mut slots = template.slots(period)?.ok_or_else(|| {
        PlaylistError::at_element("SegmentTemplate", "neither a timeline nor durations say how many segments there are")
    })?;
    if let Some(last) = template.number("endNumber")? {
        slots.truncate(usize::try_from(last.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX));
    }
    let offset = template.offset()?;
    for (index, slot) in slots.iter().enumerate() {
        if template.is_in_own_time() && !period.contains(slot, timescale, offset) {
            continue;
        }
        let number = first.checked_add(index as u64);
        let number = number.ok_or_else(|| PlaylistError::at_element("SegmentTemplate", "@startNumber passes 2^64"))?;
        let identifiers = Identifiers { number: Some(number), time: Some(slot.time), ..identifiers };
        let url = resolve(period.base, &expand(media, &identifiers)?)?;
        let duration = microseconds(slot.duration, timescale);
        parts.push(presumed(part(url, None, FragmentKind::Media, duration), slot.is_presumed));
    }
    Ok(())
}

fn append_list(parts: &mut Vec<Part>, list: &Inherited<'_>, period: &PeriodContext<'_>) -> Result<(), PlaylistError> {
    if let Some(initialization) = list.child("Initialization") {
        parts.push(initialization_part(initialization, period)?);
    }
    let timescale = list.timescale()?;
    let slots = list.slots(period)?.unwrap_or_default();
    let offset = list.offset()?;
    let nearest = list.0.iter().find(|element| element.child("SegmentURL").is_some());
    let segments = nearest.into_iter().flat_map(|element| element.children_named("SegmentURL"));
    for (index, segment) in segments.enumerate() {
        let slot = slots.get(index);
        if list.is_in_own_time() && slot.is_some_and(|slot| !period.contains(slot, timescale, offset)) {
            continue;
        }
        let url = match segment.attribute("media") {
            Some(reference) => resolve(period.base, reference)?,
            None => period.base.clone(),
        };
        let range = range_attribute(segment, "mediaRange")?;
        let duration = slot.map_or(0, |slot| microseconds(slot.duration, timescale));
        parts.push(part(url, range, FragmentKind::Media, duration));
    }
    Ok(())
}

/// One file per period: with an index it can be fetched in pieces, without one as a whole.
fn append_base(parts: &mut Vec<Part>, base: &Inherited<'_>, period: &PeriodContext<'_>) -> Result<(), PlaylistError> {
    if *period.base == period.span.manifest || period.base.path().ends_with('/') {
        // Neither segments nor an address of its own: what is left is the manifest itself.
        return Err(PlaylistError::Empty);
    }
    let index = base.0.iter().find(|element| element.attribute("indexRange").is_some());
    let index = index.map(|element| range_attribute(element, "indexRange")).transpose()?.flatten();
    let start_microseconds = microseconds(base.offset()?, base.timescale()?);
    let share =
        Share { start_microseconds, end_microseconds: period.span.end_microseconds(), is_only: period.span.is_only };
    parts.push(Part::File { url: period.base.clone(), index, share });
    Ok(())
}

fn initialization_part(element: &Element, period: &PeriodContext<'_>) -> Result<Part, PlaylistError> {
    let url = match element.attribute("sourceURL") {
        Some(reference) => resolve_inline(period.base, reference)?,
        None => period.base.clone(),
    };
    Ok(part(url, range_attribute(element, "range")?, FragmentKind::Initialization, 0))
}

fn range_attribute(element: &Element, name: &str) -> Result<Option<FragmentRange>, PlaylistError> {
    let parse = |text: &str| {
        FragmentRange::parse_inclusive(text)
            .ok_or_else(|| PlaylistError::at_element(&element.name, format!("@{name} {text:?} is not first-last")))
    };
    element.attribute(name).map(parse).transpose()
}

fn part(url: Url, range: Option<FragmentRange>, kind: FragmentKind, duration_microseconds: u64) -> Part {
    let fragment = Fragment { url, range, encryption: None, kind, duration_microseconds, is_presumed: false };
    Part::Fragment(Box::new(fragment))
}

fn presumed(mut part: Part, is_presumed: bool) -> Part {
    if let Part::Fragment(fragment) = &mut part {
        fragment.is_presumed = is_presumed;
    }
    part
}

/// A header inside the manifest is no template, whatever its data look like.
fn expand_unless_inline(template: &str, identifiers: &Identifiers<'_>) -> Result<String, PlaylistError> {
    if template.trim_start().starts_with("data:") { Ok(template.to_owned()) } else { expand(template, identifiers) }
}

fn ticks(microseconds: u64, timescale: u64) -> u64 {
    u64::try_from(u128::from(microseconds) * u128::from(timescale) / 1_000_000).unwrap_or(u64::MAX)
}

fn microseconds(ticks: u64, timescale: u64) -> u64 {
    u64::try_from(u128::from(ticks) * 1_000_000 / u128::from(timescale)).unwrap_or(u64::MAX)
}
