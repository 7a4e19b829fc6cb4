//! Who gets the next bytes: start-time fair queueing over the tasks that wait, as plain data without a clock.
//!
//! Every task has a virtual time that advances by `granted / weight`; the eligible task with the smallest one is served
//! (Goyal, Vin and Cheng, 1996). A task that was idle or held back by its own limit starts at the current virtual time:
//! it has no claim on what it did not use. A rejected alternative, one shared bucket with waiters in order of arrival,
//! gives a task with eight connections eight shares.
//!
//! A task with one connection does not wait while it reads, hashes and writes what it was granted, and whoever has seven
//! more connections is served meanwhile. Taking that for idleness cost such a task a third of its share as soon as a
//! read took longer than a round. So what was missed between two requests is made up for, in a larger grant, as far
//! as it was missed lately.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::bucket::Bucket;

/// Virtual time per byte at weight one, so that integer division by a weight keeps its precision.
const VIRTUAL_SCALE: u128 = 1 << 16;

/// With many tasks waiting a grant is split between them, down to this size.
const SMALLEST_SHARE: u64 = 16 * 1024;

/// What a task missed between two requests is made up for when it is between this old and twice as old. Long enough for
/// a slow read or a request to an origin far away, and far too short for an idle task to hoard.
const MEMORY_NS: u64 = 125_000_000;

/// Identifies a task.
pub(super) type TaskId = u64;

/// Identifies a task on one host.
pub(super) type LaneId = u64;

#[derive(Debug)]
struct Task {
    weight: u32,
    bucket: Option<Bucket>,
    virtual_time: u128,
    /// How far it was behind when it asked.
    lateness: u128,
    lanes: u32,
}

#[derive(Debug)]
struct Lane {
    task: TaskId,
    host: Arc<str>,
    is_limited: Arc<AtomicBool>,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    want: u64,
    granted: oneshot::Sender<u64>,
}

/// All limits and everybody who waits for them.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    global: Option<Bucket>,
    hosts: HashMap<Arc<str>, Bucket>,
    tasks: HashMap<TaskId, Task>,
    lanes: HashMap<LaneId, Lane>,
    waiting: Vec<LaneId>,
    virtual_time: u128,
    past: Past,
    next_id: u64,
}

/// The virtual time of a moment that is at least [`MEMORY_NS`] ago, and of a later one that will take its place.
#[derive(Debug, Default)]
struct Past {
    virtual_time: u128,
    next: (u64, u128),
}

impl Past {
    fn pass(&mut self, now_ns: u64, virtual_time: u128) {
        if now_ns.saturating_sub(self.next.0) >= MEMORY_NS {
            self.virtual_time = self.next.1;
            self.next = (now_ns, virtual_time);
        }
    }
}

impl Schedule {
    pub(super) fn add_task(&mut self, bytes_per_second: Option<u64>, weight: u32, now_ns: u64) -> TaskId {
        self.next_id += 1;
        let bucket = bytes_per_second.map(|rate| Bucket::new(rate, now_ns));
        let virtual_time = self.virtual_time;
        self.tasks.insert(self.next_id, Task { weight: weight.max(1), bucket, virtual_time, lateness: 0, lanes: 0 });
        self.next_id
    }

    pub(super) fn add_lane(&mut self, task: TaskId, host: &str, is_limited: Arc<AtomicBool>) -> LaneId {
        self.next_id += 1;
        if let Some(task) = self.tasks.get_mut(&task) {
            task.lanes += 1;
        }
        self.lanes.insert(self.next_id, Lane { task, host: host.into(), is_limited, waiters: VecDeque::new() });
        self.mark_limited();
        self.next_id
    }

    pub(super) fn remove_lane(&mut self, lane: LaneId) {
        self.waiting.retain(|waiting| *waiting != lane);
        let Some(lane) = self.lanes.remove(&lane) else {
            return;
        };
        if let Some(task) = self.tasks.get_mut(&lane.task) {
            task.lanes -= 1;
            if task.lanes == 0 {
                self.tasks.remove(&lane.task);
            }
        }
    }

    pub(super) fn set_global_rate(&mut self, rate: Option<u64>, now_ns: u64) {
        set_rate(&mut self.global, rate, now_ns);
        self.mark_limited();
    }

    pub(super) fn set_host_rate(&mut self, host: &str, rate: Option<u64>, now_ns: u64) {
        match rate {
            Some(rate) => {
                self.hosts.entry(host.into()).or_insert_with(|| Bucket::new(rate, now_ns)).set_rate(rate, now_ns)
            }
            None => drop(self.hosts.remove(host)),
        }
        self.mark_limited();
    }

    pub(super) fn set_task_rate(&mut self, task: TaskId, rate: Option<u64>, now_ns: u64) {
        if let Some(task) = self.tasks.get_mut(&task) {
            set_rate(&mut task.bucket, rate, now_ns);
        }
        self.mark_limited();
    }

    pub(super) fn set_weight(&mut self, task: TaskId, weight: u32) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.weight = weight.max(1);
        }
    }

    pub(super) fn enqueue(&mut self, lane: LaneId, want: u64) -> oneshot::Receiver<u64> {
        let (granted, receiver) = oneshot::channel();
        if let Some(Lane { task, waiters, .. }) = self.lanes.get_mut(&lane) {
            // While it waits it misses nothing but what its own limit refuses.
            if waiters.is_empty() {
                self.waiting.push(lane);
                if let Some(task) = self.tasks.get_mut(task) {
                    let behind_since = task.virtual_time.max(self.past.virtual_time);
                    task.lateness = self.virtual_time.saturating_sub(behind_since);
                }
            }
            waiters.push_back(Waiter { want, granted });
        }
        receiver
    }

    /// Gives back bytes that were granted to `lane` and not used.
    pub(super) fn refund(&mut self, lane: LaneId, bytes: u64) {
        let Some(lane) = self.lanes.get(&lane) else {
            return;
        };
        let task = self.tasks.get_mut(&lane.task);
        let (task_bucket, task) = match task {
            Some(Task { bucket, virtual_time, weight, .. }) => (bucket.as_mut(), Some((virtual_time, *weight))),
            None => (None, None),
        };
        [self.global.as_mut(), self.hosts.get_mut(&lane.host), task_bucket]
            .into_iter()
            .flatten()
            .for_each(|bucket| bucket.refund(bytes));
        if let Some((virtual_time, weight)) = task {
            *virtual_time = virtual_time.saturating_sub(virtual_cost(bytes, weight));
        }
    }

    /// Grants everything that may be granted now and says when to come back; `None` when nobody waits.
    pub(super) fn dispatch(&mut self, now_ns: u64) -> Option<u64> {
        self.past.pass(now_ns, self.virtual_time);
        loop {
            self.drop_abandoned();
            let mut earliest: Option<u64> = None;
            let mut best: Option<(u128, LaneId)> = None;
            for id in &self.waiting {
                let lane = &self.lanes[id];
                let ready = self.ready_at_ns(lane);
                earliest = Some(earliest.map_or(ready, |earliest| earliest.min(ready)));
                if ready <= now_ns {
                    let task = &self.tasks[&lane.task];
                    // Not what it was refused by its own limit while it waited, only what it missed before it asked.
                    let start = task.virtual_time.max(self.virtual_time.saturating_sub(task.lateness));
                    if best.is_none_or(|(least, _)| start < least) {
                        best = Some((start, *id));
                    }
                }
            }
            match best {
                Some((start, lane)) => self.grant(lane, start, now_ns),
                None => return earliest,
            }
        }
    }

    fn grant(&mut self, id: LaneId, start: u128, now_ns: u64) {
        let share = self.largest_grant(&self.lanes[&id], self.virtual_time.saturating_sub(start));
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let Some(waiter) = lane.waiters.pop_front() else {
            return;
        };
        // A lane goes to the end of the line, so that lanes of one task, equal in virtual time, take turns.
        self.waiting.retain(|waiting| *waiting != id);
        if !lane.waiters.is_empty() {
            self.waiting.push(id);
        }
        let bytes = waiter.want.min(share);
        if waiter.granted.send(bytes).is_err() {
            return;
        }
        self.virtual_time = self.virtual_time.max(start);
        let host = self.hosts.get_mut(&lane.host);
        let Some(task) = self.tasks.get_mut(&lane.task) else {
            return;
        };
        task.virtual_time = start + virtual_cost(bytes, task.weight);
        task.lateness = task.lateness.min(self.virtual_time.saturating_sub(task.virtual_time));
        [self.global.as_mut(), host, task.bucket.as_mut()]
            .into_iter()
            .flatten()
            .for_each(|bucket| bucket.charge(bytes, now_ns));
    }

    fn buckets(&self, lane: &Lane) -> impl Iterator<Item = &Bucket> {
        let task = self.tasks.get(&lane.task).and_then(|task| task.bucket.as_ref());
        [self.global.as_ref(), self.hosts.get(&lane.host), task].into_iter().flatten()
    }

    fn ready_at_ns(&self, lane: &Lane) -> u64 {
        self.buckets(lane).map(Bucket::ready_at_ns).max().unwrap_or(0)
    }

    /// A part of a quantum, and all of it for a task that is far enough behind.
    fn largest_grant(&self, lane: &Lane, behind: u128) -> u64 {
        let waiting = self.waiting.len().max(1) as u64;
        let weight = self.tasks.get(&lane.task).map_or(1, |task| task.weight);
        let missed = u64::try_from(behind * u128::from(weight) / VIRTUAL_SCALE).unwrap_or(u64::MAX);
        self.buckets(lane)
            .map(|bucket| {
                let quantum = bucket.quantum();
                (quantum / waiting).max(quantum.min(SMALLEST_SHARE)).saturating_add(missed).min(quantum)
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Forgets waiters whose future was dropped.
    fn drop_abandoned(&mut self) {
        let lanes = &mut self.lanes;
        self.waiting.retain(|id| {
            let Some(lane) = lanes.get_mut(id) else {
                return false;
            };
            lane.waiters.retain(|waiter| !waiter.granted.is_closed());
            !lane.waiters.is_empty()
        });
    }

    /// Tells every lane whether any limit applies to it, so that the others pay one relaxed load per read.
    fn mark_limited(&self) {
        for lane in self.lanes.values() {
            lane.is_limited.store(self.buckets(lane).next().is_some(), Ordering::Relaxed);
        }
    }
}

fn virtual_cost(bytes: u64, weight: u32) -> u128 {
    u128::from(bytes) * VIRTUAL_SCALE / u128::from(weight)
}

fn set_rate(bucket: &mut Option<Bucket>, rate: Option<u64>, now_ns: u64) {
    match (bucket.as_mut(), rate) {
        (Some(bucket), Some(rate)) => bucket.set_rate(rate, now_ns),
        (None, Some(rate)) => *bucket = Some(Bucket::new(rate, now_ns)),
        (_, None) => *bucket = None,
    }
}
