//! Which bytes are fetched by whom: pure arithmetic over groups, no I/O, no clock.
//!
//! The file is a row of groups. Groups nobody has begun wait in [`Plan`], lowest first, so that the finished front
//! stays contiguous; a connection owns a [`Span`] of groups and claims them one at a time. A thief cuts the tail
//! off a span. Claim and cut are one compare-and-swap on the same word, so a group is claimed exactly once, and only
//! whole unclaimed groups ever change hands.

use std::ops::Range;

use crate::atomic::{AtomicU64, Ordering};
use crate::hash::GROUP_BYTES;

/// Largest file the packed words can describe: 2 PiB.
pub const MAX_BYTES: u64 = (u32::MAX as u64) * GROUP_BYTES;

/// Number of groups in a file of `total` bytes; `total` is at most [`MAX_BYTES`].
pub fn group_count(total: u64) -> u32 {
    total.div_ceil(GROUP_BYTES) as u32
}

/// The bytes of one group.
pub fn group_bytes(group: u32, total: u64) -> Range<u64> {
    let start = u64::from(group) * GROUP_BYTES;
    start..(start + GROUP_BYTES).min(total)
}

/// A connection's groups: the next to claim and the first that is not its own, packed in one word.
#[derive(Debug)]
pub struct Span(AtomicU64);

impl Span {
    /// Owns `groups`, none of them claimed.
    pub fn new(groups: Range<u32>) -> Self {
        Self(AtomicU64::new(pack(groups)))
    }

    /// Claims the lowest group, which then belongs to the caller for good.
    pub fn claim(&self) -> Option<u32> {
        self.change(|Range { start, end }| (start < end).then(|| (start + 1..end, start)))
    }

    /// The groups not claimed yet.
    pub fn unclaimed(&self) -> Range<u32> {
        unpack(self.0.load(Ordering::Acquire))
    }

    /// Keeps the first `keep` unclaimed groups and returns the rest, if there is a rest.
    pub fn cut(&self, keep: u32) -> Option<Range<u32>> {
        self.change(|Range { start, end }| {
            let middle = start.saturating_add(keep);
            (middle < end).then_some((start..middle, middle..end))
        })
    }

    /// Owns `groups` once all former ones are claimed. Only the owner may, and with nobody cutting meanwhile.
    pub fn refill(&self, groups: Range<u32>) {
        self.0.store(pack(groups), Ordering::Release);
    }

    fn change<T>(&self, decide: impl Fn(Range<u32>) -> Option<(Range<u32>, T)>) -> Option<T> {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let (changed, answer) = decide(unpack(current))?;
            match self.0.compare_exchange_weak(current, pack(changed), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(answer),
                Err(seen) => current = seen,
            }
        }
    }
}

fn pack(groups: Range<u32>) -> u64 {
    u64::from(groups.start) << 32 | u64::from(groups.end)
}

fn unpack(word: u64) -> Range<u32> {
    (word >> 32) as u32..word as u32
}

/// The groups that nobody owns, as ascending disjoint ranges that never touch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    waiting: Vec<Range<u32>>,
}

impl Plan {
    /// Everything in `0..groups` except what `is_done` says is on disk already.
    pub fn new(groups: u32, is_done: impl Fn(u32) -> bool) -> Self {
        let mut plan = Self::default();
        for group in (0..groups).filter(|group| !is_done(*group)) {
            match plan.waiting.last_mut() {
                Some(last) if last.end == group => last.end += 1,
                _ => plan.waiting.push(group..group + 1),
            }
        }
        plan
    }

    /// The waiting ranges, ascending.
    pub fn waiting(&self) -> &[Range<u32>] {
        &self.waiting
    }

    /// How many groups wait.
    pub fn waiting_groups(&self) -> u64 {
        self.waiting.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// Takes the lowest waiting groups, at most `limit` of them and contiguous.
    pub fn take(&mut self, limit: u32) -> Option<Range<u32>> {
        let first = self.waiting.first_mut()?;
        let taken = first.start..first.end.min(first.start.saturating_add(limit.max(1)));
        first.start = taken.end;
        if first.start == first.end {
            self.waiting.remove(0);
        }
        Some(taken)
    }

    /// Takes waiting groups from `first` on, at most `limit` of them and contiguous, if `first` is where a waiting range begins.
    pub fn take_at(&mut self, first: u32, limit: u32) -> Option<Range<u32>> {
        let at = self.waiting.binary_search_by_key(&first, |range| range.start).ok()?;
        let range = &mut self.waiting[at];
        let taken = range.start..range.end.min(range.start.saturating_add(limit.max(1)));
        range.start = taken.end;
        if range.start == range.end {
            self.waiting.remove(at);
        }
        Some(taken)
    }

    /// Puts groups back that their owner will not fetch.
    pub fn give_back(&mut self, groups: Range<u32>) {
        if groups.start >= groups.end {
            return;
        }
        let at = self.waiting.partition_point(|range| range.start < groups.start);
        self.waiting.insert(at, groups);
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
    }

    fn join(&mut self, at: usize) {
        if at + 1 < self.waiting.len() && self.waiting[at].end == self.waiting[at + 1].start {
            self.waiting[at].end = self.waiting[at + 1].end;
            self.waiting.remove(at + 1);
        }
    }
}

/// What a thief knows of one running connection.
#[derive(Debug, Clone, Copy)]
pub struct Victim {
    /// Unclaimed groups left.
    pub groups: u32,
    /// Bytes per second lately; 0 when it has not delivered yet.
    pub rate: f64,
}

/// Whom to steal from and how many groups to leave: the victim with the longest remaining *time*, cut so that
/// both end together if the thief runs at `thief_rate`. `None` when no theft would pay for `setup_seconds`.
pub fn choose_theft(victims: &[Victim], thief_rate: f64, setup_seconds: f64) -> Option<(usize, u32)> {
    let seconds = |victim: &Victim| f64::from(victim.groups) * GROUP_BYTES as f64 / victim.rate.max(1.0);
    let (index, victim) = victims
        .iter()
        .enumerate()
        .filter(|(_, victim)| victim.groups >= 2)
        .max_by(|(_, a), (_, b)| seconds(a).total_cmp(&seconds(b)))?;
    if seconds(victim) < 2.0 * setup_seconds {
        return None;
    }
    // The victim works on while the thief connects.
    let head_start = (victim.rate * setup_seconds / GROUP_BYTES as f64).floor();
    let shared = (f64::from(victim.groups) - head_start).max(0.0);
    let keep = head_start + shared * victim.rate.max(1.0) / (victim.rate.max(1.0) + thief_rate.max(1.0));
    let keep = (keep.ceil() as u32).clamp(1, victim.groups - 1);
    Some((index, keep))
}
