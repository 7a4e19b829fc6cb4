//! The numbers of a running task: written with relaxed atomics by its connections, read without a lock by anybody.

use crate::remark::Remark;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Submitted, not begun.
    Queued,
    /// Waiting for the first answer.
    Probing,
    /// Bytes are coming.
    Running,
    /// Stopped by the user, to be resumed.
    Paused,
    /// Hashing what is left, syncing, publishing.
    Verifying,
    /// The target exists.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended because it was told to.
    Cancelled,
}

const STATES: [State; 8] = [
    State::Queued,
    State::Probing,
    State::Running,
    State::Paused,
    State::Verifying,
    State::Completed,
    State::Failed,
    State::Cancelled,
];

impl State {
    /// The word of the stub file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Probing => "probing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Shared by a task's connections and everybody who watches. `u64::MAX` and `u32::MAX` stand for unknown.
#[derive(Debug)]
pub struct Progress {
    state: AtomicU8,
    downloaded: AtomicU64,
    fetched: AtomicU64,
    resumed: AtomicU64,
    total: AtomicU64,
    speed: AtomicU64,
    connections: AtomicU32,
    connections_peak: AtomicU32,
    fragments_done: AtomicU32,
    fragments_total: AtomicU32,
    has_order: AtomicBool,
    waiting_for: Mutex<Option<String>>,
    remarks: AtomicU8,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(State::Queued as u8),
            downloaded: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            total: AtomicU64::new(u64::MAX),
            speed: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            connections_peak: AtomicU32::new(0),
            fragments_done: AtomicU32::new(0),
            fragments_total: AtomicU32::new(u32::MAX),
            has_order: AtomicBool::new(false),
            waiting_for: Mutex::default(),
            remarks: AtomicU8::new(0),
        }
    }
}

/// A task's numbers at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// The handle's id.
    pub id: u64,
    /// Where the task is in its life.
    pub state: State,
    /// Unique bytes on disk, those of earlier attempts included.
    pub downloaded: u64,
    /// Length of the file, once known.
    pub total: Option<u64>,
    /// Bytes per second over the last second or so.
    pub speed: f64,
    /// Connections that are receiving or waiting for an answer.
    pub connections: u32,
    /// Bytes that earlier attempts had left.
    pub resumed: u64,
    /// Fragments on disk.
    pub fragments_done: u32,
    /// Fragments of the playlist, for playlists.
    pub fragments_total: Option<u32>,
}

impl Progress {
    /// Says what is waited for while no byte comes, or that bytes come. Not for the hot path.
    pub fn wait_for(&self, what: Option<String>) {
        *self.waiting_for.lock() = what;
    }

    /// What is waited for while no byte comes.
    pub fn waiting_for(&self) -> Option<String> {
        self.waiting_for.lock().clone()
    }

    /// Notes a fact for the outcome.
    pub fn remark(&self, remark: Remark) {
        self.remarks.fetch_or(remark.bit(), Relaxed);
    }

    /// What was noted of the bytes there are.
    pub fn remarks(&self) -> Vec<Remark> {
        Remark::of_bits(self.remarks.load(Relaxed))
    }

    /// Says that the task has been told to stop, or goes on.
    pub fn set_order(&self, has_order: bool) {
        self.has_order.store(has_order, Relaxed);
    }

    /// Gives way to whoever stops the task, once it has been told to. A connection whose bytes are always there would
    /// otherwise keep its thread for tens of megabytes, and sixteen of them all threads for a tenth of a second.
    pub async fn give_way(&self) {
        if self.has_order.load(Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    /// Moves to another state.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Relaxed);
        self.wait_for(None);
        if !matches!(state, State::Running | State::Probing) {
            self.set_speed(0.0);
            self.set_connections(0);
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        STATES[usize::from(self.state.load(Relaxed)) % STATES.len()]
    }

    /// Sets the length, or forgets it.
    pub fn set_total(&self, total: Option<u64>) {
        self.total.store(total.unwrap_or(u64::MAX), Relaxed);
    }

    /// New bytes that are on disk now.
    pub fn add(&self, bytes: u64) {
        self.downloaded.fetch_add(bytes, Relaxed);
        self.fetched.fetch_add(bytes, Relaxed);
    }

    /// Bytes that were counted and have to be fetched again.
    pub fn take_back(&self, bytes: u64) {
        self.downloaded.fetch_sub(bytes.min(self.downloaded()), Relaxed);
    }

    /// Starts counting anew from what an earlier attempt left.
    pub fn restart_from(&self, resumed: u64) {
        self.resumed.store(resumed, Relaxed);
        self.downloaded.store(resumed, Relaxed);
    }

    /// Unique bytes on disk.
    pub fn downloaded(&self) -> u64 {
        self.downloaded.load(Relaxed)
    }

    /// Bytes received by this handle, bytes received twice counted twice.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Relaxed)
    }

    /// Bytes that earlier attempts had left.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Relaxed)
    }

    /// The current speed in bytes per second.
    pub fn set_speed(&self, speed: f64) {
        self.speed.store(speed.to_bits(), Relaxed);
    }

    /// The current number of connections.
    pub fn set_connections(&self, connections: u32) {
        self.connections.store(connections, Relaxed);
        self.connections_peak.fetch_max(connections, Relaxed);
    }

    /// The most connections at once so far.
    pub fn connections_peak(&self) -> u32 {
        self.connections_peak.load(Relaxed)
    }

    /// Fragments on disk, of how many.
    pub fn set_fragments(&self, done: u32, total: u32) {
        self.fragments_done.store(done, Relaxed);
        self.fragments_total.store(total, Relaxed);
    }

    /// Everything at once.
    pub fn snapshot(&self, id: u64) -> Snapshot {
        let total = self.total.load(Relaxed);
        let fragments_total = self.fragments_total.load(Relaxed);
        Snapshot {
            id,
            state: self.state(),
            downloaded: self.downloaded(),
            total: (total != u64::MAX).then_some(total),
            speed: f64::from_bits(self.speed.load(Relaxed)),
            connections: self.connections.load(Relaxed),
            resumed: self.resumed(),
            fragments_done: self.fragments_done.load(Relaxed),
            fragments_total: (fragments_total != u32::MAX).then_some(fragments_total),
        }
    }
}
