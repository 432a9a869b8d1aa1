//! Read models in the database file: they write on the one connection that writes, between two
//! appends, and read on the readers' connections.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Sqlite, pool::PoolConnection};
use tokio::sync::OwnedMutexGuard;

use super::{
    SqliteStore,
    writer::{WriteConnection, Writer},
};
use crate::store::models::{
    AppendHook, ModelError, ModelKind, ModelTransaction, ModelTx, ReadModels,
};

#[async_trait]
impl ReadModels for SqliteStore {
    fn kind(&self) -> ModelKind {
        ModelKind::Sqlite
    }

    fn set_append_hook(&self, hook: Option<Arc<dyn AppendHook>>) -> bool {
        self.shared.hook.set(hook);
        true
    }

    async fn begin(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        let mut writer = Arc::clone(&self.shared.writer).lock_owned().await;
        let mut connection = writer.take().await?;
        let begun = connection.begin().await;
        if begun.is_err() {
            writer.put_back(connection);
            begun?;
            return Err(ModelError::refused("no transaction was begun"));
        }
        Ok(Box::new(Writing { connection, writer }))
    }

    async fn snapshot(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        let connection = self.shared.readers.acquire().await?;
        let mut reading = Reading {
            connection: Some(connection),
        };
        if let Some(connection) = &mut reading.connection {
            sqlx::query("begin").execute(&mut **connection).await?;
        }
        Ok(Box::new(reading))
    }
}

/// A transaction on the writing connection. Dropped, the connection closes, and SQLite undoes it;
/// the writer opens another.
#[derive(Debug)]
struct Writing {
    connection: WriteConnection,
    writer: OwnedMutexGuard<Writer>,
}

#[async_trait]
impl ModelTransaction for Writing {
    fn tx(&mut self) -> ModelTx<'_> {
        ModelTx::Sqlite(&mut self.connection.inner)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ModelError> {
        let committed = self.connection.commit().await;
        if committed.is_err() {
            self.connection.rollback().await;
        }
        self.writer.put_back(self.connection);
        Ok(committed?)
    }

    async fn rollback(mut self: Box<Self>) {
        self.connection.rollback().await;
        self.writer.put_back(self.connection);
    }
}

/// A transaction on a reading connection. Dropped, the connection closes.
#[derive(Debug)]
struct Reading {
    connection: Option<PoolConnection<Sqlite>>,
}

impl Reading {
    async fn end(&mut self) -> Result<(), sqlx::Error> {
        if let Some(mut connection) = self.connection.take() {
            let ended = sqlx::query("rollback").execute(&mut *connection).await;
            if ended.is_err() {
                connection.close_on_drop();
            }
            ended?;
        }
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

#[async_trait]
impl ModelTransaction for Reading {
    fn tx(&mut self) -> ModelTx<'_> {
        #[expect(
            clippy::expect_used,
            reason = "only the end takes it, and consumes all"
        )]
        let connection = self.connection.as_mut().expect("it has not ended");
        ModelTx::Sqlite(connection)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ModelError> {
        Ok(self.end().await?)
    }

    async fn rollback(mut self: Box<Self>) {
        // What fails is only tidying up, and the connection is closed then.
        let _ = self.end().await;
    }
}
