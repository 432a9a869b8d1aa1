//! What the process counts of itself, and the text in which Prometheus reads it.
//!
//! A count is a fixed number of atomics that whoever counts holds itself: nothing is global, so
//! several runtimes live in one process, and counting looks nothing up and allocates nothing.
//! This module knows neither what is counted nor who asks.

mod exposition;
mod histogram;

use std::sync::atomic::{AtomicU64, Ordering};

pub use exposition::{Exposition, Family, Kind};
pub use histogram::Histogram;

/// Something with figures of its own, asked for them each time the metrics are read.
///
/// It must not wait: what it tells is what it knows at that moment.
pub trait Collect: Send + Sync {
    /// Writes its families, each whole.
    fn collect(&self, exposition: &mut Exposition);
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts some more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of things, as it is counted.
#[must_use]
pub fn count_of(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}
