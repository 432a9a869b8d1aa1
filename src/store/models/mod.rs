//! Read models beside the log: transactions in its database, and the ledger of who builds what.
//!
//! A projection's rows and its checkpoint commit together, so a read model lives in the database
//! of the log and its projection writes through a [`ModelTx`]. The ledger is what all read
//! models share: leases with epochs, checkpoints, generations, parked events. This folder and
//! the SQL adapters know sqlx; who runs a projection does not.
//!
//! Invariants: a transaction that is dropped leaves nothing, for its connection is closed; a
//! checkpoint moves only from where its writer thinks it is, and only while its writer's lease
//! is held and has not expired by the database's clock.

mod error;
mod generations;
mod hook;
mod ledger;
mod memory;
mod sql;

use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::{PgConnection, SqliteConnection};

pub use error::ModelError;
pub use generations::{Generation, ParkedEvent, Stopped};
pub use hook::AppendHook;
pub(super) use hook::HookSlot;
pub use ledger::{Epoch, Lease};
pub use memory::{MemoryModels, MemoryTables};

/// Which kind of database read models live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Maps in memory.
    Memory,
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A transaction in the database of the log, as a read model sees it.
///
/// It is begun and ended by whoever hands it out: never send `begin`, `commit` or `rollback`.
#[derive(Debug)]
pub enum ModelTx<'t> {
    /// Maps in memory, for tests.
    Memory(&'t mut MemoryTables),
    /// A connection to SQLite, in a transaction.
    Sqlite(&'t mut SqliteConnection),
    /// A connection to PostgreSQL, in a transaction.
    Postgres(&'t mut PgConnection),
}

impl ModelTx<'_> {
    /// Which kind of database it is.
    #[must_use]
    pub const fn kind(&self) -> ModelKind {
        match self {
            Self::Memory(_) => ModelKind::Memory,
            Self::Sqlite(_) => ModelKind::Sqlite,
            Self::Postgres(_) => ModelKind::Postgres,
        }
    }

    /// The same transaction for somebody else to use in between.
    pub const fn reborrow(&mut self) -> ModelTx<'_> {
        match self {
            Self::Memory(tables) => ModelTx::Memory(tables),
            Self::Sqlite(connection) => ModelTx::Sqlite(connection),
            Self::Postgres(connection) => ModelTx::Postgres(connection),
        }
    }
}

/// A transaction that is open. Dropped, it leaves nothing.
#[async_trait]
pub trait ModelTransaction: Debug + Send {
    /// The transaction for a read model's use.
    fn tx(&mut self) -> ModelTx<'_>;

    /// Makes all of it durable and visible at once.
    ///
    /// # Errors
    /// [`ModelError`]; whether it is committed is then not known, and the checkpoint tells.
    async fn commit(self: Box<Self>) -> Result<(), ModelError>;

    /// Undoes all of it, and keeps the connection for the next.
    async fn rollback(self: Box<Self>);
}

/// Where the read models of a log live: its own database.
#[async_trait]
pub trait ReadModels: Debug + Send + Sync {
    /// Which kind of database it is.
    fn kind(&self) -> ModelKind;

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`].
    async fn begin(&self) -> Result<Box<dyn ModelTransaction>, ModelError>;

    /// Has a hook called in every append of this handle from now on; none, where there is none.
    /// False where appends here have no transaction that a hook can join.
    fn set_append_hook(&self, hook: Option<Arc<dyn AppendHook>>) -> bool {
        hook.is_none()
    }

    /// Begins a transaction that only reads: all its statements see the same moment.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`].
    async fn snapshot(&self) -> Result<Box<dyn ModelTransaction>, ModelError>;
}
