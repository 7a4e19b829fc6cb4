//! One rate as a virtual clock (GCRA, ITU-T I.371): a single number says when the bytes granted so far are paid for.

/// Credit that may pile up while nobody asks or a timer fires late: 40 ms of the rate.
const BURST_NS: u64 = 40_000_000;

/// One grant covers about this much time, so that a change of limits or tasks is felt within it.
const QUANTUM_NS: u64 = 20_000_000;

/// Grants below this size are not worth a wake-up even at the lowest rates.
const SMALLEST_QUANTUM: u64 = 1024;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// A byte rate and the instant until which its bytes are granted. Integer nanoseconds throughout: no drift.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    paid_until_ns: u64,
}

impl Bucket {
    /// `bytes_per_second` is at least one.
    pub(super) fn new(bytes_per_second: u64, now_ns: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_until_ns: now_ns }
    }

    /// Changes the rate from now on. What is owed at the old rate, at most one quantum, is forgiven.
    pub(super) fn set_rate(&mut self, bytes_per_second: u64, now_ns: u64) {
        self.bytes_per_second = bytes_per_second.max(1);
        self.paid_until_ns = self.paid_until_ns.min(now_ns);
    }

    /// When the next grant may be made.
    pub(super) fn ready_at_ns(&self) -> u64 {
        self.paid_until_ns
    }

    /// The most one grant should be: 20 ms of the rate.
    pub(super) fn quantum(&self) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * u128::from(QUANTUM_NS) / NS_PER_SECOND;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(SMALLEST_QUANTUM)
    }

    pub(super) fn charge(&mut self, bytes: u64, now_ns: u64) {
        let credit_from = now_ns.saturating_sub(BURST_NS);
        self.paid_until_ns = self.paid_until_ns.max(credit_from).saturating_add(self.cost_ns(bytes));
    }

    /// Takes back a charge whose bytes were not used.
    pub(super) fn refund(&mut self, bytes: u64) {
        self.paid_until_ns = self.paid_until_ns.saturating_sub(self.cost_ns(bytes));
    }

    fn cost_ns(&self, bytes: u64) -> u64 {
        let rate = u128::from(self.bytes_per_second);
        let nanoseconds = (u128::from(bytes) * NS_PER_SECOND + rate / 2) / rate;
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    /// Grants quanta whenever the bucket is ready, waking up to 5 ms late, and counts the bytes.
    fn granted_in(seconds: u64, bytes_per_second: u64) -> u64 {
        let end = seconds * 1_000_000_000;
        let mut bucket = Bucket::new(bytes_per_second, 0);
        let (mut now, mut granted, mut step) = (0_u64, 0, 0);
        while now < end {
            while bucket.ready_at_ns() <= now {
                bucket.charge(bucket.quantum(), now);
                granted += bucket.quantum();
            }
            step += 1;
            now = bucket.ready_at_ns() + (step * 7_919) % 5_000_000;
        }
        granted
    }

    #[test]
    fn keeps_every_rate_within_two_percent_over_five_seconds() {
        for rate in [50_000, 100_000, 1_000_000, 12_345_678, 1_000_000_000, 40_000_000_000] {
            let (granted, asked) = (granted_in(5, rate) as f64, (rate * 5) as f64);
            assert!((granted / asked - 1.0).abs() <= 0.02 + 1024.0 / asked, "{rate}: {granted} of {asked}");
        }
    }

    #[test]
    fn a_refund_restores_the_clock() {
        let mut bucket = Bucket::new(1_000_003, 7);
        bucket.charge(4_097, 7);
        bucket.refund(4_097);
        assert_eq!(bucket.ready_at_ns(), 7);
    }

    #[test]
    fn idle_time_earns_a_bounded_burst() {
        let mut bucket = Bucket::new(1_000_000, 0);
        let hour = 3_600_000_000_000;
        let mut burst = 0;
        while bucket.ready_at_ns() <= hour {
            bucket.charge(1_000, hour);
            burst += 1_000;
        }
        assert!(burst <= 41_000, "{burst}");
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_divide_by_zero() {
        for rate in [0, 1, u64::MAX] {
            let mut bucket = Bucket::new(rate, u64::MAX - 1);
            bucket.charge(u64::MAX, u64::MAX - 1);
            bucket.refund(u64::MAX);
            assert!(bucket.quantum() >= 1024);
        }
    }
}
