//! A projection that writes one row for each event, on every store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use dormouse::{
    projection::{Build, Projection, Projections, Unapplicable},
    store::{
        RecordedEvent,
        models::{ModelError, ModelKind, ModelTx},
    },
};
use sqlx::AssertSqlSafe;

/// An event of this type cannot be applied while [`Tally::picky`] is set.
pub(super) const POISON: &str = "Poison";

/// Rows: position, event id, data.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) version: u32,
    pub(super) park: bool,
    pub(super) picky: Arc<AtomicBool>,
    pub(super) secrets: bool,
    /// The positions that went out of the database.
    pub(super) effects: Arc<Mutex<Vec<u64>>>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            version: 1,
            park: false,
            picky: Arc::new(AtomicBool::new(true)),
            secrets: false,
            effects: Arc::default(),
        }
    }
}

type Rows = BTreeMap<i64, (String, String)>;

#[async_trait]
impl Projection for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn runs_on(&self, _: ModelKind) -> bool {
        true
    }

    fn sees_secrets(&self) -> bool {
        self.secrets
    }

    fn when_unapplicable(&self) -> Unapplicable {
        if self.park {
            Unapplicable::Park
        } else {
            Unapplicable::Stop
        }
    }

    async fn create(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
        let create = format!(
            "create table {} (position bigint primary key, event_id text not null, data text not null)",
            build.table("tally")
        );
        match tx {
            ModelTx::Memory(_) => {}
            ModelTx::Sqlite(connection) => {
                sqlx::query(AssertSqlSafe(create))
                    .execute(connection)
                    .await?;
            }
            ModelTx::Postgres(connection) => {
                sqlx::query(AssertSqlSafe(create))
                    .execute(connection)
                    .await?;
            }
        }
        Ok(())
    }

    async fn apply(
        &self,
        events: &[RecordedEvent],
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<(), ModelError> {
        let table = build.table("tally");
        let number = |event: &RecordedEvent| i64::try_from(event.position.get()).unwrap();
        match tx {
            ModelTx::Memory(tables) => {
                let rows: &mut Rows = tables.table(&table);
                for event in events {
                    let row = (event.id.to_string(), event.data.get().to_owned());
                    if rows.insert(number(event), row).is_some() {
                        return Err(ModelError::refused("applied twice"));
                    }
                }
            }
            ModelTx::Sqlite(connection) => {
                let insert = format!("insert into {table} values ($1, $2, $3)");
                for event in events {
                    sqlx::query(AssertSqlSafe(insert.clone()))
                        .bind(number(event))
                        .bind(event.id.to_string())
                        .bind(event.data.get())
                        .execute(&mut *connection)
                        .await?;
                }
            }
            ModelTx::Postgres(connection) => {
                let insert = format!(
                    "insert into {table} select * from unnest($1::bigint[], $2::text[], $3::text[])"
                );
                let positions: Vec<i64> = events.iter().map(number).collect();
                let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
                let data: Vec<&str> = events.iter().map(|event| event.data.get()).collect();
                sqlx::query(AssertSqlSafe(insert))
                    .bind(positions)
                    .bind(ids)
                    .bind(data)
                    .execute(connection)
                    .await?;
            }
        }
        // After the rows, so that they are there to be undone.
        let poison = events.iter().find(|event| event.event_type == POISON);
        match poison {
            Some(event) if self.picky.load(Ordering::SeqCst) => Err(ModelError::refused(format!(
                "no taste for position {}",
                event.position
            ))),
            _ => Ok(()),
        }
    }

    async fn remove(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
        let table = build.table("tally");
        let drop = AssertSqlSafe(format!("drop table {table}"));
        match tx {
            ModelTx::Memory(tables) => tables.drop_table(&table),
            ModelTx::Sqlite(connection) => {
                sqlx::query(drop).execute(connection).await?;
            }
            ModelTx::Postgres(connection) => {
                sqlx::query(drop).execute(connection).await?;
            }
        }
        Ok(())
    }

    async fn after_commit(&self, events: &[RecordedEvent]) {
        let positions = events.iter().map(|event| event.position.get());
        self.effects.lock().unwrap().extend(positions);
    }
}

/// The rows that readers see, by position, and the position they reflect.
pub(super) async fn served(projections: &Projections) -> (u64, Rows) {
    let mut snapshot = projections.snapshot("tally").await.unwrap();
    let rows = match snapshot.build {
        Some(build) => rows(&build, snapshot.tx()).await,
        None => Rows::new(),
    };
    let position = snapshot.position.get();
    snapshot.end().await;
    (position, rows)
}

async fn rows(build: &Build, tx: ModelTx<'_>) -> Rows {
    let table = build.table("tally");
    let select = AssertSqlSafe(format!("select position, event_id, data from {table}"));
    let found: Vec<(i64, String, String)> = match tx {
        ModelTx::Memory(tables) => return tables.table::<Rows>(&table).clone(),
        ModelTx::Sqlite(connection) => sqlx::query_as(select).fetch_all(connection).await.unwrap(),
        ModelTx::Postgres(connection) => {
            sqlx::query_as(select).fetch_all(connection).await.unwrap()
        }
    };
    let rows = found.into_iter();
    rows.map(|(position, id, data)| (position, (id, data)))
        .collect()
}

/// Fails unless the rows are those of the log's first events, each once.
pub(super) async fn check(projections: &Projections, store: &dyn dormouse::store::EventStore) {
    let (position, rows) = served(projections).await;
    let log = store
        .read_log(dormouse::domain::Position::ZERO, 100_000)
        .await
        .unwrap();
    let expected: Vec<(i64, String)> = log
        .iter()
        .filter(|event| event.position.get() <= position)
        .map(|event| {
            (
                i64::try_from(event.position.get()).unwrap(),
                event.id.to_string(),
            )
        })
        .collect();
    let found: Vec<(i64, String)> = rows.into_iter().map(|(at, (id, _))| (at, id)).collect();
    assert_eq!(found, expected);
}
