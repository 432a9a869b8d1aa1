//! `[streams]`: subscriptions to the log, and the streams over HTTP that rest on them.

use std::time::Duration;

use serde::Deserialize;

use super::value::{KIB, MIB, duration, number};

const MIN_BYTES: u64 = 64 * KIB;
const MAX_BYTES: u64 = 256 * MIB;
const MAX_TAIL: u64 = 4096 * MIB;
const MIN_CLIENT: u64 = 4 * KIB;
const MAX_CLIENT: u64 = 16 * MIB;

/// `[streams]`: how the log is followed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// The most open streams over HTTP: 0 to 1000000, default 1000; more are refused.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub max_open: usize,
    /// The most of one key or token's subject, or of one address where there is neither: 0 to
    /// 1000000, default 100.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub max_per_caller: usize,
    /// How long a stream is silent before a comment says that it lives: default 15s.
    #[serde(deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// How long a client may take nothing of what is sent before it is let go: default 60s.
    #[serde(deserialize_with = "duration")]
    pub stall_timeout: Duration,
    /// About how many bytes are gathered for one client: 4 KiB to 16 MiB, default 64 KiB.
    #[serde(deserialize_with = "number::<_, _, MIN_CLIENT, MAX_CLIENT>")]
    pub client_bytes: usize,
    /// The most events in one page that is read from the store: 1 to 10000, default 2000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub page: u32,
    /// About how many bytes a page may have: 64 KiB to 256 MiB, default 4 MiB.
    #[serde(deserialize_with = "number::<_, _, MIN_BYTES, MAX_BYTES>")]
    pub page_bytes: usize,
    /// How many subscriptions read from the store at once: 1 to 200, default 2; others wait.
    #[serde(deserialize_with = "number::<_, _, 1, 200>")]
    pub readers: usize,
    /// The newest events that are kept for all subscriptions: 1 to 1000000, default 10000.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub tail_events: usize,
    /// The most bytes of those: 64 KiB to 4 GiB, default 32 MiB.
    #[serde(deserialize_with = "number::<_, _, MIN_BYTES, MAX_TAIL>")]
    pub tail_bytes: usize,
    /// The pause between two looks at the log's end after there was something: default 10ms.
    #[serde(deserialize_with = "duration")]
    pub poll_min: Duration,
    /// The pause to which looks that find nothing slow down: default 500ms.
    #[serde(deserialize_with = "duration")]
    pub poll_max: Duration,
    /// The longest pause between two tries while the store cannot be read: default 5s.
    #[serde(deserialize_with = "duration")]
    pub retry_max: Duration,
}

impl StreamSettings {
    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.poll_min > self.poll_max {
            let most = humantime::format_duration(self.poll_max);
            let message = format!("must be at most `streams.poll_max`, {most}");
            return Err(("poll_min", message));
        }
        Ok(())
    }
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_open: 1000,
            max_per_caller: 100,
            heartbeat: Duration::from_secs(15),
            stall_timeout: Duration::from_mins(1),
            client_bytes: 64 * 1024,
            page: 2000,
            page_bytes: 4 * 1024 * 1024,
            readers: 2,
            tail_events: 10_000,
            tail_bytes: 32 * 1024 * 1024,
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_millis(500),
            retry_max: Duration::from_secs(5),
        }
    }
}
