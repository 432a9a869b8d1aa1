//! The port to what stores events: one object-safe trait, its words and its errors.
//!
//! The runtime calls it; [`memory`], `sqlite` and `postgres` keep its promises, and the
//! contract suite holds all three to them. It handles serialized events only: it
//! knows no aggregate, no actor and no HTTP.
//!
//! Invariants, whatever the adapter: versions of a stream are 1..n and positions of the log
//! 1..n, without a gap or a repeat; a commit is stored whole or not at all; positions are in
//! the order in which commits become visible, so a reader that has seen one has seen all before it.

pub mod admission;
mod api_keys;
pub mod contract;
mod doubt;
mod errors;
mod foreign;
mod hints;
pub mod memory;
pub mod models;
mod net_rows;
mod open;
pub mod postgres;
mod query;
mod records;
mod rounds;
mod row_text;
pub mod sqlite;
mod state_rows;
mod view;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

pub use api_keys::{ApiKeyTable, ApiKeyUse, StoredApiKey};
pub use errors::{AppendError, Cause, NotReady, ReadError};
pub use foreign::{Numbering, RefusedEvent};
pub use hints::Hints;
pub use open::{
    OpenError, add_functions, grant, migrate, open, open_beside, open_patiently, open_to_read,
};
pub use query::{EventFilter, LogPage, LogQuery, Order};
pub use records::{
    AggregateHead, Commit, Loss, NewEvent, NewReceipt, Receipt, RecordedEvent, Recovered,
    RecoveryRequest, SnapshotRetention, StoredSnapshot, Verdict,
};
pub use state_rows::{
    LoadedRow, RowAccess, RowChange, RowTrack, StateRows, TableError, VersionedBy,
};
pub use view::EventView;

use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position, StreamId,
    Version,
};
use models::ReadModels;

/// Aggregates read at once where they are counted.
const COUNTED_AT_ONCE: u32 = 1000;

/// A log of events with what is committed beside them: claims, receipts, and snapshots.
///
/// Every future may be dropped at any await: an append that has begun goes on or is undone
/// as a whole, and nothing is left half written.
#[async_trait]
pub trait EventStore: Debug + Send + Sync + 'static {
    /// Appends the commits of a batch, each on its own: one that loses leaves nothing, and its
    /// neighbours do not notice. Verdicts come in the order of the commits.
    ///
    /// A commit that follows another of its stream in the batch expects the version that one
    /// leads to, and loses with it. What is answered [`Verdict::Committed`] is durable and
    /// visible to every reader. Appending a commit *again*, known by the id of its first event
    /// or of its receipt, answers [`Verdict::Committed`] with the positions of the first time:
    /// so an append with an unknown outcome is resolved by appending it once more.
    ///
    /// # Errors
    /// [`AppendError`] says whether the outcome is known; in all cases but
    /// [`AppendError::OutcomeUnknown`] no commit of the batch is stored.
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError>;

    /// Appends one commit.
    ///
    /// # Errors
    /// As [`Self::append`].
    async fn save(&self, commit: Commit) -> Result<Verdict, AppendError> {
        let verdicts = self.append(Arc::from([commit])).await?;
        verdicts.into_iter().next().ok_or_else(|| {
            AppendError::OutcomeUnknown("the store gave no verdict for a commit".into())
        })
    }

    /// Whether other programs may store events without a position, so that [`Self::number`] is to
    /// be called now and then.
    fn has_foreign_writers(&self) -> bool {
        false
    }

    /// Gives positions to a page of the events that other programs have stored without: in the
    /// order of their versions, behind all that is committed. What cannot be numbered is told and
    /// left; it keeps its own aggregate from being read, and nothing else.
    ///
    /// # Errors
    /// As [`Self::append`]; a later call finds what is left.
    async fn number(&self) -> Result<Numbering, AppendError> {
        Ok(Numbering::default())
    }

    /// The events of a stream with a version of at least `from`, ascending, `limit` at most.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError>;

    /// The version of the last event of a stream; zero where it has none.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError>;

    /// Whether a stream has an event.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn exists(&self, stream: &StreamId) -> Result<bool, ReadError> {
        Ok(self.current_version(stream).await? > Version::ZERO)
    }

    /// For each stream, in order: the newest snapshot that fits and the first page of events
    /// after it, as one consistent view. Fewer than `page` events mean there are no more.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError>;

    /// The events of the log after a position, ascending, `limit` at most.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError>;

    /// One page of the events of the log that are meant, by position.
    ///
    /// [`LogPage::read_to`] and the events are of one view: an event that becomes visible
    /// later has a position after it. What another program inserted and nobody has numbered
    /// yet is not seen.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError>;

    /// One event, wherever it is.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError>;

    /// The aggregates of a type in the order of their ids, `limit` at most, from the first one
    /// after an id; ids are compared byte by byte.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError>;

    /// How many aggregates of a type have events.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn count_aggregates(&self, aggregate_type: &AggregateType) -> Result<u64, ReadError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.aggregates(aggregate_type, after.as_ref(), COUNTED_AT_ONCE);
            let page = page.await?;
            count += page.len() as u64;
            after = match page.into_iter().next_back() {
                Some(last) => Some(last.aggregate_id),
                None => return Ok(count),
            };
        }
    }

    /// The newest snapshot with this fingerprint whose version is not after `until`.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError>;

    /// The position of the last event of the log; zero where it is empty.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn last_position(&self) -> Result<Position, ReadError>;

    /// Hints that the log has grown, of other programs too where the store hears of them; the
    /// value is a position that has an event. Nothing where the store gives no hints.
    ///
    /// Hints may be late, lost or for nothing, so a reader polls as well. Called within a tokio
    /// runtime, which may be given a task that ends when nobody listens any more.
    fn hints(&self) -> Option<watch::Receiver<Position>> {
        None
    }

    /// What a command under this key answered on this stream.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError>;

    /// Forgets the receipts under a runtime's own keys ([`IdempotencyKey::RESERVED`]) that were
    /// given out before the key `before`, `limit` at most; the number of those forgotten.
    ///
    /// # Errors
    /// [`ReadError`]; nothing but space is lost.
    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError>;

    /// Who holds a claim among the aggregates of a type.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError>;

    /// Saves snapshots and drops those of their streams that need not be kept. A snapshot of a
    /// version that has one already replaces it.
    ///
    /// # Errors
    /// [`ReadError`]; what it means is the same, and nothing but speed is lost.
    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError>;

    /// Where read models live that commit beside this log; nothing where there is no such place.
    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        None
    }

    /// Where API keys are kept; nothing where there is no such place.
    fn api_keys(&self) -> Option<Arc<dyn ApiKeyTable>> {
        None
    }

    /// Where the state tables are that commit beside this log; nothing where there is no such place.
    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        None
    }

    /// Whether the store can be reached and has this program's schema.
    ///
    /// # Errors
    /// [`NotReady`] with the reason, fit for an operator's eyes and free of secrets.
    async fn ready(&self) -> Result<(), NotReady>;

    /// Lets go of every connection; later calls fail as unavailable.
    async fn close(&self);
}
