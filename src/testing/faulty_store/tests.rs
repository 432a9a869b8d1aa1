//! Each fault does what its name says.

use chrono::DateTime;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use ulid::Ulid;

use super::*;
use crate::{
    domain::CorrelationId,
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
        row: None,
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
        Operation::Event,
        Operation::Aggregates,
        Operation::SnapshotAt,
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
    assert!(store.event(EventId(Ulid::nil())).await.is_err());
    let aggregates = store.aggregates(&stream.aggregate_type, None, 1).await;
    assert!(aggregates.is_err());
    let fingerprint = Fingerprint::from_stored("f");
    let snapshot = store
        .snapshot_at(&stream, &fingerprint, Version::ZERO)
        .await;
    assert!(snapshot.is_err());
    assert!(store.last_position().await.is_err());
    assert!(store.receipt(&stream, &key).await.is_err());
    let claim = Claim::new("name", "a");
    let holder = store.claim_holder(&stream.aggregate_type, &claim).await;
    assert!(holder.is_err());
    assert!(
        store
            .save_snapshots(vec![], SnapshotRetention::newest(1))
            .await
            .is_err()
    );
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

#[tokio::test]
async fn a_load_of_rows_fails_where_the_script_says_so() {
    let store = store().on(Operation::StateRows, 2, Fault::Fail);
    let table = Arc::new(crate::domain::StateTable {
        name: "samples".into(),
        key: "id",
        columns: Vec::new(),
        stamps: Vec::new(),
        links: Vec::new(),
    });
    let rows = store.state_rows().unwrap();
    let StreamId {
        aggregate_type,
        aggregate_id,
    } = stream();

    let mut loads = Vec::new();
    for _ in 0..3 {
        let ids = [aggregate_id.clone()];
        loads.push(rows.load(&aggregate_type, &table, &ids).await.is_ok());
    }

    assert_eq!(loads, [true, false, true]);
    assert_eq!(store.calls(Operation::StateRows), 3);
}
