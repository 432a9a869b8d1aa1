//! The rows of roles: a table that is not dormouse's own, which it writes beside the events.

use std::sync::Arc;

use dormouse::{
    domain::{AggregateId, AggregateType, RowValue, StateRow as _, StreamId, Version},
    iam::Role,
    store::{EventStore, RowAccess},
    testing::checker::Row,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::{
    check::{ROLE, State, token_of},
    place::{Kind, Place},
};

/// As in `examples/data`, without the rows.
const TABLE: &str = "create table sys_role (id text not null primary key, code text not null, \
    name text not null, description text, pid text not null default '0', status text not null, \
    created_at TIME, created_by text not null, updated_at TIME, updated_by text); \
    create unique index sys_role_code_key on sys_role (code)";
const PAGE: u32 = 500;

/// Makes the table.
pub(crate) async fn create(place: &Place) {
    match place.kind {
        Kind::Sqlite => {
            let options: sqlx::sqlite::SqliteConnectOptions =
                place.url.parse().expect("a URL of ours");
            let options = options.create_if_missing(true);
            let mut connection = options.connect().await.expect("SQLite's file opens");
            let made = connection.execute(AssertSqlSafe(TABLE.replace("TIME", "text")));
            made.await.expect("the table is made");
            connection.close().await.ok();
        }
        Kind::Postgres => {
            let options: sqlx::postgres::PgConnectOptions =
                place.url.parse().expect("a URL of ours");
            let mut connection = options.connect().await.expect("the database is there");
            let made = connection.execute(AssertSqlSafe(TABLE.replace("TIME", "timestamptz")));
            made.await.expect("the table is made");
            connection.close().await.ok();
        }
    }
}

/// All rows, with the versions that they say they are of.
pub(crate) async fn read(store: &dyn EventStore) -> Vec<Row<State>> {
    let rows = store.state_rows().expect("a store of ours keeps rows");
    let table = Arc::new(Role::table());
    rows.check(&table, RowAccess::Read)
        .await
        .expect("the table is as it was made");
    let role = AggregateType::parse(ROLE).expect("a type");
    let mut read: Vec<Row<State>> = Vec::new();
    loop {
        let after = read.last().map(|row| row.stream.aggregate_id.to_string());
        let page = rows.page(Some(&role), &table, after.as_deref(), PAGE).await;
        let page = page.expect("the rows are read");
        if page.is_empty() {
            return read;
        }
        read.extend(page.into_iter().map(|(key, loaded)| {
            let row = loaded.row.unwrap_or_default();
            let shows = match row.values.get("description") {
                Some(RowValue::Text(text)) => token_of(text),
                _ => None,
            };
            Row {
                stream: StreamId {
                    aggregate_type: role.clone(),
                    aggregate_id: AggregateId::parse(&key).expect("an id"),
                },
                version: loaded
                    .track
                    .map_or(Version::ZERO, |track| track.log_version),
                state: shows,
            }
        }));
    }
}
