//! Rate limits as connections use them: ask before reading, give back what was not read.
//!
//! ```text
//! let granted = limiter.take(256 * 1024).await;     // one relaxed load while nothing is limited
//! let received = socket.recv(&mut buffer[..granted]);
//! limiter.refund(granted - received);
//! ```
//!
//! Not reading is the whole mechanism: the kernel's window fills and the origin slows down. Grants are made by one pump
//! task that lives while somebody waits; thousands of waiters cost one timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::schedule::{LaneId, Schedule, TaskId};

/// The limits of a process: over everything, per host, per task. Cheap to clone; clones are the same limits.
///
/// Rates are bytes per second; `None` or zero removes a limit. Changes take effect at once, for waiting readers too.
#[derive(Debug, Clone)]
pub struct RateLimits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    schedule: Mutex<Schedule>,
    is_pumping: AtomicBool,
    changed: Notify,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimits {
    /// No limits yet.
    pub fn new() -> Self {
        let shared = Shared {
            epoch: Instant::now(),
            schedule: Mutex::default(),
            is_pumping: AtomicBool::new(false),
            changed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Bounds the bytes of all tasks together.
    pub fn set_global(&self, bytes_per_second: Option<u64>) {
        self.change(|schedule, now_ns| schedule.set_global_rate(nonzero(bytes_per_second), now_ns));
    }

    /// Bounds the bytes all tasks together take from `host`, which is compared as written.
    pub fn set_host(&self, host: &str, bytes_per_second: Option<u64>) {
        self.change(|schedule, now_ns| schedule.set_host_rate(host, nonzero(bytes_per_second), now_ns));
    }

    /// Registers a task that reads from `host`. `weight` is its share against the others when a limit makes bytes scarce.
    pub fn task(&self, host: &str, bytes_per_second: Option<u64>, weight: u32) -> TaskLimiter {
        let now_ns = self.shared.now_ns();
        let task = self.shared.schedule.lock().add_task(nonzero(bytes_per_second), weight, now_ns);
        TaskLimiter::new(&self.shared, task, host)
    }

    fn change(&self, change: impl FnOnce(&mut Schedule, u64)) {
        self.shared.change(change);
    }
}

impl Shared {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn change(&self, change: impl FnOnce(&mut Schedule, u64)) {
        change(&mut self.schedule.lock(), self.now_ns());
        self.changed.notify_one();
    }

    /// Serves the waiters until there are none. Exits then, so that an idle engine has no task of ours.
    async fn pump(self: Arc<Self>) {
        let stopped = PumpStopped(&self);
        loop {
            let wake_at = {
                let mut schedule = self.schedule.lock();
                let wake_at = schedule.dispatch(self.now_ns());
                if wake_at.is_none() {
                    // Under the lock: a waiter that enqueues after this sees no pump and starts one.
                    drop(stopped);
                    return;
                }
                wake_at
            };
            let wake_at = self.epoch + Duration::from_nanos(wake_at.unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep_until(wake_at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn ensure_pump(self: &Arc<Self>) {
        if self.is_pumping.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        } else {
            tokio::spawn(Arc::clone(self).pump());
        }
    }
}

/// Clears the flag however the pump ends, also when its runtime is shut down under it.
struct PumpStopped<'a>(&'a Shared);

impl Drop for PumpStopped<'_> {
    fn drop(&mut self) {
        self.0.is_pumping.store(false, Ordering::Release);
    }
}

/// One task's place in the limits while it reads from one host. Shared by the task's connections; cheap to clone.
///
/// The task is forgotten when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct TaskLimiter {
    lane: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    task: TaskId,
    id: LaneId,
    is_limited: Arc<AtomicBool>,
}

impl TaskLimiter {
    fn new(shared: &Arc<Shared>, task: TaskId, host: &str) -> Self {
        let is_limited = Arc::new(AtomicBool::new(false));
        let id = shared.schedule.lock().add_lane(task, host, Arc::clone(&is_limited));
        Self { lane: Arc::new(Lane { shared: Arc::clone(shared), task, id, is_limited }) }
    }

    /// The same task reading from another host, as after a redirect or for a fragment elsewhere.
    pub fn on_host(&self, host: &str) -> Self {
        Self::new(&self.lane.shared, self.lane.task, host)
    }

    /// Whether any limit applies now; one relaxed load.
    pub fn is_limited(&self) -> bool {
        self.lane.is_limited.load(Ordering::Relaxed)
    }

    /// Waits until some of `want` bytes may be read and returns how many: at least one, at most `want`.
    ///
    /// Without limits returns `want` at once. Cancel-safe: a grant nobody collects is given back.
    pub async fn take(&self, want: usize) -> usize {
        if !self.is_limited() || want == 0 {
            return want;
        }
        self.take_limited(want).await
    }

    async fn take_limited(&self, want: usize) -> usize {
        let receiver = self.lane.shared.schedule.lock().enqueue(self.lane.id, want as u64);
        let mut pending = PendingGrant { lane: &self.lane, receiver };
        self.lane.shared.ensure_pump();
        match (&mut pending.receiver).await {
            Ok(granted) => usize::try_from(granted).unwrap_or(want),
            // Only when the pump's runtime is gone, and with it every reader's socket.
            Err(_) => want,
        }
    }

    /// Gives back `bytes` of a grant that were not read.
    pub fn refund(&self, bytes: usize) {
        if bytes > 0 && self.is_limited() {
            self.lane.shared.change(|schedule, _| schedule.refund(self.lane.id, bytes as u64));
        }
    }

    /// Bounds this task alone; `None` or zero removes the bound.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.lane
            .shared
            .change(|schedule, now_ns| schedule.set_task_rate(self.lane.task, nonzero(bytes_per_second), now_ns));
    }

    /// Changes this task's share against the others. Zero counts as one.
    pub fn set_weight(&self, weight: u32) {
        self.lane.shared.change(|schedule, _| schedule.set_weight(self.lane.task, weight));
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.schedule.lock().remove_lane(self.id);
    }
}

/// A request for bytes whose future may be dropped between the grant and its collection.
struct PendingGrant<'a> {
    lane: &'a Lane,
    receiver: oneshot::Receiver<u64>,
}

impl Drop for PendingGrant<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(granted) = self.receiver.try_recv() {
            self.lane.shared.change(|schedule, _| schedule.refund(self.lane.id, granted));
        }
    }
}

fn nonzero(rate: Option<u64>) -> Option<u64> {
    rate.filter(|rate| *rate > 0)
}
