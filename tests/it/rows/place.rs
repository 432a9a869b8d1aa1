//! A store with the table `persons`, and the other program that writes it.

use std::{collections::BTreeMap, sync::Arc};

use dormouse::{
    domain::{AggregateType, RowValue, StreamId, Version},
    runtime::{Aggregates, Answer, CommandError, CommandOptions, Runtime, StartError},
    settings::{AggregateSettings, Mode, RuntimeSettings, Settings, Writers},
    store::{
        EventStore, RecordedEvent,
        memory::{MemoryRow, MemoryStore},
    },
};

use super::person::{Person, Visit, commands, long_ago};
use crate::support::counter::id;

/// Where events and rows are.
pub(super) struct Place {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) theirs: MemoryStore,
}

impl Place {
    pub(super) fn memory() -> Self {
        let theirs = MemoryStore::new();
        Self {
            store: Arc::new(theirs.clone()),
            theirs,
        }
    }

    pub(super) fn insert(&self, id: &str, name: &str) {
        let text = |text: &str| RowValue::Text(text.to_owned());
        let row = MemoryRow {
            values: BTreeMap::from([
                ("name".to_owned(), text(name)),
                ("visits".to_owned(), RowValue::Int(0)),
                ("made_by".to_owned(), text("them")),
                ("made_at".to_owned(), RowValue::Time(long_ago())),
            ]),
            links: BTreeMap::new(),
        };
        self.theirs.with_state_table("persons", |table| {
            table.rows.insert(id.to_owned(), row);
        });
    }

    pub(super) fn set(&self, id: &str, column: &str, value: RowValue) {
        self.theirs.with_state_table("persons", |table| {
            let row = table.rows.get_mut(id).unwrap();
            row.values.insert(column.to_owned(), value);
        });
    }

    pub(super) fn set_text(&self, id: &str, column: &str, value: &str) {
        self.set(id, column, RowValue::Text(value.to_owned()));
    }

    pub(super) fn remove(&self, id: &str) {
        self.theirs.with_state_table("persons", |table| {
            table.rows.remove(id);
        });
    }

    pub(super) fn unique(&self, column: &str) {
        self.theirs.with_state_table("persons", |table| {
            table.unique.insert(column.to_owned());
        });
    }

    /// A column as it stands; nothing where there is no such row.
    pub(super) fn column(&self, id: &str, column: &str) -> Option<RowValue> {
        self.theirs.with_state_table("persons", |table| {
            let row = table.rows.get(id)?;
            Some(row.values.get(column).cloned().unwrap_or(RowValue::Null))
        })
    }

    pub(super) fn text(&self, id: &str, column: &str) -> Option<String> {
        let RowValue::Text(text) = self.column(id, column)? else {
            return None;
        };
        Some(text)
    }

    pub(super) async fn start(&self, mode: Mode) -> Node {
        self.start_on(Arc::clone(&self.store), mode).await.unwrap()
    }

    pub(super) async fn start_on(
        &self,
        store: Arc<dyn EventStore>,
        mode: Mode,
    ) -> Result<Node, StartError> {
        let person = AggregateSettings {
            mode,
            snapshot_every: 3,
            ..AggregateSettings::default()
        };
        let settings = Settings {
            runtime: RuntimeSettings {
                arbiters: 2,
                ..RuntimeSettings::default()
            },
            aggregates: [("Person".to_owned(), person)].into(),
            ..Settings::default()
        };
        let runtime = Runtime::builder(Arc::clone(&store))
            .settings(settings)
            .writers(Writers::Shared)
            .aggregate::<Person>(commands)
            .start()
            .await?;
        let persons = runtime.aggregates().unwrap();
        Ok(Node {
            runtime,
            persons,
            store,
        })
    }
}

/// A runtime in one mode.
pub(super) struct Node {
    pub(super) runtime: Runtime,
    pub(super) persons: Aggregates<Person>,
    store: Arc<dyn EventStore>,
}

/// What a caller hears.
pub(super) type Answered = Result<Answer<i64>, CommandError>;

impl Node {
    pub(super) async fn send<C>(&self, to: &str, command: C) -> Answered
    where
        Person: dormouse::domain::Handle<C, Reply = i64>,
        C: serde::Serialize + Send + 'static,
    {
        let options = CommandOptions::default();
        self.persons.execute(&id(to), command, options).await
    }

    pub(super) async fn visit(&self, to: &str) -> Answered {
        self.send(to, Visit { most: i64::MAX }).await
    }

    /// The state and its version.
    pub(super) async fn state(&self, of: &str) -> (Person, u64) {
        let found = self.persons.state(&id(of)).await.unwrap();
        found.map_or_else(Default::default, |found| (found.state, found.version.get()))
    }

    pub(super) async fn events(&self, of: &str) -> Vec<RecordedEvent> {
        let stream = StreamId {
            aggregate_type: AggregateType::parse("Person").unwrap(),
            aggregate_id: id(of),
        };
        let events = self.store.events(&stream, Version::ZERO, 10_000).await;
        events.unwrap()
    }

    pub(super) async fn event_types(&self, of: &str) -> Vec<String> {
        let events = self.events(of).await.into_iter();
        events.map(|event| event.event_type).collect()
    }

    pub(super) async fn stop(self) {
        assert_eq!(self.runtime.shutdown().await.unanswered, 0);
    }
}
