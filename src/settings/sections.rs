//! The sections that are only values: `journal`, `runtime`, `log` and `iam`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::cores;
use super::value::{KIB, MIB, UNLIMITED, duration, log_filter, number, word};

const MIN_BATCH: u64 = 64 * KIB;
const MAX_BATCH: u64 = 256 * MIB;

/// `[journal]`: how many commits are written together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The most events in one batch: 1 to 10000, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub max_events: usize,
    /// The most bytes of events in one batch: 64 KiB to 256 MiB, default 8 MiB.
    #[serde(deserialize_with = "number::<_, _, MIN_BATCH, MAX_BATCH>")]
    pub max_bytes: usize,
    /// How long the journal tries to learn the outcome of a batch whose answer was lost, before
    /// its callers are told that it is unknown: up to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub resolve_timeout: Duration,
    /// How often the journal looks for events that other programs have stored without a position,
    /// on PostgreSQL: up to a day, default 200ms.
    #[serde(deserialize_with = "duration")]
    pub foreign_poll: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            max_events: 1000,
            max_bytes: 8 * 1024 * 1024,
            resolve_timeout: Duration::from_mins(1),
            foreign_poll: Duration::from_millis(200),
        }
    }
}

/// `[runtime]`: live aggregates and their limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSettings {
    /// The most live aggregates on this node: at least 1, default 100000.
    #[serde(deserialize_with = "number::<_, _, 1, UNLIMITED>")]
    pub max_live: usize,
    /// The most unanswered commands on this node: at least 1, default 10000.
    #[serde(deserialize_with = "number::<_, _, 1, UNLIMITED>")]
    pub max_in_flight: usize,
    /// How long a stopping node may take to answer what it took: up to a day, default 30s.
    #[serde(deserialize_with = "duration")]
    pub shutdown_timeout: Duration,
    /// Threads that run aggregates: 0 to 1024, default 0, which is one for each core.
    #[serde(deserialize_with = "number::<_, _, 0, 1024>")]
    pub arbiters: usize,
    /// How often a command is decided again after a conflict: 0 to 1000, default 32.
    #[serde(deserialize_with = "number::<_, _, 0, 1000>")]
    pub conflict_retries: u32,
    /// The most events of one command: 1 to 10000, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub max_command_events: usize,
    /// The most bytes of one command's events: 1 KiB to 256 MiB, default 8 MiB.
    #[serde(deserialize_with = "number::<_, _, KIB, MAX_BATCH>")]
    pub max_command_bytes: usize,
    /// Events in one page while an aggregate is recovered: 1 to 10000, default 256.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub recovery_page: usize,
}

impl RuntimeSettings {
    /// The threads that run aggregates, with 0 resolved to the number of cores.
    #[must_use]
    pub fn arbiters(&self) -> usize {
        if self.arbiters == 0 {
            cores()
        } else {
            self.arbiters
        }
    }
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            max_live: 100_000,
            max_in_flight: 10_000,
            shutdown_timeout: Duration::from_secs(30),
            arbiters: 0,
            conflict_retries: 32,
            max_command_events: 1000,
            max_command_bytes: 8 * 1024 * 1024,
            recovery_page: 256,
        }
    }
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The directives of `tracing_subscriber::EnvFilter`; default `info`.
    #[serde(deserialize_with = "log_filter")]
    pub filter: String,
    /// `text` for people or `json` for programs; default `text`.
    pub format: LogFormat,
    /// The most lines a second of one place in the code: 0 to 1000000, default 100; 0 is no limit.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub lines_per_second: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            lines_per_second: 100,
        }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object for programs.
    Json,
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(from, &[("text", Self::Text), ("json", Self::Json)])
    }
}

/// `[iam]`: the hashing of passwords.
///
/// The defaults of Argon2id are OWASP's: 19 MiB, two iterations, one lane.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IamSettings {
    /// Hashings at the same time: 0 to 1024, default 0, which is half the cores, at least one.
    #[serde(deserialize_with = "number::<_, _, 0, 1024>")]
    pub hash_concurrency: usize,
    /// Hashings that may wait for their turn: at least 0, default 64; more are refused.
    #[serde(deserialize_with = "number::<_, _, 0, UNLIMITED>")]
    pub hash_queue: usize,
    /// The memory of one hashing, in KiB: 8 to 1048576 and 8 for each lane, default 19456.
    #[serde(deserialize_with = "number::<_, _, 8, 1_048_576>")]
    pub argon2_memory_kib: u32,
    /// Passes over the memory: 1 to 100, default 2.
    #[serde(deserialize_with = "number::<_, _, 1, 100>")]
    pub argon2_iterations: u32,
    /// Lanes of one hashing: 1 to 64, default 1.
    #[serde(deserialize_with = "number::<_, _, 1, 64>")]
    pub argon2_parallelism: u32,
}

impl IamSettings {
    /// The hashings at the same time, with 0 resolved to half the cores, at least one.
    #[must_use]
    pub fn hash_concurrency(&self) -> usize {
        if self.hash_concurrency == 0 {
            (cores() / 2).max(1)
        } else {
            self.hash_concurrency
        }
    }

    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        // Argon2 needs eight blocks of 1 KiB for each lane (RFC 9106, section 3.1).
        let least = 8 * self.argon2_parallelism;
        if self.argon2_memory_kib < least {
            let message =
                format!("must be at least 8 for each lane of `iam.argon2_parallelism`, so {least}");
            return Err(("argon2_memory_kib", message));
        }
        Ok(())
    }
}

impl Default for IamSettings {
    fn default() -> Self {
        Self {
            hash_concurrency: 0,
            hash_queue: 64,
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            argon2_parallelism: 1,
        }
    }
}
