//! A store that fails where a script says so: every failure path gets a test with it.

use std::{
    collections::HashMap,
    future::{Future, pending},
    ops::{RangeFrom, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::Gate;
use crate::{
    domain::{AggregateId, AggregateType, Claim, IdempotencyKey, Position, StreamId, Version},
    store::{
        AppendError, Commit, EventStore, LogPage, LogQuery, NotReady, ReadError, Receipt,
        RecordedEvent, Recovered, RecoveryRequest, StoredSnapshot, Verdict, models::ReadModels,
    },
};

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
    /// [`EventStore::last_position`].
    LastPosition,
    /// [`EventStore::receipt`].
    Receipt,
    /// [`EventStore::claim_holder`].
    ClaimHolder,
    /// [`EventStore::save_snapshots`].
    SaveSnapshots,
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
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<(Operation, Calls, Fault)>,
    calls: HashMap<Operation, u64>,
}

impl FaultyStore {
    /// A store that is as good as `inner` until faults are scripted.
    #[must_use]
    pub fn new(inner: Arc<dyn EventStore>) -> Self {
        Self {
            inner,
            script: Arc::default(),
        }
    }

    /// The same store, with a fault at these calls of an operation. Faults of one call take
    /// effect in the order they were scripted in.
    #[must_use]
    pub fn on(self, operation: Operation, calls: impl Into<Calls>, fault: Fault) -> Self {
        self.inject(operation, calls, fault);
        self
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
        self.script().faults.clear();
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
        self.run(Operation::ReadLog, inner).await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        let inner = self.inner.query_log(query);
        self.run(Operation::QueryLog, inner).await
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
        keep: u32,
    ) -> Result<(), ReadError> {
        let inner = self.inner.save_snapshots(snapshots, keep);
        self.run(Operation::SaveSnapshots, inner).await
    }

    /// Read models are kept by the inner store; no fault meets them.
    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        self.inner.read_models()
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.run(Operation::Ready, self.inner.ready()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::value::RawValue;
    use tokio::time::{Instant, timeout};
    use ulid::Ulid;

    use super::*;
    use crate::{
        domain::{CorrelationId, EventId},
        store::{EventFilter, NewEvent, Order, memory::MemoryStore},
    };

    fn store() -> FaultyStore {
        FaultyStore::new(Arc::new(MemoryStore::new()))
    }

    fn stream() -> StreamId {
        StreamId {
            aggregate_type: AggregateType::parse("Sample").unwrap(),
            aggregate_id: AggregateId::parse("a").unwrap(),
        }
    }

    fn commit() -> Commit {
        Commit {
            stream: stream(),
            expected: Version::ZERO,
            events: vec![NewEvent {
                id: EventId(Ulid::from_parts(1, 1)),
                event_type: "OpenedEvent".into(),
                schema_version: 1,
                data: RawValue::from_string("{}".to_owned()).unwrap(),
            }],
            occurred_at: DateTime::UNIX_EPOCH,
            created_by: None,
            correlation_id: CorrelationId(Ulid::nil()),
            causation_id: None,
            frees: vec![],
            takes: vec![],
            receipt: None,
        }
    }

    #[tokio::test]
    async fn a_failed_append_stores_nothing_and_the_next_one_does() {
        let store = store().on(Operation::Append, 1, Fault::Fail);

        let first = store.save(commit()).await.unwrap_err();
        let nothing = store.exists(&stream()).await.unwrap();
        let second = store.save(commit()).await.unwrap();

        assert!(matches!(first, AppendError::Unavailable(_)));
        assert!(!nothing);
        assert!(matches!(second, Verdict::Committed { .. }));
        assert_eq!(store.calls(Operation::Append), 2);
    }

    #[tokio::test]
    async fn a_lost_answer_has_an_effect_and_a_lost_call_has_none() {
        for (fault, version) in [(Fault::LoseAnswer, 1), (Fault::LoseCall, 0)] {
            let store = store().on(Operation::Append, 1, fault);

            let error = store.save(commit()).await.unwrap_err();

            assert!(matches!(error, AppendError::OutcomeUnknown(_)));
            let found = store.current_version(&stream()).await.unwrap();
            assert_eq!(found, Version::new(version));
        }
    }

    #[tokio::test]
    async fn a_range_of_calls_fails_until_it_ends_or_the_store_is_healed() {
        let store = store().on(Operation::Events, 2..=3, Fault::Fail).on(
            Operation::CurrentVersion,
            1..,
            Fault::LoseAnswer,
        );

        let mut failed = Vec::new();
        for _ in 0..4 {
            failed.push(store.events(&stream(), Version::ZERO, 1).await.is_err());
        }
        let version = store.current_version(&stream()).await;
        store.heal();

        assert_eq!(failed, [false, true, true, false]);
        assert!(version.unwrap_err().is_retryable());
        assert!(store.current_version(&stream()).await.is_ok());
    }

    #[tokio::test]
    async fn every_operation_can_fail() {
        let all = [
            Operation::Recover,
            Operation::ReadLog,
            Operation::QueryLog,
            Operation::LastPosition,
            Operation::Receipt,
            Operation::ClaimHolder,
            Operation::SaveSnapshots,
            Operation::Ready,
        ];
        let store = all.into_iter().fold(store(), |store, operation| {
            store.on(operation, 1, Fault::Fail)
        });
        let key = IdempotencyKey::parse("k").unwrap();
        let stream = stream();

        assert!(store.recover(vec![], 1).await.is_err());
        assert!(store.read_log(Position::ZERO, 1).await.is_err());
        let query = LogQuery {
            filter: EventFilter::default(),
            order: Order::Ascending,
            after: None,
            limit: 1,
        };
        assert!(store.query_log(&query).await.is_err());
        assert!(store.last_position().await.is_err());
        assert!(store.receipt(&stream, &key).await.is_err());
        let claim = Claim::new("name", "a");
        let holder = store.claim_holder(&stream.aggregate_type, &claim).await;
        assert!(holder.is_err());
        assert!(store.save_snapshots(vec![], 1).await.is_err());
        assert!(store.ready().await.is_err());
        assert!(store.ready().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_takes_its_time_and_a_stall_never_ends() {
        let store = store()
            .on(Operation::Append, 1, Fault::Delay(Duration::from_secs(5)))
            .on(Operation::Append, 2, Fault::Stall);
        let start = Instant::now();

        store.save(commit()).await.unwrap();
        let stalled = timeout(Duration::from_hours(1), store.save(commit())).await;

        assert_eq!(start.elapsed(), Duration::from_secs(3605));
        assert!(stalled.is_err());
    }

    #[tokio::test]
    async fn a_held_call_has_no_effect_until_its_gate_opens_and_a_held_answer_has_one() {
        for (fault, gate, version) in [
            (Fault::Hold as fn(Gate) -> Fault, Gate::new(), 0),
            (Fault::HoldAnswer, Gate::new(), 1),
        ] {
            let store = store();
            store.inject_next(Operation::Append, fault(gate.clone()));
            let appending = tokio::spawn({
                let store = store.clone();
                async move { store.save(commit()).await }
            });

            gate.reached(1).await;
            let held = store.current_version(&stream()).await.unwrap();
            gate.open();
            let verdict = appending.await.unwrap().unwrap();

            assert_eq!(held, Version::new(version));
            assert!(matches!(verdict, Verdict::Committed { .. }));
        }
    }
}
