//! `[projections]`: how read models are kept up to date.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::value::{KIB, MIB, duration, number, word};

const MIN_BATCH: u64 = 64 * KIB;
const MAX_BATCH: u64 = 256 * MIB;

/// `[projections]`: how read models are kept up to date.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionSettings {
    /// How the directory of users is kept; default `async`.
    pub user_directory: Kept,
    /// The most events in one transaction: 1 to 10000, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub batch_events: usize,
    /// The most bytes of events in one transaction: 64 KiB to 256 MiB, default 4 MiB.
    #[serde(deserialize_with = "number::<_, _, MIN_BATCH, MAX_BATCH>")]
    pub batch_bytes: usize,
    /// The longest that one transaction may take: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub batch_timeout: Duration,
    /// How long a process that has died keeps the others from taking over: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// The longest pause between two looks at the log: up to a day, default 200ms.
    #[serde(deserialize_with = "duration")]
    pub poll: Duration,
    /// How long events are gathered before the next look at the log, unless a reader waits for
    /// them: up to a day, default 25ms.
    #[serde(deserialize_with = "duration")]
    pub gather: Duration,
    /// The longest pause between two tries after a failure: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub retry: Duration,
    /// The longest that a read may wait for a position: up to a day, default 5s.
    #[serde(deserialize_with = "duration")]
    pub max_wait: Duration,
    /// How long a read model is kept after another took its place, for the reads that are under
    /// way: up to a day, default 1m.
    #[serde(deserialize_with = "duration")]
    pub keep_replaced: Duration,
}

impl Default for ProjectionSettings {
    fn default() -> Self {
        Self {
            user_directory: Kept::Async,
            batch_events: 1000,
            batch_bytes: 4 * 1024 * 1024,
            batch_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            poll: Duration::from_millis(200),
            gather: Duration::from_millis(25),
            retry: Duration::from_secs(10),
            max_wait: Duration::from_secs(5),
            keep_replaced: Duration::from_mins(1),
        }
    }
}

/// How a read model is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Not by this process.
    Off,
    /// Soon after the events, in transactions of its own.
    Async,
    /// With the events, in the append's own transaction: it is never behind, and appends take longer.
    Inline,
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(
            from,
            &[
                ("async", Self::Async),
                ("inline", Self::Inline),
                ("off", Self::Off),
            ],
        )
    }
}
