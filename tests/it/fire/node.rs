//! A runtime in this process, over a store that fails where a test wants it to.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use dormouse::{
    domain::{AggregateType, CorrelationId, EventId, IdempotencyKey, StreamId, Version},
    runtime::{Aggregates, Answer, CommandError, CommandOptions, Runtime},
    settings::{AggregateSettings, JournalSettings, RuntimeSettings, Settings, Writers},
    store::{Commit, EventStore, NewEvent, memory::MemoryStore},
    testing::FaultyStore,
};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::support::counter::{Add, Counter, commands, id};

/// How long a condition may take to come true before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a caller hears.
pub(super) type Answered = Result<Answer<u64>, CommandError>;

/// A node with counters.
pub(super) struct Node {
    pub(super) runtime: Runtime,
    pub(super) counters: Aggregates<Counter>,
    pub(super) store: FaultyStore,
}

/// What a test wants to be different.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) runtime: RuntimeSettings,
    pub(super) counter: AggregateSettings,
    pub(super) journal: JournalSettings,
    pub(super) shared: bool,
}

impl Setup {
    pub(super) fn shared() -> Self {
        Self {
            shared: true,
            ..Self::default()
        }
    }

    pub(super) fn snapshot_every(events: u32) -> Self {
        Self {
            counter: AggregateSettings {
                snapshot_every: events,
                ..AggregateSettings::default()
            },
            ..Self::default()
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            runtime: self.runtime.clone(),
            journal: self.journal.clone(),
            aggregates: [("Counter".to_owned(), self.counter.clone())].into(),
            ..Settings::default()
        }
    }

    pub(super) fn writers(&self) -> Writers {
        if self.shared {
            Writers::Shared
        } else {
            Writers::Exclusive
        }
    }

    pub(super) async fn start(self) -> Node {
        self.start_on(&memory()).await
    }

    /// Starts a node; the test may keep the store for itself, too.
    pub(super) async fn start_on(self, store: &Arc<dyn EventStore>) -> Node {
        let store = FaultyStore::new(Arc::clone(store));
        let runtime = Runtime::builder(Arc::new(store.clone()))
            .settings(self.settings())
            .writers(self.writers())
            .aggregate::<Counter>(commands)
            .start()
            .await
            .unwrap();
        let counters = runtime.aggregates::<Counter>().unwrap();
        Node {
            runtime,
            counters,
            store,
        }
    }
}

impl Node {
    /// Adds one under a token, and under a key where there is one.
    pub(super) fn add(
        &self,
        counter: &str,
        token: &str,
        key: Option<&str>,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let options = CommandOptions {
            key: key.map(|key| IdempotencyKey::parse(key).unwrap()),
            ..CommandOptions::default()
        };
        self.add_with(counter, token, options)
    }

    pub(super) fn add_with(
        &self,
        counter: &str,
        token: &str,
        options: CommandOptions,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let (counters, id, add) = (self.counters.clone(), id(counter), Add::one(token));
        async move { counters.execute(&id, add, options).await }
    }

    /// The total and the tokens, in their order.
    pub(super) async fn state(&self, counter: &str) -> Counter {
        let state = self.counters.state(&id(counter)).await.unwrap();
        state.map_or_else(Counter::default, |found| found.state)
    }

    /// How many counters are live: the runtime tells it in its debug output only.
    pub(super) fn live(&self) -> usize {
        let text = format!("{:?}", self.counters);
        let (_, after) = text.split_once("live: ").unwrap();
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    pub(super) async fn until_live(&self, count: usize) {
        until(|| self.live() == count).await;
    }
}

pub(super) fn memory() -> Arc<dyn EventStore> {
    Arc::new(MemoryStore::new())
}

/// Waits until a condition holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, holds).await;
    waited.expect("the condition comes true in time");
}

pub(super) fn keyed(key: &str, timeout: Duration) -> CommandOptions {
    CommandOptions {
        key: Some(IdempotencyKey::parse(key).unwrap()),
        timeout,
        ..CommandOptions::default()
    }
}

pub(super) fn stream(counter: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Counter").unwrap(),
        aggregate_id: id(counter),
    }
}

/// An event of a counter as another writer stores it.
pub(super) fn foreign(counter: &str, expected: u64, event_type: &str, data: &str) -> Commit {
    let fresh = || Ulid::from_parts(1_714_885_505_123, rand::random());
    Commit {
        stream: stream(counter),
        expected: Version::new(expected),
        events: vec![NewEvent {
            id: EventId(fresh()),
            event_type: event_type.to_owned().into(),
            schema_version: 1,
            data: RawValue::from_string(data.to_owned()).unwrap(),
        }],
        occurred_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
        created_by: None,
        correlation_id: CorrelationId(fresh()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

/// As [`foreign`]: someone else adds an amount.
pub(super) fn foreign_add(counter: &str, expected: u64, amount: u64) -> Commit {
    let data = format!("{{\"amount\":{amount},\"token\":\"foreign\"}}");
    foreign(counter, expected, "CounterAddedEvent", &data)
}
