//! Projections: on every store, with real kills, and over HTTP.

mod crashes;
mod directory;
mod inlines;
mod leases;
mod once;
mod outages;
mod poison;
mod rebuilds;
mod tally;

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use dormouse::{
    domain::{AggregateId, AggregateType, CorrelationId, EventId, Position, StreamId, Version},
    projection::{ProjectionState, ProjectionStatus, Projections},
    settings::{ProjectionSettings, StoreSettings},
    store::{self, Commit, EventStore, NewEvent, Verdict, memory::MemoryStore},
};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::support::{Backend, application};

/// A store, and what it is kept in.
struct Place {
    store: Arc<dyn EventStore>,
    backend: Option<Backend>,
}

impl Place {
    async fn on(backend: Backend) -> Self {
        let store = open(&backend).await;
        Self {
            store,
            backend: Some(backend),
        }
    }

    /// As another process would open it.
    async fn again(&self) -> Arc<dyn EventStore> {
        match &self.backend {
            Some(backend) => open(backend).await,
            None => Arc::clone(&self.store),
        }
    }
}

/// Several handles may be open on one database, as in several processes.
async fn open(backend: &Backend) -> Arc<dyn EventStore> {
    let settings = StoreSettings {
        url: application::url(&backend.store_url())
            .await
            .parse()
            .unwrap(),
        writers: Some(dormouse::settings::Writers::Shared),
        pool: 3,
        ..StoreSettings::default()
    };
    store::open(&settings).await.unwrap()
}

/// One fresh store of each kind.
async fn places() -> [Place; 3] {
    [
        Place {
            store: Arc::new(MemoryStore::new()),
            backend: None,
        },
        Place::on(Backend::sqlite()).await,
        Place::on(Backend::postgres().await).await,
    ]
}

/// Limits that make a test short.
fn quick() -> ProjectionSettings {
    ProjectionSettings {
        batch_events: 10,
        lease: Duration::from_secs(2),
        poll: Duration::from_millis(20),
        retry: Duration::from_millis(50),
        keep_replaced: Duration::from_millis(1),
        ..ProjectionSettings::default()
    }
}

/// Appends events of a type, each to a stream of its own, and gives the last position.
async fn append(store: &dyn EventStore, event_type: &'static str, count: usize) -> Position {
    let commits: Vec<Commit> = (0..count).map(|_| commit(event_type)).collect();
    let verdicts = store.append(Arc::from(commits)).await.unwrap();
    match verdicts.last() {
        Some(Verdict::Committed { first_position }) => *first_position,
        other => panic!("not committed: {other:?}"),
    }
}

fn commit(event_type: &'static str) -> Commit {
    Commit {
        stream: StreamId {
            aggregate_type: AggregateType::parse("Thing").unwrap(),
            aggregate_id: AggregateId::parse(&Ulid::generate().to_string()).unwrap(),
        },
        expected: Version::ZERO,
        events: vec![NewEvent {
            id: EventId(Ulid::generate()),
            event_type: event_type.into(),
            schema_version: 1,
            data: RawValue::from_string(r#"{"open":1,"hidden":{"$secret":"s"}}"#.into()).unwrap(),
        }],
        occurred_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        created_by: None,
        correlation_id: CorrelationId(Ulid::generate()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

/// Waits until something holds of the generation with a number; the test fails where it never does.
async fn until(
    projections: &Projections,
    generation: i64,
    what: &str,
    holds: impl Fn(&ProjectionStatus) -> bool,
) -> ProjectionStatus {
    let started = std::time::Instant::now();
    loop {
        let all = projections.status().await.unwrap();
        let found = all.iter().find(|one| one.generation == generation);
        if let Some(found) = found.filter(|found| holds(found)) {
            return found.clone();
        }
        assert!(started.elapsed().as_secs() < 30, "never {what}: {all:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a generation is in use and at the end of the log.
async fn until_caught_up(projections: &Projections, generation: i64) -> ProjectionStatus {
    until(projections, generation, "caught up", |one| {
        one.state == ProjectionState::Running && one.lag() == 0
    })
    .await
}
