//! Rows of tables that are another program's.

use sqlx::{AssertSqlSafe, SqlitePool};

use super::*;
use crate::store::contract::OtherProgram;

/// Another program on the file, with its own connections.
pub(super) struct Neighbour(pub(super) SqlitePool);

/// The table of the contract, as SQLite has it.
const TABLES: &str = "
    create table things (
        id text primary key,
        name text not null unique,
        status text not null check (status in ('ON', 'OFF')),
        password text,
        active boolean not null default false,
        size integer not null,
        seen_at datetime,
        doc json,
        note varchar(20) not null default 'unset',
        made_by text,
        changed_by text
    );
    create table thing_tags (
        thing_id text not null,
        tag text not null,
        primary key (thing_id, tag)
    );
";

impl Neighbour {
    pub(super) async fn at(url: &str) -> Arc<Self> {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
        let options = options.busy_timeout(std::time::Duration::from_secs(30));
        Arc::new(Self(SqlitePool::connect_with(options).await.unwrap()))
    }

    pub(super) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn change(&self, sql: String, values: &[Option<&str>]) -> u64 {
        let statement = sqlx::query(AssertSqlSafe(sql));
        let statement = values
            .iter()
            .fold(statement, |it, value| it.bind(value.map(str::to_owned)));
        statement.execute(&self.0).await.unwrap().rows_affected()
    }
}

#[async_trait]
impl OtherProgram for Neighbour {
    async fn make_tables(&self) {
        self.run(TABLES).await;
    }

    async fn insert(&self, id: &str, name: &str) {
        let insert = "insert into things (id, name, status, size) values (?, ?, 'ON', 0)";
        self.change(insert.to_owned(), &[Some(id), Some(name)])
            .await;
    }

    async fn set(&self, id: &str, column: &'static str, value: Option<&str>) -> bool {
        let update = format!("update things set {column} = ? where id = ?");
        self.change(update, &[value, Some(id)]).await == 1
    }

    async fn grow(&self, id: &str, by: i64) {
        let update = format!("update things set size = size + {by} where id = ?");
        self.change(update, &[Some(id)]).await;
    }

    async fn remove(&self, id: &str) {
        let delete = "delete from things where id = ?";
        self.change(delete.to_owned(), &[Some(id)]).await;
    }

    async fn tag(&self, id: &str, tag: &str, add: bool) {
        let change = if add {
            "insert into thing_tags (thing_id, tag) values (?, ?)"
        } else {
            "delete from thing_tags where thing_id = ? and tag = ?"
        };
        self.change(change.to_owned(), &[Some(id), Some(tag)]).await;
    }

    async fn text(&self, id: &str, column: &'static str) -> Option<String> {
        let select = format!("select {column} from things where id = ?");
        let found: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(select))
            .bind(id.to_owned())
            .fetch_optional(&self.0)
            .await
            .unwrap();
        found.flatten()
    }
}
