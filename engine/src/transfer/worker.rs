//! One connection as the others see it: what it has in its hands, and how fast it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::plan::Span;

/// What a connection is doing, for the stall check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Connecting or waiting for the head: bounded by its own timeouts.
    Requesting = 0,
    /// Waiting for its share of a rate limit.
    Waiting = 1,
    /// Waiting for bytes of the body.
    Reading = 2,
}

/// One connection as the others see it.
#[derive(Default)]
pub struct Worker {
    /// Number within the download.
    pub id: u32,
    pub(super) span: Mutex<Option<Arc<Span>>>,
    pub(super) holding: Mutex<Option<u32>>,
    pub(super) group_bytes: AtomicU64,
    pub(super) bytes: AtomicU64,
    busy_nanoseconds: AtomicU64,
    rate: AtomicU64,
    phase: AtomicU8,
    is_retired: AtomicBool,
}

impl Worker {
    /// A worker without work.
    pub fn new(id: u32) -> Arc<Self> {
        Arc::new(Self { id, ..Self::default() })
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Time spent hashing and writing.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanoseconds.load(Relaxed))
    }

    /// Accounts time spent receiving, hashing and writing.
    pub fn add_busy(&self, time: Duration) {
        self.busy_nanoseconds.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    /// Bytes per second lately.
    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    /// Sets the rate; done by the crew's clock.
    pub fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Relaxed);
    }

    /// What it is doing.
    pub fn is_reading(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Reading as u8
    }

    /// Whether it waits for an answer.
    pub fn is_asking(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Requesting as u8
    }

    /// Says what it is doing now.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Asks it to end after the group in its hands.
    pub fn retire(&self) {
        self.is_retired.store(true, Relaxed);
    }

    /// Whether it was asked to end.
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Relaxed)
    }

    pub(super) fn unclaimed_groups(&self) -> u32 {
        self.span.lock().as_ref().map_or(0, |span| {
            let groups = span.unclaimed();
            groups.end.saturating_sub(groups.start)
        })
    }
}
