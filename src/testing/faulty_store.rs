//! A store that fails where a script says so: every failure path gets a test with it.

mod rows;

use std::{
    collections::HashMap,
    future::{Future, pending},
    ops::{RangeFrom, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Gate;
use crate::{
    domain::{
        AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position,
        StreamId, Version,
    },
    store::{
        AggregateHead, AppendError, Commit, EventStore, LogPage, LogQuery, NotReady, Numbering,
        ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest, SnapshotRetention,
        StateRows, StoredSnapshot, Verdict, models::ReadModels,
    },
};
use rows::FaultyRows;

/// An operation of [`EventStore`]; `save` counts as an append, `exists` as a look at the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`EventStore::append`].
    Append,
    /// [`EventStore::events`].
    Events,
    /// [`EventStore::current_version`].
    CurrentVersion,
    /// [`EventStore::recover`].
    Recover,
    /// [`EventStore::read_log`].
    ReadLog,
    /// [`EventStore::query_log`].
    QueryLog,
    /// [`EventStore::event`].
    Event,
    /// [`EventStore::aggregates`].
    Aggregates,
    /// [`EventStore::snapshot_at`].
    SnapshotAt,
    /// [`EventStore::last_position`].
    LastPosition,
    /// [`EventStore::receipt`].
    Receipt,
    /// [`EventStore::forget_receipts`].
    ForgetReceipts,
    /// [`EventStore::claim_holder`].
    ClaimHolder,
    /// [`EventStore::save_snapshots`].
    SaveSnapshots,
    /// Rows of state tables are loaded or paged through.
    StateRows,
    /// [`EventStore::ready`].
    Ready,
}

/// What goes wrong at a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails as unavailable; the inner store is not asked.
    Fail,
    /// The inner store is asked, and its answer is lost: an append ends as
    /// [`AppendError::OutcomeUnknown`], anything else as unavailable.
    LoseAnswer,
    /// The call ends as after [`Fault::LoseAnswer`], but the inner store was not asked.
    LoseCall,
    /// The call waits this long, by tokio's clock, before the inner store is asked.
    Delay(Duration),
    /// The call waits at the gate before the inner store is asked.
    Hold(Gate),
    /// The inner store is asked, and its answer waits at the gate.
    HoldAnswer(Gate),
    /// The call never ends; the inner store is not asked.
    Stall,
}

/// Which calls of an operation, counted from 1: `3`, `3..=5` or `3..`.
#[derive(Debug, Clone)]
pub struct Calls(RangeInclusive<u64>);

impl From<u64> for Calls {
    fn from(call: u64) -> Self {
        Self(call..=call)
    }
}

impl From<RangeInclusive<u64>> for Calls {
    fn from(calls: RangeInclusive<u64>) -> Self {
        Self(calls)
    }
}

impl From<RangeFrom<u64>> for Calls {
    fn from(calls: RangeFrom<u64>) -> Self {
        Self(calls.start..=u64::MAX)
    }
}

/// A store around another one, with a script of faults. Clones share the script.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn EventStore>,
    script: Arc<Mutex<Script>>,
    hints: bool,
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<(Operation, Calls, Fault)>,
    calls: HashMap<Operation, u64>,
    hidden: Option<Position>,
}

impl FaultyStore {
    /// A store that is as good as `inner` until faults are scripted.
    #[must_use]
    pub fn new(inner: Arc<dyn EventStore>) -> Self {
        Self {
            inner,
            script: Arc::default(),
            hints: true,
        }
    }

    /// The same store, with a fault at these calls of an operation. Faults of one call take
    /// effect in the order they were scripted in.
    #[must_use]
    pub fn on(self, operation: Operation, calls: impl Into<Calls>, fault: Fault) -> Self {
        self.inject(operation, calls, fault);
        self
    }

    /// The same store, which gives no hints that the log has grown.
    #[must_use]
    pub fn without_hints(self) -> Self {
        Self {
            hints: false,
            ..self
        }
    }

    /// From now on the log is read without the event at this position, as if it had a hole.
    pub fn hide(&self, position: Position) {
        self.script().hidden = Some(position);
    }

    /// Scripts a fault while the store is in use; calls count from the store's start.
    pub fn inject(&self, operation: Operation, calls: impl Into<Calls>, fault: Fault) {
        let line = (operation, calls.into(), fault);
        self.script().faults.push(line);
    }

    /// Scripts a fault for the next call of an operation.
    pub fn inject_next(&self, operation: Operation, fault: Fault) {
        let mut script = self.script();
        let next = script.calls.get(&operation).copied().unwrap_or(0) + 1;
        script.faults.push((operation, next.into(), fault));
    }

    /// Forgets every fault: the store is well again. Calls that wait already wait on.
    pub fn heal(&self) {
        let mut script = self.script();
        script.faults.clear();
        script.hidden = None;
    }

    /// How many calls of an operation came, those that failed or still wait included.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.script().calls.get(&operation).copied().unwrap_or(0)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and gives its faults.
    fn enter(&self, operation: Operation) -> Vec<Fault> {
        let mut script = self.script();
        let count = script.calls.entry(operation).or_default();
        *count += 1;
        let call = *count;
        let faults = script
            .faults
            .iter()
            .filter(|(on, calls, _)| *on == operation && calls.0.contains(&call));
        faults.map(|(_, _, fault)| fault.clone()).collect()
    }

    async fn run<T, E: Injected>(
        &self,
        operation: Operation,
        inner: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut answer_gates = Vec::new();
        let mut answer_lost = false;
        for fault in self.enter(operation) {
            match fault {
                Fault::Fail => return Err(E::unavailable()),
                Fault::LoseCall => return Err(E::lost()),
                Fault::LoseAnswer => answer_lost = true,
                Fault::Delay(duration) => tokio::time::sleep(duration).await,
                Fault::Hold(gate) => gate.pass().await,
                Fault::HoldAnswer(gate) => answer_gates.push(gate),
                Fault::Stall => pending().await,
            }
        }
        let answer = inner.await;
        for gate in answer_gates {
            gate.pass().await;
        }
        if answer_lost { Err(E::lost()) } else { answer }
    }
}

/// An error that a script can cause.
pub(super) trait Injected: Sized {
    fn unavailable() -> Self;
    fn lost() -> Self;
    fn contended() -> Self {
        Self::unavailable()
    }
}

impl Injected for AppendError {
    fn unavailable() -> Self {
        Self::Unavailable("a scripted fault".into())
    }
    fn lost() -> Self {
        Self::OutcomeUnknown("a scripted fault".into())
    }
    fn contended() -> Self {
        Self::Contended
    }
}

impl Injected for ReadError {
    fn unavailable() -> Self {
        Self::Unavailable("a scripted fault".into())
    }
    fn lost() -> Self {
        Self::unavailable()
    }
}

impl Injected for NotReady {
    fn unavailable() -> Self {
        Self::Unreachable("a scripted fault".into())
    }
    fn lost() -> Self {
        Self::unavailable()
    }
}

#[async_trait]
impl EventStore for FaultyStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let inner = self.inner.append(batch);
        self.run(Operation::Append, inner).await
    }

    fn has_foreign_writers(&self) -> bool {
        self.inner.has_foreign_writers()
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        self.inner.number().await
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let inner = self.inner.events(stream, from, limit);
        self.run(Operation::Events, inner).await
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let inner = self.inner.current_version(stream);
        self.run(Operation::CurrentVersion, inner).await
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let inner = self.inner.recover(requests, page);
        self.run(Operation::Recover, inner).await
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let inner = self.inner.read_log(after, limit);
        let mut events = self.run(Operation::ReadLog, inner).await?;
        let hidden = self.script().hidden;
        events.retain(|event| Some(event.position) != hidden);
        Ok(events)
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        let inner = self.inner.query_log(query);
        self.run(Operation::QueryLog, inner).await
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        let inner = self.inner.event(id);
        self.run(Operation::Event, inner).await
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        let inner = self.inner.aggregates(aggregate_type, after, limit);
        self.run(Operation::Aggregates, inner).await
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        let inner = self.inner.snapshot_at(stream, fingerprint, until);
        self.run(Operation::SnapshotAt, inner).await
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        let inner = self.inner.last_position();
        self.run(Operation::LastPosition, inner).await
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        let inner = self.inner.receipt(stream, key);
        self.run(Operation::Receipt, inner).await
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        let inner = self.inner.forget_receipts(before, limit);
        self.run(Operation::ForgetReceipts, inner).await
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        let inner = self.inner.claim_holder(aggregate_type, claim);
        self.run(Operation::ClaimHolder, inner).await
    }

    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        let inner = self.inner.save_snapshots(snapshots, keep);
        self.run(Operation::SaveSnapshots, inner).await
    }

    fn hints(&self) -> Option<watch::Receiver<Position>> {
        self.inner.hints().filter(|_| self.hints)
    }

    /// Read models are kept by the inner store; no fault meets them.
    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        self.inner.read_models()
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        let inner = self.inner.state_rows()?;
        let store = self.clone();
        Some(Arc::new(FaultyRows { store, inner }))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.run(Operation::Ready, self.inner.ready()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests;
