//! `[rate]`: how often one caller may ask.

use std::time::Duration;

use serde::Deserialize;

use super::value::{duration, number};

/// `[rate]`: requests a second, by whom.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Requests a second of one address: 0 to 1000000, default 0, which is no limit.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub per_address: u32,
    /// Requests a second of one key or token's subject: 0 to 1000000, default 0, no limit.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub per_key: u32,
    /// How much time's requests may come at once: up to a day, default 1s.
    #[serde(deserialize_with = "duration")]
    pub burst: Duration,
    /// The most callers that are remembered: 1000 to 10000000, default 100000.
    #[serde(deserialize_with = "number::<_, _, 1000, 10_000_000>")]
    pub callers: usize,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self {
            per_address: 0,
            per_key: 0,
            burst: Duration::from_secs(1),
            callers: 100_000,
        }
    }
}
