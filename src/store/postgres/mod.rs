//! A store in PostgreSQL: any number of programs may share its database.
//!
//! One connection appends, so that batches follow on one another without a queue in the
//! server; a pool of others reads. This folder and the SQLite adapter are the only ones that
//! know sqlx. Invariants:
//!
//! - a batch is one statement in autocommit; it takes its positions by updating the one row of
//!   `log_head`, which serializes all writers until their commit, so positions have no gap and
//!   are in the order in which commits become visible;
//! - the unique index of streams and versions is what makes two writers of a stream safe; the
//!   look at each stream's version keeps gaps out, and tells of most conflicts early.

mod api_keys;
mod connect;
mod contested;
mod errors;
mod facts;
mod foreign;
mod hints;
mod insert;
mod inserting;
mod json_text;
mod lent;
mod log;
mod models;
mod reads;
mod roles;
mod rows;
mod sight;
mod snapshots;
mod state;
mod transaction;
mod writer;
mod writing;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

pub use errors::OpenError;

use self::{
    api_keys::ApiKeys,
    hints::Announcements,
    models::Models,
    reads::Readers,
    state::{Catalog, StateTables},
    writer::Writer,
};
use super::{
    AggregateHead, ApiKeyTable, AppendError, Commit, EventStore, LogPage, LogQuery, NotReady,
    Numbering, ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest, SnapshotRetention,
    StateRows, StoredSnapshot, Verdict,
    models::{HookSlot, ReadModels},
};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position, StreamId,
    Version,
};

/// How much longer than the server's own limit an answer may take before its connection is
/// given up: long enough for the server to undo the statement and say so.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// How a PostgreSQL database is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The most connections that read; one more appends.
    pub readers: u32,
    /// The most further connections that answer questions to the log, so that a slow one never
    /// keeps an aggregate from waking.
    pub log_readers: u32,
    /// Whether to bring the schema to this program's when the store is opened.
    pub migrate: bool,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest that a statement may run; half of it, the longest that it waits for a lock.
    pub statement_timeout: Duration,
    /// Whether to tell other programs on the database of appends, and to hear of theirs: two
    /// more connections, one while this program appends and one while it follows the log.
    pub notify: bool,
    /// Whether the server refuses every write.
    pub read_only: bool,
    /// How long an append waits for an open transaction of a program that is not dormouse, which
    /// has stored the same version; all other commits wait meanwhile. From then on, those of that
    /// aggregate are tried by themselves.
    pub contested_wait: Duration,
    /// How many events of other programs are numbered in one transaction.
    pub number_page: u32,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            readers: 10,
            log_readers: 4,
            migrate: true,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            notify: true,
            read_only: false,
            contested_wait: Duration::from_millis(50),
            number_page: 500,
        }
    }
}

/// The log and what lies beside it, in a PostgreSQL database.
///
/// ```no_run
/// use dormouse::store::postgres::{PostgresOptions, PostgresStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://app@localhost/app";
/// let store = PostgresStore::connect(url, PostgresOptions::default()).await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    writer: Writer,
    readers: Readers,
    announcements: Arc<Announcements>,
    log_readers: Readers,
    models: Models,
    state: StateTables,
    read_only: bool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fields know the password.
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store at a `postgres://` URL, once it is reached and its schema is right.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] where a retry may help; the others need an operator.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, OpenError> {
        if options.migrate {
            Self::migrate(url, &options).await?;
        } else {
            connect::reach(url, &options).await?;
        }
        let connect_options = connect::serving(url, &options)?;
        let answer_timeout = options.statement_timeout + ANSWER_GRACE;
        let readers = |connect_options, connections| {
            Readers::new(connect_options, connections, &options, answer_timeout)
        };
        let log_readers = readers(connect::querying(&connect_options), options.log_readers);
        let readers = readers(connect_options.clone(), options.readers);
        let hook = HookSlot::default();
        let catalog = Catalog::default();
        let announcements = Arc::new(Announcements::new(
            connect_options.clone(),
            options.connect_timeout,
            options.notify,
        ));
        let writer = Writer::new(
            &connect_options,
            &options,
            Arc::clone(&announcements),
            hook.clone(),
            catalog.clone(),
        );
        readers.ready().await?;
        let state = StateTables::new(readers.clone(), catalog);
        let models = Models::new(
            connect::modelling(url, &options)?,
            &options,
            answer_timeout,
            hook,
        );
        Ok(Self {
            writer,
            readers,
            announcements,
            log_readers,
            models,
            state,
            read_only: options.read_only,
        })
    }

    /// Brings the schema at a `postgres://` URL to this program's. Does nothing where it is
    /// already, and several programs may do it at once.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn migrate(url: &str, options: &PostgresOptions) -> Result<(), OpenError> {
        connect::migrate(url, options).await
    }

    /// Lets a role of the database serve the log and no more: it may add events, and neither change
    /// nor delete one. The URL is the owner's, and the schema must be there.
    ///
    /// # Errors
    /// [`OpenError::NoSuchRole`] and [`OpenError::Grant`] beside those of [`Self::connect`].
    pub async fn grant(url: &str, options: &PostgresOptions, role: &str) -> Result<(), OpenError> {
        roles::grant(url, options, role).await
    }

    /// Adds the functions of `migrations/optional/postgres` at a `postgres://` URL, or brings them
    /// up to date.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn add_functions(url: &str, options: &PostgresOptions) -> Result<(), OpenError> {
        connect::add_functions(url, options).await
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        self.writer.append(batch).await
    }

    fn has_foreign_writers(&self) -> bool {
        !self.read_only
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        self.writer.number().await
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.events_on_sight(stream, from, limit).await
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.readers.current_version(stream).await
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        self.recover_on_sight(&requests, page).await
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        self.readers.read_log(after, limit).await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        log::query(&self.log_readers, query).await
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.readers.event(id).await
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        self.readers.aggregates(aggregate_type, after, limit).await
    }

    async fn count_aggregates(&self, aggregate_type: &AggregateType) -> Result<u64, ReadError> {
        self.readers.count_aggregates(aggregate_type).await
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        snapshots::at(&self.readers, stream, fingerprint, until).await
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        self.readers.last_position().await
    }

    fn hints(&self) -> Option<watch::Receiver<Position>> {
        Some(self.announcements.watch())
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        self.readers.receipt(stream, key).await
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        self.readers.forget_receipts(before, limit).await
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        self.readers.claim_holder(aggregate_type, claim).await
    }

    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        snapshots::save(&self.readers, &snapshots, keep).await
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        Some(Arc::new(self.models.clone()))
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        Some(Arc::new(self.state.clone()))
    }

    fn api_keys(&self) -> Option<Arc<dyn ApiKeyTable>> {
        Some(Arc::new(ApiKeys(self.readers.clone())))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.readers.ready().await
    }

    async fn close(&self) {
        self.announcements.close().await;
        self.models.close().await;
        self.log_readers.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}
