//! When each period begins and how long it lasts (ISO/IEC 23009-1 §5.3.2.1).

use url::Url;

use super::duration;
use super::tree::Element;

/// One period in the presentation's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// The manifest it is in.
    pub(super) manifest: Url,
    /// Until the next period, or the end of the presentation; `None` when nobody says.
    pub(super) duration_microseconds: Option<u64>,
    /// Whether the presentation has no other period.
    pub(super) is_only: bool,
    is_last: bool,
}

impl Span {
    /// Where another period takes over, from this one's start.
    pub(super) fn end_microseconds(&self) -> Option<u64> {
        self.duration_microseconds.filter(|_| !self.is_last)
    }
}

/// The spans of all periods. `@duration`, else until the next period's start, else until the end of the presentation;
/// a period without `@start` begins where the one before it ends.
pub(super) fn spans(periods: &[&Element], total: Option<u64>, manifest: &Url) -> Vec<Span> {
    let time = |index: usize, name: &str| periods.get(index)?.attribute(name).and_then(duration::parse);
    let mut spans = Vec::with_capacity(periods.len());
    let mut after_previous = Some(0);
    let mut first_start = 0;
    for index in 0..periods.len() {
        let is_last = index + 1 == periods.len();
        let start = time(index, "start").or(after_previous);
        if index == 0 {
            first_start = start.unwrap_or(0);
        }
        let until = |end: Option<u64>| end?.checked_sub(start?).filter(|duration| *duration > 0);
        let duration = time(index, "duration")
            .or_else(|| until(time(index + 1, "start")))
            .or_else(|| if is_last { until(total) } else { None })
            // A presentation that ends before its only period begins counts from there.
            .or_else(|| if is_last { total?.checked_sub(start?.checked_sub(first_start)?) } else { None });
        after_previous = start.and_then(|start| start.checked_add(duration?));
        spans.push(Span {
            manifest: manifest.clone(),
            duration_microseconds: duration,
            is_only: periods.len() == 1,
            is_last,
        });
    }
    spans
}
