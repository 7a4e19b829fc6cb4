//! How many connections one download should use: doubling while it pays, halving when the origin pushes back.
//!
//! Pure: no clock, no I/O, so that a simulated origin can drive it through hours in a test. The owner measures an
//! interval in which exactly `connections` transfers were under way and calls [`AdaptiveConnections::observe`].
//!
//! Doubling reaches sixteen connections in four steps where a per-connection throttle rewards each, and stops at one or
//! two on a fast path where more connections only cost CPU. The test is marginal: each added connection has to bring at
//! least a tenth of what a connection brought before. After a stop it tries again, seldom and ever seldomer.

use std::time::Duration;

/// An added connection stays if it brings this part of a former connection's share.
const WORTHWHILE_SHARE: f64 = 0.10;

/// The first pause after a step that did not pay.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// The longest pause between attempts.
const LONGEST_PATIENCE: Duration = Duration::from_secs(32);

/// How long after a refusal or reset the number is left alone.
const PUSHBACK_PAUSE: Duration = Duration::from_secs(5);

/// What one interval of steady transfer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Transfers under way during the whole interval.
    pub connections: u32,
    /// Bytes they received together.
    pub bytes: u64,
    /// How long the interval was.
    pub elapsed: Duration,
}

impl Sample {
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    connections: u32,
    rate: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling from the level before.
    Doubling,
    /// After a refusal: one more at a time.
    Regrowing,
    /// Nothing changes until then.
    Holding { until: Duration },
}

/// Finds the number of connections. All instants are durations since any fixed moment, and never run backwards.
#[derive(Debug, Clone)]
pub struct AdaptiveConnections {
    ceiling: u32,
    target: u32,
    best: Option<Level>,
    phase: Phase,
    resume_regrowing: bool,
    patience: Duration,
    last_pushback: Option<Duration>,
}

impl AdaptiveConnections {
    /// Starts with one connection and never asks for more than `ceiling`.
    pub fn new(ceiling: u32) -> Self {
        Self::starting_at(1, ceiling)
    }

    /// Starts with `initial` connections, as when the size of the file is known to reward several.
    pub fn starting_at(initial: u32, ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            ceiling,
            target: initial.clamp(1, ceiling),
            best: None,
            phase: Phase::Doubling,
            resume_regrowing: false,
            patience: FIRST_PATIENCE,
            last_pushback: None,
        }
    }

    /// The number of connections to have now.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// Changes the most that may be asked for, at once.
    pub fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling.max(1);
        self.target = self.target.min(self.ceiling);
    }

    /// Learns from an interval that ended at `now` and returns the new target.
    ///
    /// A sample with another number of connections than the target is ignored: the step has not been taken yet.
    pub fn observe(&mut self, now: Duration, sample: Sample) -> u32 {
        if sample.connections != self.target || sample.elapsed.is_zero() {
            return self.target;
        }
        let level = Level { connections: sample.connections, rate: sample.rate() };
        match self.phase {
            Phase::Holding { until } if now < until => self.best = Some(level),
            Phase::Holding { .. } => self.step_up_from(level),
            Phase::Doubling | Phase::Regrowing => self.judge(now, level),
        }
        self.target
    }

    /// Halves after a 429, 503 or reset and returns the new target. Several from the same second count once: sixteen
    /// connections are refused together for one reason.
    pub fn push_back(&mut self, now: Duration) -> u32 {
        let is_same_event = self.last_pushback.is_some_and(|last| now.saturating_sub(last) < Duration::from_secs(1));
        if !is_same_event {
            self.last_pushback = Some(now);
            self.target = (self.target / 2).max(1);
            self.best = None;
            self.resume_regrowing = true;
            self.phase = Phase::Holding { until: now + PUSHBACK_PAUSE };
        }
        self.target
    }

    /// Keeps the step if it paid and takes the next, or goes back to the level before.
    fn judge(&mut self, now: Duration, level: Level) {
        match self.best {
            Some(best) if level.connections > best.connections && !is_worthwhile(best, level) => {
                self.target = best.connections;
                self.phase = Phase::Holding { until: now + self.patience };
                self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
            }
            _ => self.step_up_from(level),
        }
    }

    fn step_up_from(&mut self, level: Level) {
        self.best = Some(level);
        self.phase = if self.resume_regrowing { Phase::Regrowing } else { Phase::Doubling };
        let next = if self.resume_regrowing { self.target.saturating_add(1) } else { self.target.saturating_mul(2) };
        self.target = next.min(self.ceiling);
    }
}

fn is_worthwhile(before: Level, after: Level) -> bool {
    let share = before.rate / f64::from(before.connections);
    let added = f64::from(after.connections - before.connections);
    after.rate - before.rate >= WORTHWHILE_SHARE * share * added
}

#[cfg(test)]
mod tests {
    use super::{AdaptiveConnections, Sample};
    use proptest::prelude::*;
    use std::time::Duration;

    /// Lets the controller run against an origin whose rate is a function of the number of connections.
    fn run(controller: &mut AdaptiveConnections, seconds: u64, rate: impl Fn(u32) -> f64) -> Vec<u32> {
        let step = Duration::from_millis(250);
        (0..seconds * 4)
            .map(|tick| {
                let connections = controller.target();
                let bytes = (rate(connections) * step.as_secs_f64()) as u64;
                controller.observe(step * (tick as u32 + 1), Sample { connections, bytes, elapsed: step })
            })
            .collect()
    }

    #[test]
    fn a_throttle_per_connection_is_answered_by_doubling_to_the_ceiling() {
        let mut controller = AdaptiveConnections::new(16);
        assert_eq!(run(&mut controller, 2, |connections| f64::from(connections) * 8e6)[..4], [2, 4, 8, 16]);
        assert_eq!(controller.target(), 16);
    }

    #[test]
    fn a_full_pipe_is_left_with_one_connection_most_of_the_time() {
        let targets = run(&mut AdaptiveConnections::new(16), 120, |_| 1e9);
        let extra = targets.iter().filter(|target| **target > 1).count();
        assert!(extra * 20 <= targets.len(), "{extra} of {}", targets.len());
    }

    #[test]
    fn a_shared_bottleneck_is_filled_and_not_overfilled() {
        let mut controller = AdaptiveConnections::new(64);
        run(&mut controller, 1, |connections| (f64::from(connections) * 10e6).min(45e6));
        let targets = run(&mut controller, 60, |connections| (f64::from(connections) * 10e6).min(45e6));
        assert!(targets.iter().filter(|target| (4..=8).contains(*target)).count() * 10 >= targets.len() * 9);
    }

    #[test]
    fn pushback_halves_once_per_event_and_then_regrows_by_one() {
        let mut controller = AdaptiveConnections::starting_at(16, 16);
        let at = Duration::from_secs(100);
        for _ in 0..16 {
            controller.push_back(at);
        }
        assert_eq!(controller.target(), 8);
        assert_eq!(controller.push_back(at + Duration::from_secs(2)), 4);
        let sample = |connections| Sample {
            connections,
            bytes: u64::from(connections) * 1_000_000,
            elapsed: Duration::from_secs(1),
        };
        assert_eq!(controller.observe(at + Duration::from_secs(3), sample(4)), 4);
        assert_eq!(controller.observe(at + Duration::from_secs(8), sample(4)), 5);
        assert_eq!(controller.observe(at + Duration::from_secs(9), sample(5)), 6);
    }

    #[test]
    fn a_sample_of_an_unfinished_step_teaches_nothing() {
        let mut controller = AdaptiveConnections::starting_at(4, 16);
        let sample = Sample { connections: 3, bytes: 1, elapsed: Duration::from_secs(1) };
        assert_eq!(controller.observe(Duration::from_secs(1), sample), 4);
    }

    proptest! {
        #[test]
        fn the_target_stays_between_one_and_the_ceiling(
            ceiling in 0_u32..100,
            events in prop::collection::vec((0_u8..4, 0_u64..u64::MAX, 0_u64..10_000), 0..200),
        ) {
            let mut controller = AdaptiveConnections::new(ceiling);
            let mut now = Duration::ZERO;
            for (kind, bytes, milliseconds) in events {
                now += Duration::from_millis(milliseconds);
                let elapsed = Duration::from_millis(milliseconds);
                match kind {
                    0 => drop(controller.push_back(now)),
                    1 => controller.set_ceiling(ceiling),
                    _ => drop(controller.observe(now, Sample { connections: controller.target(), bytes, elapsed })),
                }
                prop_assert!((1..=ceiling.max(1)).contains(&controller.target()));
            }
        }
    }
}
