//! Rows that were there before: adopted, verified and repaired, on a store in memory and with the
//! real binary on real databases.

mod adopt;
mod beside;
mod kills;
mod page;
mod path;
mod repair;
mod verify;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use dormouse::{
    adoption::{AdoptOptions, AdoptProgress, Adopted, Adoption, Unadopted},
    domain::{
        AggregateId, AggregateType, CorrelationId, EventCodec, EventId, RowValue, Secret, StreamId,
        Version,
    },
    iam::{self, UserEvent, UserUpdated},
    store::{
        Commit, EventStore, NewEvent, RecordedEvent, Verdict,
        memory::{MemoryRow, MemoryStore},
    },
};
use serde_json::value::RawValue;
use ulid::Ulid;

/// A store in memory with users that somebody else has made.
struct Before {
    store: Arc<MemoryStore>,
    adoption: Adoption,
}

impl Before {
    fn with_users(ids: &[&str]) -> Self {
        let store = Arc::new(MemoryStore::new());
        let builder = Adoption::builder(Arc::clone(&store) as Arc<dyn EventStore>);
        let adoption = iam::adoption(builder).build().unwrap();
        let before = Self { store, adoption };
        for id in ids {
            before.write(id, user(id));
        }
        before
    }

    /// Writes a row as another program does.
    fn write(&self, id: &str, row: MemoryRow) {
        self.store
            .with_state_table("sys_user", |table| table.rows.insert(id.to_owned(), row));
    }

    fn set(&self, id: &str, column: &str, value: &str) {
        self.store.with_state_table("sys_user", |table| {
            let row = table.rows.get_mut(id).unwrap();
            row.values.insert(column.to_owned(), text(value));
        });
    }

    fn delete(&self, id: &str) {
        self.store
            .with_state_table("sys_user", |table| table.rows.remove(id).unwrap());
    }

    fn row(&self, id: &str) -> Option<MemoryRow> {
        self.store
            .with_state_table("sys_user", |table| table.rows.get(id).cloned())
    }

    async fn events(&self, id: &str) -> Vec<RecordedEvent> {
        let events = self.store.events(&stream(id), Version::ZERO, 10_000).await;
        events.unwrap()
    }

    /// Appends events without a word to the row, as a node does that does not know of it.
    async fn append(&self, id: &str, events: &[UserEvent]) {
        let codec = EventCodec::<UserEvent>::new([]).unwrap();
        let events = events.iter().map(|event| {
            let (event_type, data) = codec.encode(event).unwrap();
            (event_type.name, data)
        });
        self.append_raw(id, events.collect()).await;
    }

    /// Appends an event of a program that is newer than this one.
    async fn append_unknown(&self, id: &str) {
        let data = RawValue::from_string("{}".to_owned()).unwrap();
        self.append_raw(id, vec![("NoSuchEvent", data)]).await;
    }

    async fn append_raw(&self, id: &str, events: Vec<(&'static str, Box<RawValue>)>) {
        let expected = self.store.current_version(&stream(id)).await.unwrap();
        let events = events.into_iter().map(|(event_type, data)| NewEvent {
            id: EventId(Ulid::generate()),
            event_type: event_type.into(),
            schema_version: 1,
            data,
        });
        let commit = Commit {
            stream: stream(id),
            expected,
            events: events.collect(),
            occurred_at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            created_by: None,
            correlation_id: CorrelationId(Ulid::generate()),
            causation_id: None,
            frees: Vec::new(),
            takes: Vec::new(),
            receipt: None,
            row: None,
        };
        let verdict = self.store.save(commit).await.unwrap();
        assert!(matches!(verdict, Verdict::Committed { .. }), "{verdict:?}");
    }

    /// Adopts all users; with the rows that were not.
    async fn adopt(&self) -> (Adopted, Vec<Unadopted>) {
        self.adopt_with(AdoptOptions::default()).await
    }

    async fn adopt_with(&self, options: AdoptOptions) -> (Adopted, Vec<Unadopted>) {
        let mut unadopted = Vec::new();
        let adopted = self.adoption.adopt("User", options, |progress| {
            if let AdoptProgress::Unadopted(row) = progress {
                unadopted.push(row);
            }
        });
        let adopted = adopted.await.unwrap();
        (adopted, unadopted)
    }
}

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("User").unwrap(),
        aggregate_id: AggregateId::parse(id).unwrap(),
    }
}

fn text(value: &str) -> RowValue {
    RowValue::Text(value.to_owned())
}

/// A row whose names are made of its id.
fn user(id: &str) -> MemoryRow {
    let time = chrono::DateTime::from_timestamp(1_715_731_200, 0).unwrap();
    let values = [
        ("username", text(&format!("User{id}"))),
        ("password", RowValue::Secret(Secret::new("$2a$10$x".into()))),
        ("domain", text("built-in")),
        ("nick_name", text("Nick")),
        ("email", text(&format!("{id}@example.org"))),
        ("status", text("ENABLED")),
        ("created_at", RowValue::Time(time)),
        ("created_by", text("-1")),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    MemoryRow {
        values: BTreeMap::from(values),
        links: BTreeMap::from([("sys_user_role".to_owned(), ["1".to_owned()].into())]),
    }
}

fn renamed(nick_name: &str) -> UserEvent {
    UserEvent::Updated(UserUpdated {
        nick_name: Some(nick_name.to_owned()),
        ..UserUpdated::default()
    })
}
