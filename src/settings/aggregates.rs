//! `[aggregates.<Type>]`: what differs for one aggregate type.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::value::{UNLIMITED, duration, number, text};

/// `[aggregates.<Type>]`: one aggregate type.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregateSettings {
    /// How the type is stored; default `event-sourced`, the only mode so far.
    pub mode: Mode,
    /// Events between two snapshots: 0 to 4294967295, default 100; 0 takes none.
    #[serde(deserialize_with = "number::<_, _, 0, MOST_EVENTS>")]
    pub snapshot_every: u32,
    /// Snapshots kept for one aggregate: 1 to 1000, default 3.
    #[serde(deserialize_with = "number::<_, _, 1, 1000>")]
    pub snapshots_kept: u32,
    /// Beside them, of each span of so many versions one snapshot is kept, for states as they
    /// were: 0 to 4294967295, default 500; 0 keeps none.
    #[serde(deserialize_with = "number::<_, _, 0, MOST_EVENTS>")]
    pub snapshot_history_every: u32,
    /// How long an aggregate stays live without a command: up to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// The most unanswered commands of one aggregate: at least 1, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, UNLIMITED>")]
    pub mailbox: usize,
}

const MOST_EVENTS: u64 = 4_294_967_295;

impl Default for AggregateSettings {
    fn default() -> Self {
        Self {
            mode: Mode::EventSourced,
            snapshot_every: 100,
            snapshots_kept: 3,
            snapshot_history_every: 500,
            idle_timeout: Duration::from_mins(1),
            mailbox: 1000,
        }
    }
}

/// How an aggregate type is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Its events are the truth.
    EventSourced,
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match text(from, "\"event-sourced\"")?.as_str() {
            "event-sourced" => Ok(Self::EventSourced),
            planned @ ("dual-write" | "state-only") => Err(D::Error::custom(format_args!(
                "must be \"event-sourced\": the mode \"{planned}\" is not available yet"
            ))),
            _ => Err(D::Error::custom("must be \"event-sourced\"")),
        }
    }
}
