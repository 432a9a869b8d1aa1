//! A read model with one row for each event: the most that a projection can have to write.

use async_trait::async_trait;
use dormouse::{
    projection::{Build, Projection},
    store::{
        RecordedEvent,
        models::{ModelError, ModelKind, ModelTx},
    },
};
use serde_json::json;
use sqlx::AssertSqlSafe;

/// Its name.
pub(crate) const NAME: &str = "bench_rows";

/// Writes where each event stands, of which type it is and who sent its command.
#[derive(Debug)]
pub(crate) struct Rows;

const CREATE: &str = "create table {} (position bigint not null primary key, \
    aggregate_id text not null, event_type text not null, created_by text)";
const INSERT_POSTGRES: &str = "insert into {} select r.position, r.aggregate_id, r.event_type, \
    r.created_by from json_to_recordset($1::json) as r (position bigint, aggregate_id text, \
    event_type text, created_by text)";
const INSERT_SQLITE: &str = "insert into {} select value ->> 'position', value ->> 'aggregate_id', \
    value ->> 'event_type', value ->> 'created_by' from json_each($1)";

/// The statement on the table of a generation.
fn on(build: &Build, statement: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement.replace("{}", &build.table(NAME)))
}

async fn run(
    tx: ModelTx<'_>,
    sqlite: AssertSqlSafe<String>,
    postgres: AssertSqlSafe<String>,
    bound: &str,
) -> Result<(), ModelError> {
    match tx {
        ModelTx::Memory(_) => return Err(ModelError::refused("not in memory")),
        ModelTx::Sqlite(connection) => {
            sqlx::query(sqlite).bind(bound).execute(connection).await?;
        }
        ModelTx::Postgres(connection) => {
            sqlx::query(postgres)
                .bind(bound)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

async fn run_plain(tx: ModelTx<'_>, sql: AssertSqlSafe<String>) -> Result<(), ModelError> {
    match tx {
        ModelTx::Memory(_) => return Err(ModelError::refused("not in memory")),
        ModelTx::Sqlite(connection) => {
            sqlx::query(sql).execute(connection).await?;
        }
        ModelTx::Postgres(connection) => {
            sqlx::query(sql).execute(connection).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Projection for Rows {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn runs_on(&self, kind: ModelKind) -> bool {
        kind != ModelKind::Memory
    }

    async fn create(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
        run_plain(tx, on(build, CREATE)).await
    }

    async fn apply(
        &self,
        events: &[RecordedEvent],
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<(), ModelError> {
        let rows = events.iter().map(|event| {
            json!({
                "position": event.position,
                "aggregate_id": event.stream.aggregate_id,
                "event_type": event.event_type,
                "created_by": event.created_by,
            })
        });
        let rows = rows.collect::<serde_json::Value>().to_string();
        run(
            tx,
            on(build, INSERT_SQLITE),
            on(build, INSERT_POSTGRES),
            &rows,
        )
        .await
    }

    async fn remove(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
        run_plain(tx, on(build, "drop table {}")).await
    }
}
