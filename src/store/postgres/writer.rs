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

use super::{
    ANSWER_GRACE, PostgresOptions, connect,
    contested::{Contested, Turn},
    foreign::After,
    hints::Announcements,
    inserting::Ready,
    state::Catalog,
    transaction::Openings,
    writing::Writing,
};
use crate::{
    domain::StreamId,
    store::{
        AppendError, Commit, Loss, Numbering, RefusedEvent, Verdict, doubt::Doubt,
        models::HookSlot, rounds::append_in_rounds,
    },
};

/// `synchronous_commit = off` in a server's configuration would let a crash take back what was
/// acknowledged; the other values are the operator's to choose.
const DURABLE: &str = "select set_config('synchronous_commit', 'on', false) \
                       where current_setting('synchronous_commit') = 'off'";

/// Once something was in the way, the wait for it is so much shorter: the commit at fault is looked
/// for by halving the batch.
const TRIES_A_WAIT: u32 = 5;

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
    /// What is known of state tables.
    catalog: Catalog,
    openings: Arc<Openings>,
    /// Events of other programs that are numbered in one transaction.
    number_page: u32,
}

enum Slot {
    Open(Box<Idle>),
    Closed,
}

/// What lies in the slot between two appends.
#[derive(Default)]
struct Idle {
    connection: Option<PgConnection>,
    contested: Contested,
    /// Whether a claim that is taken is held by its taker.
    doubt: Doubt,
    /// Where the next look for unnumbered events begins.
    numbered_to: After,
}

impl Writer {
    pub(super) fn new(
        options: &PgConnectOptions,
        limits: &PostgresOptions,
        announcements: Arc<Announcements>,
        hook: HookSlot,
        catalog: Catalog,
    ) -> Self {
        let wait = limits.contested_wait;
        // A statement on its own waits for a program that is not dormouse just so long.
        let options = connect::waiting(options, wait);
        let openings = Openings::new(limits.statement_timeout / 2, wait / TRIES_A_WAIT);
        Self {
            slot: Arc::new(Mutex::new(Slot::Open(Box::default()))),
            options,
            connect_timeout: limits.connect_timeout,
            answer_timeout: limits.statement_timeout + ANSWER_GRACE,
            announcements,
            hook,
            catalog,
            openings: Arc::new(openings),
            number_page: limits.number_page.max(1),
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
        // Before the slot is free: so it is made while the database stores the batch before.
        let ready = Ready::of(batch, &self.catalog);
        let mut slot = self.slot.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(AppendError::Unavailable(Error::PoolClosed.into()));
        };
        let mut writing = self.writing(idle).await?;
        writing.ready = ready;
        let was_in_doubt = idle.doubt.next();
        writing.in_doubt = was_in_doubt;
        let turns = idle.contested.turns(batch);
        let verdicts = in_turn(&mut writing, batch, &turns).await;
        if let Ok(verdicts) = &verdicts {
            idle.contested.note(batch, &turns, verdicts);
        }
        if writing.in_doubt && !was_in_doubt {
            idle.doubt.arise();
        }
        if writing.sound {
            idle.connection = Some(writing.connection);
        }
        drop(slot);
        if let Ok(verdicts) = &verdicts {
            self.announcements.appended(batch, verdicts);
        }
        verdicts
    }

    /// Numbers the next page of what other programs have stored.
    pub(super) async fn number(&self) -> Result<Numbering, AppendError> {
        let writer = self.clone();
        let number = tokio::spawn(async move { writer.number_now().await });
        number
            .await
            .unwrap_or_else(|error| Err(AppendError::OutcomeUnknown(error.into())))
    }

    async fn number_now(&self) -> Result<Numbering, AppendError> {
        let mut slot = self.slot.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(AppendError::Unavailable(Error::PoolClosed.into()));
        };
        let mut writing = self.writing(idle).await?;
        let after = std::mem::take(&mut idle.numbered_to);
        let page = writing.number(&after, self.number_page).await;
        if writing.sound {
            idle.connection = Some(writing.connection);
        }
        let page = page?;
        idle.numbered_to = page.next.unwrap_or_default();
        drop(slot);
        if let Some(last) = page.numbering.last {
            self.announcements.numbered(last);
        }
        Ok(page.numbering)
    }

    /// Numbers what these streams have that is not numbered, and tells what cannot be.
    pub(super) async fn number_streams(
        &self,
        streams: Vec<StreamId>,
    ) -> Result<Vec<RefusedEvent>, AppendError> {
        let writer = self.clone();
        let number = tokio::spawn(async move { writer.number_streams_now(&streams).await });
        let numbering = number
            .await
            .unwrap_or_else(|error| Err(AppendError::OutcomeUnknown(error.into())))?;
        if let Some(last) = numbering.last {
            self.announcements.numbered(last);
        }
        Ok(numbering.refused)
    }

    async fn number_streams_now(&self, streams: &[StreamId]) -> Result<Numbering, AppendError> {
        let mut slot = self.slot.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(AppendError::Unavailable(Error::PoolClosed.into()));
        };
        let mut writing = self.writing(idle).await?;
        let streams: Vec<&StreamId> = streams.iter().collect();
        let numbering = writing.number_on_sight(&streams).await;
        if writing.sound {
            idle.connection = Some(writing.connection);
        }
        numbering
    }

    /// Takes the connection, or opens one.
    async fn writing(&self, idle: &mut Idle) -> Result<Writing, AppendError> {
        let connection = match idle.connection.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|error| AppendError::Unavailable(error.into()))?,
        };
        Ok(Writing {
            connection,
            sound: true,
            careful: false,
            answer_timeout: self.answer_timeout,
            hook: self.hook.get(),
            catalog: self.catalog.clone(),
            openings: Arc::clone(&self.openings),
            ready: None,
            in_doubt: false,
        })
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
        if let Slot::Open(idle) = slot
            && let Some(connection) = idle.connection
        {
            // Only politeness towards the server is lost where this fails or takes long.
            let _ = timeout(self.connect_timeout, connection.close()).await;
        }
    }
}

/// Appends those whose turn it is; those of contested streams by themselves, after all others.
async fn in_turn(
    writing: &mut Writing,
    batch: &[Commit],
    turns: &[Turn],
) -> Result<Vec<Verdict>, AppendError> {
    let mut verdicts: Vec<Option<Verdict>> = turns
        .iter()
        .map(|turn| (*turn == Turn::NotYet).then_some(Verdict::Lost(Loss::Contested)))
        .collect();
    let mut stored = false;
    for wanted in [Turn::Now, Turn::Alone] {
        let places: Vec<usize> = (0..batch.len())
            .filter(|place| turns[*place] == wanted)
            .collect();
        if places.is_empty() {
            continue;
        }
        writing.careful |= wanted == Turn::Alone;
        let commits: Vec<&Commit> = places.iter().map(|place| &batch[*place]).collect();
        let told = match append_in_rounds(writing, &commits).await {
            Ok(told) => told,
            Err(error) if stored => return Err(AppendError::OutcomeUnknown(error.into())),
            Err(error) => return Err(error),
        };
        stored |= told
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Committed { .. }));
        for (place, verdict) in places.into_iter().zip(told) {
            verdicts[place] = Some(verdict);
        }
    }
    Ok(verdicts.into_iter().flatten().collect())
}
