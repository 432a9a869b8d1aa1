//! Opening a database: its options, its lock and its connections.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::Instant};

use super::{Shared, SqliteStore, schema, writer::Writer};
use crate::store::{Cause, Hints, models::HookSlot};

/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long another process may still hold the database before it counts as in use.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// More than there are statements, each with up to 64 numbers of rows; where several tables of others
/// are written, those least used are prepared again.
const STATEMENT_CACHE: usize = 1024;

/// After how many pages of the write-ahead log they are moved into the database: 32 MiB. A page
/// that is written many times is moved once; in batches of 64 that was 12 to 30 % more events a
/// second than with SQLite's default of 1,000 pages, on a busy machine.
const CHECKPOINT_PAGES: &str = "8000";

/// The writer's page cache in KiB, negative as SQLite asks: streams are written in no order, so
/// the index of their versions should stay in memory.
const WRITER_CACHE: &str = "-32768";

/// How to open an SQLite store.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// How many connections read at most, from 1.
    pub readers: u32,
    /// Whether to create the database and apply missing migrations.
    pub migrate: bool,
    /// How long to wait for the database when opening it, and for a free reader later.
    pub connect_timeout: Duration,
    /// Whether to refuse a database that another exclusive store has open, in any process.
    pub exclusive: bool,
    /// Whether every write is refused: what only reads may do so beside an exclusive store.
    pub read_only: bool,
    /// When commits are flushed.
    #[doc(hidden)]
    pub flush: Flush,
}

/// When a commit is flushed to the disk.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Before it is answered.
    Commit,
    /// Never for data: some time after it was answered (`synchronous = NORMAL`), so a crash of the
    /// machine takes back what was acknowledged. It is there to see that the check of flushes can
    /// fail, and no setting reaches it (docs/decisions/0026).
    Later,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            migrate: true,
            connect_timeout: Duration::from_secs(10),
            exclusive: true,
            read_only: false,
            flush: Flush::Commit,
        }
    }
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no database file.
    #[error("the store's URL names no SQLite database file")]
    InvalidUrl(#[source] Cause),
    /// Another exclusive store has it open.
    #[error(
        "the database {database} is in use by another process: it has one writer, unless each has \
         `store.writers` set to \"shared\""
    )]
    InUse {
        /// The name of the database file.
        database: String,
    },
    /// It cannot be opened.
    #[error("the database {database} cannot be opened")]
    Unreachable {
        /// The name of the database file.
        database: String,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// Its schema is not this program's, and is not to be migrated or cannot be.
    #[error("the schema of the database {database} is not this program's: {difference}")]
    NotMigrated {
        /// The name of the database file.
        database: String,
        /// What is different.
        difference: String,
    },
    /// A migration failed; those before it are applied.
    #[error("the database {database} could not be migrated")]
    Migration {
        /// The name of the database file.
        database: String,
        /// Why not.
        #[source]
        cause: Cause,
    },
}

pub(super) async fn open(url: &str, options: SqliteOptions) -> Result<SqliteStore, OpenError> {
    let file = database_file(url)?;
    let path = file.get_filename().to_owned();
    let database = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let wait = options.connect_timeout;
    let opened = tokio::time::timeout(wait, open_file(file, &path, &database, options)).await;
    opened.unwrap_or_else(|elapsed| {
        Err(OpenError::Unreachable {
            database,
            cause: elapsed.into(),
        })
    })
}

fn database_file(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    // Each connection to memory would be a database of its own.
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(OpenError::InvalidUrl(
            "a database in memory is none that several connections share".into(),
        ));
    }
    if !url.starts_with("sqlite:") {
        return Err(OpenError::InvalidUrl(
            "it does not begin with sqlite:".into(),
        ));
    }
    let file =
        SqliteConnectOptions::from_str(url).map_err(|error| OpenError::InvalidUrl(error.into()))?;
    if file.get_filename().file_name().is_none() {
        return Err(OpenError::InvalidUrl("the path is empty".into()));
    }
    Ok(file)
}

async fn open_file(
    file: SqliteConnectOptions,
    path: &Path,
    database: &str,
    options: SqliteOptions,
) -> Result<SqliteStore, OpenError> {
    let named = || database.to_owned();
    let unreachable = |cause: Cause| OpenError::Unreachable {
        database: named(),
        cause,
    };
    if !options.migrate && !path.exists() {
        return Err(unreachable("there is no such file".into()));
    }
    let lock = if options.exclusive {
        Some(lock(path, database).await?)
    } else {
        None
    };
    let file = with_pragmas(file, options.flush);
    let to_write = file
        .clone()
        .create_if_missing(options.migrate)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE)
        // What a statement needs to undo itself goes to memory, not to a file.
        .pragma("temp_store", "memory")
        .pragma("query_only", if options.read_only { "on" } else { "off" });
    let mut connection = to_write
        .connect()
        .await
        .map_err(|error| unreachable(error.into()))?;
    let difference = if options.migrate {
        schema::migrate(&mut connection).await
    } else {
        schema::difference(&mut connection)
            .await
            .map_err(Into::into)
    };
    let difference = difference.map_err(|error| OpenError::Migration {
        database: named(),
        cause: error.into(),
    })?;
    if let Some(difference) = difference {
        return Err(OpenError::NotMigrated {
            database: named(),
            difference: difference.to_string(),
        });
    }
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(options.connect_timeout)
        // Connections to a file do not go stale, and a new one has nothing prepared.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(file.read_only(true));
    let writer = Writer::new(to_write.create_if_missing(false), connection, lock);
    Ok(SqliteStore {
        shared: Arc::new(Shared {
            writer: Arc::new(Mutex::new(writer)),
            readers,
            hints: Hints::default(),
            hook: HookSlot::default(),
        }),
    })
}

fn with_pragmas(file: SqliteConnectOptions, flush: Flush) -> SqliteConnectOptions {
    // In WAL, NORMAL may lose what was committed when the power fails.
    let synchronous = match flush {
        Flush::Commit => SqliteSynchronous::Full,
        Flush::Later => SqliteSynchronous::Normal,
    };
    file.journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(false)
        .shared_cache(false)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging()
}

/// Locks the file beside the database. The operating system lets go of it when the process
/// ends, however it ends; SQLite's own locks end with each transaction. A process that was killed
/// takes a moment to be gone, and whoever starts it again at once should not be refused.
async fn lock(path: &Path, database: &str) -> Result<File, OpenError> {
    let unreachable = |error: std::io::Error| OpenError::Unreachable {
        database: database.to_owned(),
        cause: error.into(),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(name);
    let file = opened.map_err(unreachable)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    database: database.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unreachable(error)),
        }
    }
}
