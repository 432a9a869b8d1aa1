//! The one connection that appends, and the life of an append on it.
//!
//! An append runs in a task of its own, so that a caller who goes away never cuts a statement
//! off half way. Its connection is out of the slot while it works and comes back only when it
//! is known to be sound: whatever else happens, the next append opens another.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Error,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::{sync::Mutex, time::timeout};

use super::{hints::Announcements, writing::Writing};
use crate::store::{AppendError, Commit, Verdict, models::HookSlot, rounds::append_in_rounds};

/// `synchronous_commit = off` in a server's configuration would let a crash take back what was
/// acknowledged; the other values are the operator's to choose.
const DURABLE: &str = "select set_config('synchronous_commit', 'on', false) \
                       where current_setting('synchronous_commit') = 'off'";

/// The writing side of a store. Clones share the connection.
#[derive(Clone)]
pub(super) struct Writer {
    slot: Arc<Mutex<Slot>>,
    options: PgConnectOptions,
    connect_timeout: Duration,
    /// The server ends a statement before this; after it the connection is given up.
    answer_timeout: Duration,
    announcements: Arc<Announcements>,
    /// What is done in the transaction of each append.
    hook: HookSlot,
}

enum Slot {
    Open(Option<PgConnection>),
    Closed,
}

impl Writer {
    pub(super) fn new(
        options: PgConnectOptions,
        connect_timeout: Duration,
        answer_timeout: Duration,
        announcements: Arc<Announcements>,
        hook: HookSlot,
    ) -> Self {
        let slot = Arc::new(Mutex::new(Slot::Open(None)));
        Self {
            slot,
            options,
            connect_timeout,
            answer_timeout,
            announcements,
            hook,
        }
    }

    pub(super) async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let writer = self.clone();
        let append = tokio::spawn(async move { writer.append_now(&batch).await });
        // The task ends early only by a panic or with its runtime.
        append
            .await
            .unwrap_or_else(|error| Err(AppendError::OutcomeUnknown(error.into())))
    }

    async fn append_now(&self, batch: &[Commit]) -> Result<Vec<Verdict>, AppendError> {
        let mut slot = self.slot.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(AppendError::Unavailable(Error::PoolClosed.into()));
        };
        let connection = match idle.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|error| AppendError::Unavailable(error.into()))?,
        };
        let mut writing = Writing {
            connection,
            sound: true,
            answer_timeout: self.answer_timeout,
            hook: self.hook.get(),
        };
        let verdicts = append_in_rounds(&mut writing, batch).await;
        if writing.sound {
            *idle = Some(writing.connection);
        }
        drop(slot);
        if let Ok(verdicts) = &verdicts {
            self.announcements.appended(batch, verdicts);
        }
        verdicts
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::query(DURABLE).execute(&mut connection).await?;
            Ok(connection)
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        connected.unwrap_or(Err(Error::PoolTimedOut))
    }

    pub(super) async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Open(Some(connection)) = slot {
            // Only politeness towards the server is lost where this fails or takes long.
            let _ = timeout(self.connect_timeout, connection.close()).await;
        }
    }
}
