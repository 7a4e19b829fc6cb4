//! When each segment of a `SegmentTemplate` or `SegmentList` begins.

use super::tree::Element;
use crate::fragments::bounds::{PlaylistLimits, check};
use crate::fragments::refusal::PlaylistError;

/// Start and duration of one segment, in the timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) time: u64,
    pub(super) duration: u64,
    /// Whether it is only computed from a duration, which may be rounded up.
    pub(super) is_presumed: bool,
}

/// Expands a `SegmentTimeline`. `period_end` closes an open repeat (`r="-1"`).
///
/// Counted before it is expanded: `r="9223372036854775807"` is 30 bytes of manifest.
pub(super) fn expand(
    timeline: &Element,
    period_end: Option<u64>,
    limits: &PlaylistLimits,
) -> Result<Vec<Slot>, PlaylistError> {
    let entries: Vec<&Element> = timeline.children_named("S").collect();
    let mut slots = Vec::new();
    let mut time: u64 = 0;
    for (index, entry) in entries.iter().enumerate() {
        let place = || format!("SegmentTimeline/S[{index}]");
        let number = |name: &str| -> Result<Option<i128>, PlaylistError> {
            entry
                .attribute(name)
                .map(|text| text.trim().parse())
                .transpose()
                .map_err(|_| PlaylistError::at_element(place(), format!("@{name} is not a number")))
        };
        let unsigned = |name: &str, value: i128| {
            u64::try_from(value).map_err(|_| PlaylistError::at_element(place(), format!("@{name} is out of range")))
        };
        if let Some(start) = number("t")? {
            time = unsigned("t", start)?;
        }
        let duration = number("d")?.ok_or_else(|| PlaylistError::at_element(place(), "@d is missing"))?;
        let duration = unsigned("d", duration)?;
        if duration == 0 {
            return Err(PlaylistError::at_element(place(), "@d is zero"));
        }
        let repeat = number("r")?.unwrap_or(0);
        let mut is_rounded = false;
        let count = if repeat >= 0 {
            u64::try_from(repeat).unwrap_or(u64::MAX).saturating_add(1)
        } else {
            let next = entries.get(index + 1).and_then(|next| next.attribute("t")?.trim().parse().ok());
            let end = next.or(period_end).ok_or_else(|| {
                PlaylistError::at_element(
                    place(),
                    "@r is negative and neither a next start nor the period's end is known",
                )
            })?;
            is_rounded = next.is_none() && is_hardly_begun(end.saturating_sub(time) as f64 / duration as f64);
            end.saturating_sub(time).div_ceil(duration)
        };
        check("fragments", (slots.len() as u64).saturating_add(count), limits.fragments)?;
        for number in 1..=count {
            let is_presumed = is_rounded && number == count;
            slots.push(Slot { time, duration, is_presumed });
            time = time
                .checked_add(duration)
                .ok_or_else(|| PlaylistError::at_element(place(), "the timeline passes 2^64"))?;
        }
    }
    Ok(slots)
}

/// Equal slots of `duration` until `period_duration` (both in the timescale) is covered. A packager that computes may
/// write a fraction.
pub(super) fn regular(
    duration: &str,
    period_duration: u64,
    limits: &PlaylistLimits,
) -> Result<Vec<Slot>, PlaylistError> {
    let malformed = |problem: &str| PlaylistError::at_element("a segment element", format!("@duration {problem}"));
    let whole: Option<u64> = duration.trim().parse().ok();
    let exact: f64 = duration.trim().parse().map_err(|_| malformed("is not a number"))?;
    if !exact.is_finite() || exact <= 0.0 {
        return Err(malformed("is not above zero"));
    }
    let count = whole.map_or((period_duration as f64 / exact).ceil() as u64, |whole| period_duration.div_ceil(whole));
    check("fragments", count, limits.fragments)?;
    let is_rounded = is_hardly_begun(period_duration as f64 / exact);
    let slot = |index: u64| Slot {
        time: whole.map_or((index as f64 * exact).round() as u64, |whole| index.saturating_mul(whole)),
        duration: whole.unwrap_or_else(|| exact.round() as u64),
        is_presumed: is_rounded && index + 1 == count,
    };
    Ok((0..count).map(slot).collect())
}

/// Whether so many segments end with less than half of one: a duration that was rounded up computes one too many.
fn is_hardly_begun(segments: f64) -> bool {
    let begun = segments.fract();
    begun > 0.0 && begun < 0.5
}
