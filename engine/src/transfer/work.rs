//! Who fetches what: groups that wait, unfinished ones, and the tails of others.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Piece, Worker};
use crate::hash::GROUP_BYTES;
use crate::plan::{Plan, Victim, choose_theft};

/// Smallest and largest part handed out while groups wait, in groups: 4 MiB and 64 MiB.
const PART_GROUPS: (f64, f64) = (8.0, 128.0);
/// A part lasts at least this long on a fast connection, so that the pause between two requests does not count.
const SHORTEST_PART_SECONDS: f64 = 4.0;

pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) partials: HashMap<u32, Piece>,
    pub(super) workers: Vec<Arc<Worker>>,
    pub(super) wanted_connections: u32,
    pub(super) setup_seconds: f64,
}

impl Work {
    pub(super) fn take(&mut self, worker: &Worker) -> Option<Range<u32>> {
        let limit = self.limit(worker);
        self.plan.take(limit)
    }

    /// As [`Work::take`], for a connection whose body goes on at `first`.
    pub(super) fn take_at(&mut self, worker: &Worker, first: u32) -> Option<Range<u32>> {
        let limit = self.limit(worker);
        self.plan.take_at(first, limit)
    }

    fn limit(&self, worker: &Worker) -> u32 {
        let share = self.plan.waiting_groups() as f64 / f64::from(self.wanted_connections);
        part_groups(share, worker.rate())
    }

    pub(super) fn victims(&self, thief: u32) -> Vec<Victim> {
        let others = self.workers.iter().filter(|worker| worker.id != thief);
        others.map(|worker| Victim { groups: worker.unclaimed_groups(), rate: worker.rate() }).collect()
    }

    pub(super) fn steal(&mut self, thief: &Worker) -> Option<Range<u32>> {
        let victims = self.victims(thief.id);
        let mean = victims.iter().map(|victim| victim.rate).sum::<f64>() / victims.len().max(1) as f64;
        let thief_rate = if thief.rate() > 0.0 { thief.rate() } else { mean };
        let (index, keep) = choose_theft(&victims, thief_rate, self.setup_seconds)?;
        let span = self.workers.iter().filter(|worker| worker.id != thief.id).nth(index)?.span.lock().clone()?;
        span.cut(keep)
    }
}

/// A fair share of what waits, within bounds; a fast connection gets enough for some seconds.
pub(super) fn part_groups(share: f64, rate: f64) -> u32 {
    let longest = PART_GROUPS.1.max(rate * SHORTEST_PART_SECONDS / GROUP_BYTES as f64);
    share.ceil().clamp(PART_GROUPS.0, longest) as u32
}
