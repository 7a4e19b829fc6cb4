//! Files of which periods take shares: an advertisement in the middle of a film is A, B, A.

use std::collections::HashSet;

use url::Url;

use super::Share;
use super::sidx::Subsegment;
use crate::fragments::fragment::{Fragment, FragmentKind, FragmentRange};
use crate::fragments::refusal::PlaylistError;

/// Two periods that meet within this time are one after the other.
const MEETING_MICROSECONDS: u64 = 100_000;

/// What has been taken so far.
#[derive(Default)]
pub(super) struct Shares {
    previous: Option<Taken>,
    taken_whole: HashSet<Url>,
}

struct Taken {
    url: Url,
    /// Where its period ended in the file's time.
    end_microseconds: Option<u64>,
    /// One past the last byte; `None` is the whole file.
    end: Option<u64>,
}

impl Shares {
    /// Something else comes in between.
    pub(super) fn interrupt(&mut self) {
        self.previous = None;
    }

    /// The fragments of the next period: its own subsegments only, and of a file that simply goes on nothing twice.
    pub(super) fn take(
        &mut self,
        url: &Url,
        share: Share,
        index: Option<Vec<Subsegment>>,
    ) -> Result<Vec<Fragment>, PlaylistError> {
        let end_microseconds = share.end_microseconds.map(|length| share.start_microseconds.saturating_add(length));
        let goes_on = self.previous.take().filter(|previous| {
            let meets = |end: u64| share.start_microseconds.abs_diff(end) <= MEETING_MICROSECONDS;
            previous.url == *url && previous.end_microseconds.is_some_and(meets)
        });
        let Some(subsegments) = index else {
            self.previous = Some(Taken { url: url.clone(), end_microseconds, end: None });
            return self.whole(url, &share, goes_on.is_some());
        };
        let after = goes_on.as_ref().map_or(0, |previous| previous.end.unwrap_or(u64::MAX));
        let is_within = |each: &&Subsegment| {
            let ends = each.start_microseconds.saturating_add(each.duration_microseconds);
            let is_started = share.is_only || ends > share.start_microseconds;
            is_started
                && end_microseconds.is_none_or(|end| each.start_microseconds < end)
                && each.range.start() >= after
        };
        let media: Vec<Fragment> =
            subsegments.iter().filter(is_within).map(|each| fragment(url, Some(each.range), each)).collect();
        let end = media.last().and_then(|last| last.range).map(|range| range.end()).or(Some(after));
        self.previous = Some(Taken { url: url.clone(), end_microseconds, end });
        let header = subsegments.first().and_then(|first| FragmentRange::from_length(0, first.range.start()));
        let header = header.filter(|_| goes_on.is_none()).map(|range| Fragment {
            kind: FragmentKind::Initialization,
            duration_microseconds: 0,
            ..fragment(url, Some(range), &subsegments[0])
        });
        Ok(header.into_iter().chain(media).collect())
    }

    /// A file without an index cannot be shared, only be played through once.
    fn whole(&mut self, url: &Url, share: &Share, goes_on: bool) -> Result<Vec<Fragment>, PlaylistError> {
        if goes_on {
            return Ok(Vec::new());
        }
        if !self.taken_whole.insert(url.clone()) && share.start_microseconds > 0 {
            return Err(PlaylistError::unsupported("periods that share a file without an index"));
        }
        Ok(vec![Fragment {
            url: url.clone(),
            range: None,
            encryption: None,
            kind: FragmentKind::Media,
            duration_microseconds: share.end_microseconds.unwrap_or(0),
            is_presumed: false,
        }])
    }
}

fn fragment(url: &Url, range: Option<FragmentRange>, subsegment: &Subsegment) -> Fragment {
    Fragment {
        url: url.clone(),
        range,
        encryption: None,
        kind: FragmentKind::Media,
        duration_microseconds: subsegment.duration_microseconds,
        is_presumed: false,
    }
}
