//! A distribution: how many values were at most each bound.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::exposition::Samples;

/// Counts values by size; recording one is two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// What of the recorded unit makes one of the shown.
    per_shown: f64,
    /// One for each bound, and one for what is over the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Upper bounds for what takes microseconds to seconds, in microseconds.
const DURATIONS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Upper bounds for the sizes of batches.
const SIZES: &[u64] = &[
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000,
];

impl Histogram {
    /// Of times, shown in seconds and kept in microseconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATIONS_US, 1e6)
    }

    /// Of sizes.
    #[must_use]
    pub fn of_sizes() -> Self {
        Self::new(SIZES, 1.0)
    }

    fn new(bounds: &'static [u64], per_shown: f64) -> Self {
        Self {
            bounds,
            per_shown,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Records a value.
    pub fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Records a time.
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(load).sum()
    }

    /// The sum of all values, in the unit in which they were recorded.
    #[must_use]
    pub fn sum(&self) -> u64 {
        load(&self.sum)
    }

    /// Writes its samples; the count is that of the buckets, so the two never disagree.
    pub(super) fn write(&self, samples: &mut Samples<'_>, labels: &[&str]) {
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(self.bounds) {
            count += load(bucket);
            let bound = shown(*bound, self.per_shown).to_string();
            samples.line("_bucket", labels, Some(&bound), &count.to_string());
        }
        let count = self.count().max(count);
        samples.line("_bucket", labels, Some("+Inf"), &count.to_string());
        let sum = shown(self.sum(), self.per_shown);
        samples.line("_sum", labels, None, &sum.to_string());
        samples.line("_count", labels, None, &count.to_string());
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "past 2^53 microseconds a sum is shown rounded"
)]
fn shown(value: u64, per_shown: f64) -> f64 {
    value as f64 / per_shown
}
