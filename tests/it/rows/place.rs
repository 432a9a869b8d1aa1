//! A store with the table `persons`, and the other program that writes it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dormouse::{
    domain::{AggregateType, RowValue, StreamId, Version},
    runtime::{Aggregates, Answer, CommandError, CommandOptions, Runtime, StartError},
    settings::{AggregateSettings, Mode, Reconcile, RuntimeSettings, Settings, Writers},
    store::{
        EventStore, RecordedEvent,
        memory::{MemoryRow, MemoryStore},
    },
};
use sqlx::{AssertSqlSafe, PgPool, Row as _, SqlitePool, sqlite::SqliteConnectOptions};

use super::person::{Person, Visit, commands, long_ago};
use crate::support::{Backend, checker::open, counter::id};

pub(super) const MODES: [Mode; 3] = [Mode::EventSourced, Mode::DualWrite, Mode::StateOnly];
pub(super) const WITH_ROWS: [Mode; 2] = [Mode::DualWrite, Mode::StateOnly];

/// Which store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Memory,
    Sqlite,
    Postgres,
}

/// Makes a test of each function, on each store.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Kind::Memory).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Postgres).await;
            })*
        }
    };
}
pub(super) use on_every_store;

/// Where events and rows are.
pub(super) struct Place {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) theirs: Theirs,
    /// Kept as long as the place: a directory goes with it.
    backend: Option<Backend>,
}

/// How the other program gets at its rows.
pub(super) enum Theirs {
    Memory(MemoryStore),
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

const PERSONS: &str = "create table persons (id text primary key, name text not null, email text, \
    visits bigint not null default 0, made_by text, made_at timestamp, theirs text)";
const TAGS: &str = "create table person_tags (person_id text not null, tag text not null, \
    primary key (person_id, tag))";

impl Place {
    pub(super) async fn of(kind: Kind) -> Self {
        let backend = match kind {
            Kind::Memory => {
                let theirs = MemoryStore::new();
                return Self {
                    store: Arc::new(theirs.clone()),
                    theirs: Theirs::Memory(theirs),
                    backend: None,
                };
            }
            Kind::Sqlite => Backend::sqlite(),
            Kind::Postgres => Backend::postgres().await,
        };
        let url = backend.store_url();
        let store = open(&url).await;
        let theirs = if let Some(file) = url.strip_prefix("sqlite://") {
            let options = SqliteConnectOptions::new().filename(file);
            Theirs::Sqlite(SqlitePool::connect_with(options).await.unwrap())
        } else {
            Theirs::Postgres(PgPool::connect(&url).await.unwrap())
        };
        let place = Self {
            store,
            theirs,
            backend: Some(backend),
        };
        place.run(PERSONS.to_owned()).await;
        place.run(TAGS.to_owned()).await;
        place
    }

    /// Runs a statement of the other program, and gives the first column of its first row.
    pub(super) async fn run(&self, statement: String) -> Option<String> {
        match &self.theirs {
            Theirs::Memory(_) => panic!("there is no SQL in memory"),
            Theirs::Sqlite(pool) => {
                let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(pool).await;
                rows.unwrap().first().map(|row| row.get::<String, _>(0))
            }
            Theirs::Postgres(pool) => {
                let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(pool).await;
                rows.unwrap().first().map(|row| row.get::<String, _>(0))
            }
        }
    }

    pub(super) async fn insert(&self, id: &str, name: &str) {
        let text = |text: &str| RowValue::Text(text.to_owned());
        let Theirs::Memory(theirs) = &self.theirs else {
            let made_at = long_ago().format("%Y-%m-%d %H:%M:%S");
            let insert = format!(
                "insert into persons (id, name, visits, made_by, made_at) \
                 values ('{id}', '{name}', 0, 'them', '{made_at}')"
            );
            self.run(insert).await;
            return;
        };
        let row = MemoryRow {
            values: BTreeMap::from([
                ("name".to_owned(), text(name)),
                ("visits".to_owned(), RowValue::Int(0)),
                ("made_by".to_owned(), text("them")),
                ("made_at".to_owned(), RowValue::Time(long_ago())),
            ]),
            links: BTreeMap::new(),
        };
        theirs.with_state_table("persons", |table| {
            table.rows.insert(id.to_owned(), row);
        });
    }

    pub(super) async fn set(&self, id: &str, column: &str, value: RowValue) {
        let Theirs::Memory(theirs) = &self.theirs else {
            let value = match value {
                RowValue::Text(text) => format!("'{text}'"),
                RowValue::Int(number) => number.to_string(),
                RowValue::Null
                | RowValue::Bool(_)
                | RowValue::Time(_)
                | RowValue::Json(_)
                | RowValue::Secret(_) => panic!("not written by this program: {value:?}"),
            };
            self.run(format!(
                "update persons set {column} = {value} where id = '{id}'"
            ))
            .await;
            return;
        };
        theirs.with_state_table("persons", |table| {
            let row = table.rows.get_mut(id).unwrap();
            row.values.insert(column.to_owned(), value);
        });
    }

    pub(super) async fn set_text(&self, id: &str, column: &str, value: &str) {
        self.set(id, column, RowValue::Text(value.to_owned())).await;
    }

    pub(super) async fn remove(&self, id: &str) {
        let Theirs::Memory(theirs) = &self.theirs else {
            self.run(format!("delete from person_tags where person_id = '{id}'"))
                .await;
            self.run(format!("delete from persons where id = '{id}'"))
                .await;
            return;
        };
        theirs.with_state_table("persons", |table| {
            table.rows.remove(id);
        });
    }

    pub(super) async fn unique(&self, column: &str) {
        let Theirs::Memory(theirs) = &self.theirs else {
            self.run(format!(
                "create unique index their_{column} on persons ({column})"
            ))
            .await;
            return;
        };
        theirs.with_state_table("persons", |table| {
            table.unique.insert(column.to_owned());
        });
    }

    /// A column as it stands; nothing where there is no such row.
    pub(super) async fn column(&self, id: &str, column: &str) -> Option<RowValue> {
        let Theirs::Memory(theirs) = &self.theirs else {
            let select = format!("select cast({column} as text) from persons where id = '{id}'");
            let text = self.run(select).await?;
            return Some(if column == "visits" {
                RowValue::Int(text.parse().unwrap())
            } else {
                RowValue::Text(text)
            });
        };
        theirs.with_state_table("persons", |table| {
            let row = table.rows.get(id)?;
            Some(row.values.get(column).cloned().unwrap_or(RowValue::Null))
        })
    }

    pub(super) async fn text(&self, id: &str, column: &str) -> Option<String> {
        let RowValue::Text(text) = self.column(id, column).await? else {
            return None;
        };
        Some(text)
    }

    pub(super) async fn tags(&self, id: &str) -> usize {
        let Theirs::Memory(theirs) = &self.theirs else {
            let select =
                format!("select cast(count(*) as text) from person_tags where person_id = '{id}'");
            return self.run(select).await.unwrap().parse().unwrap();
        };
        theirs.with_state_table("persons", |table| table.rows[id].links["person_tags"].len())
    }

    /// Starts a node that looks at rows only where one is asked for.
    pub(super) async fn start(&self, mode: Mode) -> Node {
        let store = self.handle().await;
        self.start_on(store, mode).await.unwrap()
    }

    /// A handle of the node's own: connections of PostgreSQL's end with the threads that use them.
    pub(super) async fn handle(&self) -> Arc<dyn EventStore> {
        match &self.backend {
            Some(backend @ Backend::Postgres(_)) => open(&backend.store_url()).await,
            Some(Backend::Sqlite(_)) | None => Arc::clone(&self.store),
        }
    }

    /// Starts a node that looks at every row.
    pub(super) async fn start_looking(&self, mode: Mode) -> Node {
        let store = self.handle().await;
        let started = self.start_with(store, mode, Reconcile::AtStart).await;
        started.unwrap()
    }

    /// Starts a node that looks at every row of another store when the settings say so.
    pub(super) async fn start_looking_on(
        &self,
        store: Arc<dyn EventStore>,
        reconcile: Reconcile,
    ) -> Node {
        let started = self.start_with(store, Mode::DualWrite, reconcile).await;
        started.unwrap()
    }

    pub(super) async fn start_on(
        &self,
        store: Arc<dyn EventStore>,
        mode: Mode,
    ) -> Result<Node, StartError> {
        self.start_with(store, mode, Reconcile::Off).await
    }

    async fn start_with(
        &self,
        store: Arc<dyn EventStore>,
        mode: Mode,
        reconcile: Reconcile,
    ) -> Result<Node, StartError> {
        let person = AggregateSettings {
            mode,
            reconcile,
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

    /// Waits until the log of one nobody asks for ends so.
    pub(super) async fn until_logged(&self, of: &str, expected: &[&str]) {
        let mut tries = 0;
        while self.event_types(of).await != expected {
            tries += 1;
            assert!(tries < 2000, "{of}: {:?}", self.event_types(of).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn stop(self) {
        assert_eq!(self.runtime.shutdown().await.unanswered, 0);
    }
}
