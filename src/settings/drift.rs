//! `[drift]`: how a server holds rows against their events while it serves.

use std::time::Duration;

use serde::Deserialize;

use super::value::{duration, flag, number};

/// `[drift]`: the look for rows that do not agree with their events, of types in `dual-write`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// Whether it is looked for at all: default true.
    #[serde(deserialize_with = "flag")]
    pub watch: bool,
    /// The pause between two looks: up to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// How many aggregates of each type one look compares, the next going on after them: 1 to
    /// 100000, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, 100_000>")]
    pub batch: u32,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            watch: true,
            interval: Duration::from_mins(1),
            batch: 1000,
        }
    }
}
