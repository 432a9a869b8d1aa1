//! `[aggregates.<Type>]`: what differs for one aggregate type.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::value::{UNLIMITED, duration, fits, number, text};

/// `[aggregates.<Type>]`: one aggregate type.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregateSettings {
    /// How the type is stored: `event-sourced`, `dual-write` or `state-only`; default
    /// `event-sourced`.
    pub mode: Mode,
    /// The table of the type's rows in the modes that have one, with its schema where it is not on
    /// the search path; default `""`, which is the table its mapping names.
    #[serde(deserialize_with = "table_name")]
    pub state_table: String,
    /// When rows and logs that do not fit are looked for in `dual-write`, beside the traffic: `off`,
    /// `at-start`, or a time after which it is done again; default `at-start`.
    pub reconcile: Reconcile,
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
            state_table: String::new(),
            reconcile: Reconcile::AtStart,
            snapshot_every: 100,
            snapshots_kept: 3,
            snapshot_history_every: 500,
            idle_timeout: Duration::from_mins(1),
            mailbox: 1000,
        }
    }
}

/// How an aggregate type is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Its events are the truth.
    EventSourced,
    /// Its events, and beside them, in the same transaction, its row in a table of its owner's.
    DualWrite,
    /// Its row alone.
    StateOnly,
}

impl Mode {
    /// Each, with its name in the settings.
    const ALL: [Self; 3] = [Self::EventSourced, Self::DualWrite, Self::StateOnly];

    /// Its name in the settings and in what is told of a type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventSourced => "event-sourced",
            Self::DualWrite => "dual-write",
            Self::StateOnly => "state-only",
        }
    }

    /// Whether the type has rows in a state table.
    #[must_use]
    pub const fn has_rows(self) -> bool {
        !matches!(self, Self::EventSourced)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wanted = "\"event-sourced\", \"dual-write\" or \"state-only\"";
        let given = text(from, wanted)?;
        let mode = Self::ALL.into_iter().find(|mode| mode.name() == given);
        mode.ok_or_else(|| D::Error::custom(format_args!("must be {wanted}")))
    }
}

/// When rows and logs that do not fit are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconcile {
    /// Only where one is asked for.
    Off,
    /// Once after each start.
    AtStart,
    /// After each start, and again so long after each look.
    Every(Duration),
}

impl<'de> Deserialize<'de> for Reconcile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wanted = "\"off\", \"at-start\" or a time with its unit, like \"1h\"";
        match text(from, wanted)?.as_str() {
            "off" => Ok(Self::Off),
            "at-start" => Ok(Self::AtStart),
            given => {
                let every = humantime::parse_duration(given).ok();
                let every = every.filter(|every| fits(*every));
                let every = every.map(Self::Every);
                every.ok_or_else(|| D::Error::custom(format_args!("must be {wanted}")))
            }
        }
    }
}

/// A table's name, or nothing. It is quoted where it is used, so any character will do but the one
/// that ends a string in C.
fn table_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let wanted = "the name of a table, like \"sys_user\" or \"admin.sys_user\"";
    let given = text(from, wanted)?;
    let parts: Vec<&str> = given.split('.').collect();
    let is_name = |part: &&str| !part.is_empty() && part.len() <= LONGEST_NAME;
    let fits = parts.len() <= 2 && parts.iter().all(is_name) && !given.contains('\0');
    if given.is_empty() || fits {
        return Ok(given);
    }
    Err(D::Error::custom(format_args!("must be {wanted}")))
}

/// The longest name in bytes: PostgreSQL cuts longer ones (`NAMEDATALEN`).
const LONGEST_NAME: usize = 63;
