//! The one connection that writes.

use std::{fs::File, sync::Arc};

use sqlx::{
    ConnectOptions as _, Connection as _, Error, SqliteConnection, sqlite::SqliteConnectOptions,
};

use super::{errors::is_busy, state::Look};
use crate::store::{doubt::Doubt, models::AppendHook};

/// The writing connection between two uses, and what it takes to open another.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// Absent while it is used, and after it broke.
    connection: Option<SqliteConnection>,
    closed: bool,
    /// Whether a row is in another form than ours.
    doubt: Doubt,
    /// Held for its lock, until the last write is done.
    lock: Option<File>,
}

impl Writer {
    pub(super) fn new(
        options: SqliteConnectOptions,
        connection: SqliteConnection,
        lock: Option<File>,
    ) -> Self {
        Self {
            options,
            connection: Some(connection),
            closed: false,
            doubt: Doubt::default(),
            lock,
        }
    }

    /// Takes the connection out, a new one where there is none: so what panics or is cut off
    /// takes its open transaction with it.
    pub(super) async fn take(&mut self) -> Result<WriteConnection, Error> {
        if self.closed {
            return Err(Error::PoolClosed);
        }
        let inner = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(WriteConnection {
            inner,
            open: false,
            broken: false,
            doubt: self.doubt,
            hook: None,
        })
    }

    /// Keeps the connection for the next use, unless its state is not known.
    pub(super) fn put_back(&mut self, connection: WriteConnection) {
        self.doubt = connection.doubt;
        if !connection.broken {
            self.connection = Some(connection.inner);
        }
    }

    pub(super) async fn close(&mut self) {
        self.closed = true;
        if let Some(connection) = self.connection.take() {
            // What could fail is only tidying up, which the next to open the file does.
            let _ = connection.close().await;
        }
        self.lock = None;
    }
}

/// The writing connection in use.
#[derive(Debug)]
pub(super) struct WriteConnection {
    pub(super) inner: SqliteConnection,
    /// Whether a transaction is open.
    open: bool,
    /// Whether a transaction may be open that cannot be ended.
    broken: bool,
    doubt: Doubt,
    /// What is done in the transaction of an append.
    pub(super) hook: Option<Arc<dyn AppendHook>>,
}

impl WriteConnection {
    /// When the next batch looks at rows.
    pub(super) const fn look(&mut self) -> Look {
        if self.doubt.next() {
            Look::First
        } else {
            Look::Writing
        }
    }

    /// Notes that rows had to be looked at first.
    pub(super) const fn in_doubt(&mut self) {
        self.doubt.arise();
    }

    /// Begins a transaction that holds the database's write lock from the start: so it never
    /// finds its view outdated half-way.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let begun = self.run("begin immediate").await;
        self.begun(begun)
    }

    /// Notes whether a transaction was begun. Where another process writes, none was; where it
    /// failed otherwise, nobody knows.
    pub(super) fn begun<T>(&mut self, begun: Result<T, Error>) -> Result<T, Error> {
        match &begun {
            Ok(_) => self.open = true,
            Err(error) => self.broken |= !is_busy(error),
        }
        begun
    }

    /// Begins a transaction that only reads.
    pub(super) async fn begin_read(&mut self) -> Result<(), Error> {
        let begun = self.run("begin").await;
        self.begun(begun)
    }

    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        self.run("commit").await?;
        self.committed();
        Ok(())
    }

    /// Notes that the transaction is committed.
    pub(super) const fn committed(&mut self) {
        self.open = false;
    }

    /// Undoes a transaction. Where that fails the connection is given up, and SQLite undoes it
    /// when it is closed.
    pub(super) async fn rollback(&mut self) {
        if std::mem::take(&mut self.open) {
            self.broken |= self.run("rollback").await.is_err();
        }
    }

    // Plain statements: sqlx's own transactions would be rolled back on drop, unseen.
    async fn run(&mut self, statement: &'static str) -> Result<(), Error> {
        sqlx::query(statement).execute(&mut self.inner).await?;
        Ok(())
    }
}
