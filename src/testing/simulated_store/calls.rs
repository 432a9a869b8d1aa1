//! The port, call by call.

use std::sync::Arc;

use async_trait::async_trait;

use super::{CallKind, SimulatedStore, effect, models::SimulatedModels};
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

/// The commits of a batch in a few words: whose, and which versions.
fn words(batch: &[Commit]) -> String {
    let commits = batch.iter().map(|commit| {
        let (id, after) = (&commit.stream.aggregate_id, commit.version_after());
        let key = commit.receipt.as_ref().map_or("", |it| it.key.as_str());
        format!("{id} {}..{after} {key}", commit.expected)
    });
    format!("append [{}]", commits.collect::<Vec<_>>().join(", "))
}

#[async_trait]
impl EventStore for SimulatedStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let what = words(&batch);
        self.call(CallKind::Append, what, move |store| {
            let batch = Arc::clone(&batch);
            effect(|| async move { store.append(batch).await })
        })
        .await
    }

    fn has_foreign_writers(&self) -> bool {
        self.inner.has_foreign_writers()
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        self.call(CallKind::Other, "number".to_owned(), |store| {
            effect(move || async move { store.number().await })
        })
        .await
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let what = format!("events {} {from} {limit}", stream.aggregate_id);
        let stream = stream.clone();
        self.call(CallKind::Other, what, move |store| {
            let stream = stream.clone();
            effect(|| async move { store.events(&stream, from, limit).await })
        })
        .await
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let what = format!("version {}", stream.aggregate_id);
        let stream = stream.clone();
        self.call(CallKind::Other, what, move |store| {
            let stream = stream.clone();
            effect(|| async move { store.current_version(&stream).await })
        })
        .await
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let streams = requests
            .iter()
            .map(|request| format!("{} {}", request.stream.aggregate_id, request.after));
        let what = format!("recover [{}]", streams.collect::<Vec<_>>().join(", "));
        self.call(CallKind::Other, what, move |store| {
            let requests = requests.clone();
            effect(move || async move { store.recover(requests, page).await })
        })
        .await
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let what = format!("log {after} {limit}");
        self.call(CallKind::Other, what, move |store| {
            effect(move || async move { store.read_log(after, limit).await })
        })
        .await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        let query = query.clone();
        let what = format!("query {:?} {}", query.after, query.limit);
        self.call(CallKind::Other, what, move |store| {
            let query = query.clone();
            effect(|| async move { store.query_log(&query).await })
        })
        .await
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        let what = format!("event {id}");
        self.call(CallKind::Other, what, move |store| {
            effect(move || async move { store.event(id).await })
        })
        .await
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        let (aggregate_type, after) = (aggregate_type.clone(), after.cloned());
        let what = format!("aggregates after {after:?}");
        self.call(CallKind::Other, what, move |store| {
            let (aggregate_type, after) = (aggregate_type.clone(), after.clone());
            effect(|| async move {
                let after = after.as_ref();
                store.aggregates(&aggregate_type, after, limit).await
            })
        })
        .await
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        let (stream, fingerprint) = (stream.clone(), fingerprint.clone());
        let what = format!("snapshot of {} at {until}", stream.aggregate_id);
        self.call(CallKind::Other, what, move |store| {
            let (stream, fingerprint) = (stream.clone(), fingerprint.clone());
            effect(|| async move { store.snapshot_at(&stream, &fingerprint, until).await })
        })
        .await
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        self.call(CallKind::Other, "last position".to_owned(), |store| {
            effect(move || async move { store.last_position().await })
        })
        .await
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        let (stream, key) = (stream.clone(), key.clone());
        let what = format!("receipt {} {key}", stream.aggregate_id);
        self.call(CallKind::Other, what, move |store| {
            let (stream, key) = (stream.clone(), key.clone());
            effect(|| async move { store.receipt(&stream, &key).await })
        })
        .await
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        let before = before.clone();
        let what = format!("receipts before {before}");
        self.call(CallKind::Other, what, move |store| {
            let before = before.clone();
            effect(move || async move { store.forget_receipts(&before, limit).await })
        })
        .await
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        let (aggregate_type, claim) = (aggregate_type.clone(), claim.clone());
        let what = format!("holder {}", claim.value);
        self.call(CallKind::Other, what, move |store| {
            let (aggregate_type, claim) = (aggregate_type.clone(), claim.clone());
            effect(|| async move { store.claim_holder(&aggregate_type, &claim).await })
        })
        .await
    }

    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        let saved = snapshots
            .iter()
            .map(|snapshot| format!("{} {}", snapshot.stream.aggregate_id, snapshot.version));
        let what = format!("snapshots [{}]", saved.collect::<Vec<_>>().join(", "));
        self.call(CallKind::Other, what, move |store| {
            let snapshots = snapshots.clone();
            effect(move || async move { store.save_snapshots(snapshots, keep).await })
        })
        .await
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        Some(Arc::new(SimulatedModels {
            inner: self.inner.read_models()?,
            store: self.clone(),
        }))
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        self.inner.state_rows()?;
        Some(Arc::new(self.clone()))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.call(CallKind::Other, "ready".to_owned(), |store| {
            effect(move || async move { store.ready().await })
        })
        .await
    }

    /// Closes nothing: other sessions go on.
    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use chrono::DateTime;
    use serde_json::value::RawValue;
    use tokio::time::{Instant, sleep};
    use ulid::Ulid;

    use super::super::Trouble;
    use super::*;
    use crate::{
        domain::CorrelationId,
        store::{NewEvent, memory::MemoryStore},
    };

    fn commit() -> Commit {
        Commit {
            stream: stream(),
            expected: Version::ZERO,
            events: vec![NewEvent {
                id: EventId(Ulid::from_parts(1, 1)),
                event_type: "OpenedEvent".into(),
                schema_version: 1,
                data: RawValue::NULL.to_owned(),
            }],
            occurred_at: DateTime::UNIX_EPOCH,
            created_by: None,
            correlation_id: CorrelationId(Ulid::nil()),
            causation_id: None,
            frees: vec![],
            takes: vec![],
            receipt: None,
            row: None,
        }
    }

    fn stream() -> StreamId {
        StreamId {
            aggregate_type: AggregateType::parse("Sample").unwrap(),
            aggregate_id: AggregateId::parse("a").unwrap(),
        }
    }

    fn store() -> (SimulatedStore, MemoryStore) {
        let memory = MemoryStore::new();
        let store = SimulatedStore::new(Arc::new(memory.clone()), 1, 1..=5, |_| {});
        (store, memory)
    }

    async fn stored(memory: &MemoryStore) -> bool {
        memory.exists(&stream()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_trouble_has_the_effect_and_the_answer_it_says() {
        let later = Duration::from_mins(1);
        let cases = [
            (Trouble::Fail, "Err(Unavailable", false, false),
            (Trouble::Conflict, "Err(Contended", false, false),
            (Trouble::LoseCall, "Err(OutcomeUnknown", false, false),
            (Trouble::LoseAnswer, "Err(OutcomeUnknown", true, true),
            (
                Trouble::EffectLater(later),
                "Err(OutcomeUnknown",
                false,
                true,
            ),
            (Trouble::Slow(later), "Ok(Committed", true, true),
            (Trouble::AnswerLate(later), "Ok(Committed", true, true),
            (Trouble::Twice(later), "Ok(Committed", true, true),
        ];
        for (trouble, answer, at_once, at_last) in cases {
            let (store, memory) = store();
            store.script(CallKind::Append, 1, trouble);

            let heard = format!("{:?}", store.save(commit()).await);
            let effect = stored(&memory).await;
            store.until_quiet().await;

            assert!(heard.starts_with(answer), "{trouble:?}: {heard}");
            assert_eq!((effect, stored(&memory).await), (at_once, at_last));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_sent_goes_on_without_it_or_is_lost_with_it() {
        for lose in [false, true] {
            let (store, memory) = store();
            let session = store.session(7);
            drop(tokio::time::timeout(Duration::ZERO, session.save(commit())).await);

            store.sever(7, lose);
            store.until_quiet().await;

            assert_eq!(stored(&memory).await, !lose);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_the_same_times_and_words() {
        let mut runs = Vec::new();
        for seed in [1, 1, 2] {
            let notes: Arc<Mutex<Vec<String>>> = Arc::default();
            let told = Arc::clone(&notes);
            let memory = Arc::new(MemoryStore::new());
            let store = SimulatedStore::new(memory, seed, 0..=1000, move |note| {
                told.lock().unwrap().push(note);
            });
            let began = Instant::now();
            store.save(commit()).await.unwrap();
            store.current_version(&stream()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            runs.push((began.elapsed(), notes.lock().unwrap().clone()));
        }

        assert_eq!(runs[0], runs[1]);
        assert_ne!(runs[0], runs[2]);
    }
}
