//! How fast a download is: for people, for the floor under its speed, and for the search of the best number.

use std::time::{Duration, Instant};

/// Speeds of the whole download over different windows.
pub(super) struct Meter {
    speed: f64,
    ticked: (Instant, u64),
    floor: (Instant, u64),
    sampled: (Instant, u64, Duration, u32),
}

/// One interval in which the same number of connections was reading.
pub(super) struct Window {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) busy: Duration,
}

impl Meter {
    /// From `bytes` on.
    pub(super) fn new(bytes: u64) -> Self {
        let now = Instant::now();
        Self { speed: 0.0, ticked: (now, bytes), floor: (now, bytes), sampled: (now, bytes, Duration::ZERO, 0) }
    }

    /// The speed for people: averaged over about a second.
    pub(super) fn tick(&mut self, now: Instant, bytes: u64) -> f64 {
        let elapsed = (now - self.ticked.0).as_secs_f64().max(1e-6);
        let new = (bytes - self.ticked.1) as f64 / elapsed;
        self.speed = if self.speed == 0.0 { new } else { 0.8 * self.speed + 0.2 * new };
        self.ticked = (now, bytes);
        self.speed
    }

    /// Whether the last `window` brought fewer than `minimum` bytes a second; false until it has passed.
    pub(super) fn is_below(&mut self, now: Instant, minimum: u64, window: Duration) -> bool {
        let elapsed = now - self.floor.0;
        if elapsed < window {
            return false;
        }
        let is_below = ((bytes_since(self.ticked.1, self.floor.1)) as f64) < minimum as f64 * elapsed.as_secs_f64();
        self.floor = (now, self.ticked.1);
        is_below
    }

    /// The interval since the last sample, if it is long enough and the same number of connections was reading at
    /// both ends.
    pub(super) fn sample(
        &mut self,
        now: Instant,
        bytes: u64,
        busy: Duration,
        active: u32,
        shortest: Duration,
    ) -> Option<Window> {
        let (since, old_bytes, old_busy, old_active) = self.sampled;
        if old_active == active && now - since < shortest {
            return None;
        }
        self.sampled = (now, bytes, busy, active);
        let window = Window { bytes: bytes - old_bytes, elapsed: now - since, busy: busy.saturating_sub(old_busy) };
        (old_active == active && active > 0 && window.bytes > 0).then_some(window)
    }
}

fn bytes_since(now: u64, then: u64) -> u64 {
    now.saturating_sub(then)
}
