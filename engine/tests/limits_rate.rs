//! Rates, shares and changes while running, in virtual time: five seconds pass in milliseconds and exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use vasset_engine::limit::{RateLimits, TaskLimiter};

const CHUNK: usize = 256 * 1024;

/// Readers that always have data, counting what each task was granted.
#[derive(Default)]
struct Readers {
    tasks: JoinSet<()>,
    counts: Vec<Arc<AtomicU64>>,
}

impl Readers {
    /// Adds one task that reads over `connections` connections.
    fn add(&mut self, limiter: TaskLimiter, connections: usize) {
        self.add_slow(limiter, connections, Duration::from_micros(200));
    }

    /// Adds one task whose connections need `turn` for what they were granted before they ask again.
    fn add_slow(&mut self, limiter: TaskLimiter, connections: usize, turn: Duration) {
        let count = Arc::new(AtomicU64::new(0));
        for _ in 0..connections {
            let (limiter, count) = (limiter.clone(), Arc::clone(&count));
            self.tasks.spawn(async move {
                loop {
                    let granted = limiter.take(CHUNK).await;
                    count.fetch_add(granted as u64, Ordering::Relaxed);
                    sleep(turn).await;
                }
            });
        }
        self.counts.push(count);
    }

    async fn run(&self, seconds: u64) -> Vec<f64> {
        let before: Vec<u64> = self.read();
        sleep(Duration::from_secs(seconds)).await;
        self.read().iter().zip(before).map(|(after, before)| (after - before) as f64).collect()
    }

    fn read(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

fn assert_within(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual / expected - 1.0).abs() <= tolerance, "{actual} is not within {tolerance} of {expected}");
}

fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    sum * sum / (shares.len() as f64 * shares.iter().map(|share| share * share).sum::<f64>())
}

#[tokio::test(start_paused = true)]
async fn a_task_limit_holds_within_two_percent_over_five_seconds() {
    for rate in [100_000, 1_000_000, 50_000_000] {
        let limits = RateLimits::new();
        let mut readers = Readers::default();
        readers.add(limits.task("origin", Some(rate), 1), 4);
        assert_within(readers.run(5).await[0], (rate * 5) as f64, 0.02);
    }
}

#[tokio::test(start_paused = true)]
async fn every_window_of_five_seconds_holds_while_the_limit_changes_under_running_tasks() {
    let limits = RateLimits::new();
    let mut readers = Readers::default();
    for _ in 0..6 {
        readers.add(limits.task("origin", None, 1), 3);
    }
    for rate in [4_000_000, 20_000_000, 500_000, 9_000_000] {
        limits.set_global(Some(rate));
        // One quantum may have been granted at the old rate.
        readers.run(1).await;
        let shares = readers.run(5).await;
        assert_within(shares.iter().sum(), (rate * 5) as f64, 0.02);
        assert!(jain(&shares) >= 0.95, "{rate}: {shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_narrowest_of_global_host_and_task_decides() {
    let limits = RateLimits::new();
    limits.set_global(Some(9_000_000));
    limits.set_host("slow", Some(2_000_000));
    let mut readers = Readers::default();
    readers.add(limits.task("slow", None, 1), 2);
    readers.add(limits.task("slow", None, 1), 2);
    readers.add(limits.task("fast", Some(3_000_000), 1), 2);
    readers.add(limits.task("fast", None, 1), 2);
    let bytes = readers.run(5).await;
    for (actual, expected) in bytes.iter().zip([1e6, 1e6, 3e6, 4e6]) {
        assert_within(*actual, expected * 5.0, 0.05);
    }
    assert_within(bytes.iter().sum(), 45e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn equal_tasks_get_equal_shares_however_many_connections_they_open() {
    let limits = RateLimits::new();
    limits.set_global(Some(10_000_000));
    let mut readers = Readers::default();
    for connections in [1, 1, 2, 4, 8, 16, 16, 1] {
        readers.add(limits.task("origin", None, 1), connections);
    }
    let bytes = readers.run(5).await;
    assert!(jain(&bytes) >= 0.95, "{} of {bytes:?}", jain(&bytes));
    assert_within(bytes.iter().sum(), 50e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn one_connection_is_worth_as_much_as_eight_however_long_its_turns_take() {
    for turn_milliseconds in [1, 10, 20, 35, 60, 90] {
        let limits = RateLimits::new();
        limits.set_global(Some(16_000_000));
        let turn = Duration::from_millis(turn_milliseconds);
        let mut readers = Readers::default();
        readers.add_slow(limits.task("origin", None, 1), 1, turn);
        for _ in 0..7 {
            readers.add_slow(limits.task("origin", None, 1), 8, turn);
        }
        readers.run(1).await;
        let bytes = readers.run(5).await;
        assert_within(bytes[0], 10e6, 0.1);
        assert_within(bytes.iter().sum(), 80e6, 0.02);
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_tasks_share_fairly() {
    let limits = RateLimits::new();
    limits.set_global(Some(20_000_000));
    let mut readers = Readers::default();
    for _ in 0..200 {
        readers.add(limits.task("origin", None, 1), 2);
    }
    let bytes = readers.run(5).await;
    assert!(jain(&bytes) >= 0.95, "{}", jain(&bytes));
    assert_within(bytes.iter().sum(), 100e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn shares_follow_weights_and_their_changes() {
    let limits = RateLimits::new();
    limits.set_global(Some(8_000_000));
    let (light, heavy) = (limits.task("origin", None, 1), limits.task("origin", None, 3));
    let mut readers = Readers::default();
    readers.add(light.clone(), 2);
    readers.add(heavy, 2);
    let bytes = readers.run(5).await;
    assert_within(bytes[1] / bytes[0], 3.0, 0.05);
    light.set_weight(3);
    let bytes = readers.run(5).await;
    assert_within(bytes[1] / bytes[0], 1.0, 0.05);
}

#[tokio::test(start_paused = true)]
async fn an_idle_or_limited_task_leaves_its_share_to_the_others_and_hoards_nothing() {
    let limits = RateLimits::new();
    limits.set_global(Some(10_000_000));
    let held_back = limits.task("origin", Some(1_000_000), 1);
    let mut readers = Readers::default();
    readers.add(held_back.clone(), 4);
    readers.add(limits.task("origin", None, 1), 4);
    let bytes = readers.run(5).await;
    assert_within(bytes[1], 45e6, 0.03);
    held_back.set_rate(None);
    let bytes = readers.run(5).await;
    assert_within(bytes[0] / bytes[1], 1.0, 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_back_after_seconds_makes_up_for_a_quarter_of_one_at_most() {
    let limits = RateLimits::new();
    limits.set_global(Some(10_000_000));
    let returning = limits.task("origin", None, 1);
    returning.take(CHUNK).await;
    let mut readers = Readers::default();
    readers.add(limits.task("origin", None, 1), 4);
    readers.run(3).await;
    readers.add(returning, 1);
    let bytes = readers.run(1).await;
    assert!((5e6..=5e6 + 1.25e6).contains(&bytes[1]), "{bytes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_rate_is_felt_at_once_by_those_who_wait() {
    let limits = RateLimits::new();
    limits.set_global(Some(1_000_000));
    let mut readers = Readers::default();
    readers.add(limits.task("origin", None, 1), 4);
    assert_within(readers.run(5).await[0], 5e6, 0.02);
    limits.set_global(Some(4_000_000));
    assert_within(readers.run(5).await[0], 20e6, 0.02);
    limits.set_global(Some(500_000));
    assert_within(readers.run(5).await[0], 2.5e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn removing_the_limit_frees_a_reader_that_would_have_waited_for_hours() {
    let limits = RateLimits::new();
    limits.set_global(Some(1));
    let limiter = limits.task("origin", None, 1);
    limiter.take(CHUNK).await;
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(CHUNK).await }
    });
    tokio::task::yield_now().await;
    limits.set_global(None);
    let started = Instant::now();
    assert_eq!(timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap(), CHUNK);
    assert!(started.elapsed() < Duration::from_millis(50));
    assert!(!limiter.is_limited());
}

#[tokio::test(start_paused = true)]
async fn without_limits_everything_is_granted_without_waiting() {
    let limits = RateLimits::new();
    limits.set_host("elsewhere", Some(1));
    let limiter = limits.task("origin", None, 1);
    let started = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(limiter.take(CHUNK).await, CHUNK);
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(limiter.on_host("elsewhere").is_limited());
}

#[tokio::test(start_paused = true)]
async fn short_reads_of_one_connection_cost_its_task_nothing() {
    let limits = RateLimits::new();
    limits.set_global(Some(16_000_000));
    let (limiter, read) = (limits.task("origin", None, 1), Arc::new(AtomicU64::new(0)));
    let mut readers = Readers::default();
    for _ in 0..7 {
        readers.add(limits.task("origin", None, 1), 8);
    }
    readers.tasks.spawn({
        let read = Arc::clone(&read);
        async move {
            loop {
                let granted = limiter.take(CHUNK).await;
                sleep(Duration::from_millis(30)).await;
                let received = granted.min(60_000);
                limiter.refund(granted - received);
                read.fetch_add(received as u64, Ordering::Relaxed);
            }
        }
    });
    readers.counts.push(read);
    readers.run(1).await;
    let bytes = readers.run(5).await;
    assert_within(bytes[7], 10e6, 0.1);
    assert_within(bytes.iter().sum(), 80e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn unread_bytes_come_back_so_that_slow_origins_are_not_charged_twice() {
    let limits = RateLimits::new();
    limits.set_global(Some(1_000_000));
    let limiter = limits.task("origin", None, 1);
    let (mut read, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(5) {
        let granted = limiter.take(CHUNK).await;
        let received = granted.min(1_460);
        limiter.refund(granted - received);
        read += received;
    }
    assert_within(read as f64, 5e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn a_grant_nobody_collects_is_given_back() {
    let limits = RateLimits::new();
    limits.set_global(Some(1_000_000));
    let limiter = limits.task("origin", None, 1);
    for _ in 0..1_000 {
        let _ = timeout(Duration::from_millis(1), limiter.take(CHUNK)).await;
        let abandoned = limiter.take(CHUNK);
        drop(abandoned);
    }
    let mut readers = Readers::default();
    readers.add(limiter, 1);
    assert_within(readers.run(5).await[0], 5e6, 0.02);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_running_when_nobody_waits() {
    let limits = RateLimits::new();
    limits.set_global(Some(10_000));
    let limiter = limits.task("origin", None, 1);
    for _ in 0..5 {
        limiter.take(1_000).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
