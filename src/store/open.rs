//! Opens the store that the settings name.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    EventStore,
    memory::MemoryStore,
    postgres::{self, PostgresOptions, PostgresStore},
    sqlite::{self, Flush, SqliteOptions, SqliteStore},
};
use crate::{
    domain::error_chain,
    settings::{StoreKind, StoreSettings, Writers},
};

/// Why the store that the settings name cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is a SQLite database.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// It is a PostgreSQL database.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// Only PostgreSQL keeps functions.
    #[error("there are SQL functions for PostgreSQL only")]
    NoFunctions,
}

impl OpenError {
    /// Whether it may be opened later: the database cannot be reached, or refuses for now.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Postgres(postgres::OpenError::Unreachable(_)))
    }
}

/// The pause after the first try, which doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// As [`open`], and waits for a database that cannot be reached, for as long as the settings say.
///
/// # Errors
/// As [`open`]; at once where waiting does not help.
pub async fn open_patiently(settings: &StoreSettings) -> Result<Arc<dyn EventStore>, OpenError> {
    let until = Instant::now() + settings.start_timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match open(settings).await {
            Ok(store) => return Ok(store),
            Err(error) if error.is_retryable() && Instant::now() + pause < until => error,
            Err(error) => return Err(error),
        };
        let reason = error_chain(&error);
        tracing::warn!(reason, ?pause, "the store cannot be opened yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Opens the store, and brings its schema to this program's where the settings allow it.
///
/// # Errors
/// [`OpenError`], which names what is wrong and no password.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn EventStore>, OpenError> {
    connect(
        settings,
        sqlite_options(settings),
        postgres_options(settings),
    )
    .await
}

/// Opens the store for reading alone: its schema must be this program's, nothing is written,
/// and it may be done beside a server that has the store for itself.
///
/// # Errors
/// As [`open`].
pub async fn open_to_read(settings: &StoreSettings) -> Result<Arc<dyn EventStore>, OpenError> {
    let sqlite = SqliteOptions {
        migrate: false,
        exclusive: false,
        read_only: true,
        ..sqlite_options(settings)
    };
    let postgres = PostgresOptions {
        migrate: false,
        read_only: true,
        ..postgres_options(settings)
    };
    connect(settings, sqlite, postgres).await
}

/// Opens the store beside a server that may have it for itself, to write what is not the log: its
/// schema must be this program's. Nothing keeps a caller from appending, which that server would
/// meet as a conflict.
///
/// # Errors
/// As [`open`].
pub async fn open_beside(settings: &StoreSettings) -> Result<Arc<dyn EventStore>, OpenError> {
    let sqlite = SqliteOptions {
        migrate: false,
        exclusive: false,
        ..sqlite_options(settings)
    };
    let postgres = PostgresOptions {
        migrate: false,
        ..postgres_options(settings)
    };
    connect(settings, sqlite, postgres).await
}

async fn connect(
    settings: &StoreSettings,
    sqlite: SqliteOptions,
    postgres: PostgresOptions,
) -> Result<Arc<dyn EventStore>, OpenError> {
    let url = settings.url.expose();
    Ok(match settings.url.kind() {
        StoreKind::Memory => Arc::new(MemoryStore::new()),
        StoreKind::Sqlite => Arc::new(SqliteStore::connect(url, sqlite).await?),
        StoreKind::Postgres => Arc::new(PostgresStore::connect(url, postgres).await?),
    })
}

/// Brings the store's schema to this program's, and does nothing where it is already.
///
/// # Errors
/// As [`open`].
pub async fn migrate(settings: &StoreSettings) -> Result<(), OpenError> {
    let url = settings.url.expose();
    match settings.url.kind() {
        StoreKind::Memory => {}
        StoreKind::Sqlite => SqliteStore::migrate(url, sqlite_options(settings)).await?,
        StoreKind::Postgres => PostgresStore::migrate(url, &postgres_options(settings)).await?,
    }
    Ok(())
}

/// Adds the SQL functions with which other programs record events, or brings them up to date.
///
/// # Errors
/// As [`open`], and [`OpenError::NoFunctions`].
pub async fn add_functions(settings: &StoreSettings) -> Result<(), OpenError> {
    match settings.url.kind() {
        StoreKind::Memory | StoreKind::Sqlite => return Err(OpenError::NoFunctions),
        StoreKind::Postgres => {
            let url = settings.url.expose();
            PostgresStore::add_functions(url, &postgres_options(settings)).await?;
        }
    }
    Ok(())
}

fn sqlite_options(settings: &StoreSettings) -> SqliteOptions {
    SqliteOptions {
        readers: settings.pool,
        migrate: settings.migrate,
        connect_timeout: settings.connect_timeout,
        exclusive: settings.writers() == Writers::Exclusive,
        read_only: false,
        flush: Flush::Commit,
    }
}

const fn postgres_options(settings: &StoreSettings) -> PostgresOptions {
    PostgresOptions {
        readers: settings.pool,
        log_readers: settings.log_pool,
        migrate: settings.migrate,
        connect_timeout: settings.connect_timeout,
        statement_timeout: settings.statement_timeout,
        notify: settings.notify,
        read_only: false,
        contested_wait: settings.contested_wait,
        number_page: settings.number_page,
    }
}
