//! Read models in the log's database, on connections of their own: a long batch of a projection
//! must not hold up a read of the log, and their statements are planned as their tables need.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Error, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{PostgresOptions, lent::Lent};
use crate::store::models::{
    AppendHook, HookSlot, ModelError, ModelKind, ModelTransaction, ModelTx, ReadModels,
};

const BEGIN: &str = "begin";
/// The connection's default is read committed; all statements of a snapshot see one moment.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// The connections of read models.
#[derive(Debug, Clone)]
pub(super) struct Models {
    pool: PgPool,
    hook: HookSlot,
    connect_timeout: Duration,
    /// After it a connection without an answer is given up.
    answer_timeout: Duration,
}

impl Models {
    /// Opens no connection yet.
    pub(super) fn new(
        connect_options: PgConnectOptions,
        options: &PostgresOptions,
        answer_timeout: Duration,
        hook: HookSlot,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(options.readers.max(2))
            .acquire_timeout(options.connect_timeout)
            .connect_lazy_with(connect_options);
        Self {
            pool,
            hook,
            connect_timeout: options.connect_timeout,
            answer_timeout,
        }
    }

    pub(super) async fn close(&self) {
        // Only politeness towards the server is lost where this takes long.
        let _ = timeout(self.connect_timeout, self.pool.close()).await;
    }

    async fn open(&self, begin: &'static str) -> Result<Box<dyn ModelTransaction>, ModelError> {
        // From here on whatever is cut off closes the connection with its transaction.
        let lent = Lent::of(self.pool.acquire().await?, self.answer_timeout);
        let mut open = Open {
            lent: Some(lent),
            answer_timeout: self.answer_timeout,
        };
        open.run(begin).await?;
        Ok(Box::new(open))
    }
}

#[async_trait]
impl ReadModels for Models {
    fn kind(&self) -> ModelKind {
        ModelKind::Postgres
    }

    fn set_append_hook(&self, hook: Option<Arc<dyn AppendHook>>) -> bool {
        self.hook.set(hook);
        true
    }

    async fn begin(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        self.open(BEGIN).await
    }

    async fn snapshot(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        self.open(SNAPSHOT).await
    }
}

/// A connection in a transaction. Dropped, it is closed, and the server undoes what was begun.
#[derive(Debug)]
struct Open {
    lent: Option<Lent>,
    answer_timeout: Duration,
}

impl Open {
    async fn run(&mut self, statement: &'static str) -> Result<(), Error> {
        if let Some(lent) = &mut self.lent {
            let running = sqlx::query(statement).execute(lent.connection());
            let ran = timeout(self.answer_timeout, running).await;
            ran.unwrap_or_else(|late| Err(Error::Io(late.into())))?;
        }
        Ok(())
    }

    async fn end(&mut self, statement: &'static str) -> Result<(), Error> {
        self.run(statement).await?;
        // It is in no transaction any more, so it may serve again.
        if let Some(lent) = self.lent.take() {
            lent.give_back();
        }
        Ok(())
    }
}

#[async_trait]
impl ModelTransaction for Open {
    fn tx(&mut self) -> ModelTx<'_> {
        #[expect(
            clippy::expect_used,
            reason = "only the end takes it, and consumes all"
        )]
        let lent = self.lent.as_mut().expect("it has not ended");
        ModelTx::Postgres(lent.connection())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ModelError> {
        Ok(self.end("commit").await?)
    }

    async fn rollback(mut self: Box<Self>) {
        // What fails is only tidying up, and the connection is closed then.
        let _ = self.end("rollback").await;
    }
}
