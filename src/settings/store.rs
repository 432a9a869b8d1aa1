//! `[store]`: where events are kept, and by whom.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::store_url::{StoreKind, StoreUrl};
use super::value::{duration, flag, number, word};

/// `[store]`: where events are kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The database; default `sqlite://dormouse.db`.
    pub url: StoreUrl,
    /// Who else may write; without it, see [`StoreSettings::writers`].
    pub writers: Option<Writers>,
    /// Connections that read: 1 to 200, default 10.
    #[serde(deserialize_with = "number::<_, _, 1, 200>")]
    pub pool: u32,
    /// Further connections that answer questions to the log, on PostgreSQL: 1 to 200, default 4.
    #[serde(deserialize_with = "number::<_, _, 1, 200>")]
    pub log_pool: u32,
    /// Whether missing migrations run at the start; default true.
    #[serde(deserialize_with = "flag")]
    pub migrate: bool,
    /// How long to wait for a connection: up to a day, default 5s.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How long a start waits for a database that cannot be reached: up to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub start_timeout: Duration,
    /// How long one statement may take: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
    /// Whether servers on one PostgreSQL tell each other of events (LISTEN and NOTIFY) instead of
    /// only looking every now and then; default true.
    #[serde(deserialize_with = "flag")]
    pub notify: bool,
    /// How long an append on PostgreSQL waits for the open transaction of another program that has
    /// stored the same version, all other commits waiting with it; from then on those of that
    /// aggregate are tried by themselves: up to a day, default 50ms.
    #[serde(deserialize_with = "duration")]
    pub contested_wait: Duration,
    /// How many events that other programs have stored are numbered in one transaction, on
    /// PostgreSQL: 1 to 10000, default 500.
    #[serde(deserialize_with = "number::<_, _, 1, 10_000>")]
    pub number_page: u32,
}

impl StoreSettings {
    /// Who may write: as set, else shared on PostgreSQL and exclusive everywhere else.
    #[must_use]
    pub fn writers(&self) -> Writers {
        let usual = match self.url.kind() {
            StoreKind::Postgres => Writers::Shared,
            StoreKind::Sqlite | StoreKind::Memory => Writers::Exclusive,
        };
        self.writers.unwrap_or(usual)
    }

    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.url.kind() == StoreKind::Postgres && self.writers() == Writers::Exclusive {
            let message =
                "must be \"shared\" on PostgreSQL: \"exclusive\" is not supported there yet";
            return Err(("writers", message.to_owned()));
        }
        Ok(())
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: StoreUrl::default(),
            writers: None,
            pool: 10,
            log_pool: 4,
            migrate: true,
            connect_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_mins(1),
            statement_timeout: Duration::from_secs(10),
            notify: true,
            contested_wait: Duration::from_millis(50),
            number_page: 500,
        }
    }
}

/// Who may write to the store while this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Only this process, so that it may read from memory.
    Exclusive,
    /// Any number of processes, so that a read asks the database for the version first.
    Shared,
}

impl<'de> Deserialize<'de> for Writers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(
            from,
            &[("exclusive", Self::Exclusive), ("shared", Self::Shared)],
        )
    }
}
