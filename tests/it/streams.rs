//! Following the log on real databases and across processes: each committed event once, in order.

mod outages;
mod processes;
mod torture;

use std::sync::Arc;

use chrono::DateTime;
use dormouse::{
    domain::{AggregateId, AggregateType, CorrelationId, EventId, StreamId, Version},
    settings::{StoreSettings, Writers},
    store::{self, Commit, EventStore, NewEvent},
};
use serde_json::value::RawValue;
use ulid::Ulid;

/// Opens the database of a server that runs, to write to it from beside.
async fn open(url: &str) -> Arc<dyn EventStore> {
    let settings = StoreSettings {
        url: crate::support::application::url(url).await.parse().unwrap(),
        writers: Some(Writers::Shared),
        pool: 4,
        ..StoreSettings::default()
    };
    store::open(&settings).await.unwrap()
}

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Thing").unwrap(),
        aggregate_id: AggregateId::parse(id).unwrap(),
    }
}

/// A commit of events of one type.
fn commit(id: &str, expected: u64, event_type: &'static str, events: usize) -> Commit {
    let fresh = || Ulid::from_parts(1_714_885_505_123, rand::random());
    let event = |_| NewEvent {
        id: EventId(fresh()),
        event_type: event_type.into(),
        schema_version: 1,
        data: RawValue::from_string("{}".to_owned()).unwrap(),
    };
    Commit {
        stream: stream(id),
        expected: Version::new(expected),
        events: (0..events).map(event).collect(),
        occurred_at: DateTime::from_timestamp(1_714_885_505, 0).unwrap(),
        created_by: None,
        correlation_id: CorrelationId(fresh()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

/// Appends events one by one.
async fn append(store: &dyn EventStore, id: &str, count: usize) {
    for _ in 0..count {
        let version = store.current_version(&stream(id)).await.unwrap();
        store
            .save(commit(id, version.get(), "HappenedEvent", 1))
            .await
            .unwrap();
    }
}
