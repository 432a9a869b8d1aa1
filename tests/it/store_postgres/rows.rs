//! Rows of tables that are another program's.

mod admin;
mod fit;
mod plans;
mod races;
mod refusals;
mod rights;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use dormouse::{
    domain::{Column, LinkTable, Row, RowMarks, RowValue, StateTable, Version},
    store::{
        Commit, EventStore, LoadedRow, RowChange, RowTrack, VersionedBy, contract::OtherProgram,
        postgres::PostgresStore,
    },
};
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Row as _};

/// Whoever keeps a type's rows up to date must be let do so; here, the role of servers where there is one.
const GRANTS: &str = "do $$ begin \
    if exists (select from pg_roles where rolname = 'dormouse_app') then \
        grant select, insert, update, delete on things, thing_tags to dormouse_app; \
    end if; end $$";

/// Another program, with its own connections.
pub(super) struct Neighbour(pub(super) PgPool);

/// The table of the contract, with types as such programs have them.
const TABLES: &str = r#"
    create type "Status" as enum ('ON', 'OFF');
    create table things (
        id text primary key,
        name text not null unique,
        status "Status" not null,
        password text,
        active boolean not null default false,
        size bigint not null,
        seen_at timestamp(3),
        doc jsonb,
        note varchar(20) not null default 'unset',
        made_by text,
        changed_by text
    );
    create table thing_tags (
        thing_id text not null,
        tag text not null,
        primary key (thing_id, tag)
    );
"#;

impl Neighbour {
    pub(super) async fn at(url: &str) -> Arc<Self> {
        Arc::new(Self(PgPool::connect(url).await.unwrap()))
    }

    pub(super) async fn run(&self, sql: &str) {
        self.0
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .unwrap();
    }
}

#[async_trait]
impl OtherProgram for Neighbour {
    async fn make_tables(&self) {
        self.run(TABLES).await;
        self.run(GRANTS).await;
    }

    async fn insert(&self, id: &str, name: &str) {
        sqlx::query("insert into things (id, name, status, size) values ($1, $2, 'ON', 0)")
            .bind(id)
            .bind(name)
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn set(&self, id: &str, column: &'static str, value: Option<&str>) -> bool {
        let cast = if column == "status" {
            "::\"Status\""
        } else {
            ""
        };
        let update = format!("update things set {column} = $2{cast} where id = $1");
        let updated = sqlx::query(AssertSqlSafe(update))
            .bind(id)
            .bind(value)
            .execute(&self.0)
            .await
            .unwrap();
        updated.rows_affected() == 1
    }

    async fn grow(&self, id: &str, by: i64) {
        sqlx::query("update things set size = size + $2 where id = $1")
            .bind(id)
            .bind(by)
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn remove(&self, id: &str) {
        sqlx::query("delete from things where id = $1")
            .bind(id)
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn tag(&self, id: &str, tag: &str, add: bool) {
        let change = if add {
            "insert into thing_tags (thing_id, tag) values ($1, $2)"
        } else {
            "delete from thing_tags where thing_id = $1 and tag = $2"
        };
        sqlx::query(change)
            .bind(id)
            .bind(tag)
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn text(&self, id: &str, column: &'static str) -> Option<String> {
        let select = format!("select {column}::text from things where id = $1");
        let row = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .fetch_optional(&self.0)
            .await
            .unwrap();
        row.and_then(|row| row.get(0))
    }
}

/// A table of texts, with `id` as its key.
fn table(name: &'static str, columns: &[&'static str]) -> Arc<StateTable> {
    Arc::new(StateTable {
        name: name.into(),
        key: "id",
        columns: columns.iter().map(|name| Column::text(name)).collect(),
        stamps: Vec::new(),
        links: Vec::new(),
    })
}

/// The contract's table, in part.
fn things() -> Arc<StateTable> {
    let mut things = StateTable::clone(&table("things", &["name", "status", "size"]));
    things.links = vec![LinkTable {
        name: "thing_tags",
        owner: "thing_id",
        member: "tag",
    }];
    Arc::new(things)
}

fn text(text: &str) -> RowValue {
    RowValue::Text(text.to_owned())
}

fn row(values: &[(&'static str, RowValue)]) -> Row {
    Row {
        values: values.iter().cloned().collect(),
        links: BTreeMap::new(),
    }
}

fn thing(name: &str, status: &str) -> Row {
    let mut row = row(&[
        ("name", text(name)),
        ("status", text(status)),
        ("size", text("0")),
    ]);
    row.links.insert("thing_tags", BTreeSet::new());
    row
}

/// The same commit, which changes a row as well.
fn writing(
    mut commit: Commit,
    table: &Arc<StateTable>,
    before: Option<&Row>,
    after: Option<&Row>,
) -> Commit {
    let version = Version::new(commit.expected.get() + commit.events.len() as u64);
    commit.row = Some(Box::new(RowChange {
        table: Arc::clone(table),
        before: before.cloned(),
        after: after.cloned(),
        on_insert: Vec::new(),
        on_update: Vec::new(),
        track: RowTrack {
            version,
            log_version: version,
            marks: after.map(RowMarks::of),
            agreed: after.map(RowMarks::of),
            rowless: None,
        },
        versioned_by: VersionedBy::Log,
    }));
    commit
}

async fn load(store: &PostgresStore, table: &Arc<StateTable>, id: &str) -> LoadedRow {
    let one = super::stream(id);
    let rows = store.state_rows().unwrap();
    let ids = [one.aggregate_id];
    let mut loaded = rows.load(&one.aggregate_type, table, &ids).await.unwrap();
    loaded.remove(0)
}
