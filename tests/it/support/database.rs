//! A database that a server or a command works on, looked at and written to from beside.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// A connection of the test's own.
pub(crate) enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// An event as another program would write it.
pub(crate) struct Foreign<'a> {
    pub(crate) aggregate_id: &'a str,
    pub(crate) version: i64,
    pub(crate) event_type: &'a str,
    pub(crate) data: &'a str,
}

impl Database {
    pub(crate) async fn open(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            Self::Sqlite(SqliteConnection::connect(url).await.unwrap())
        } else {
            Self::Postgres(PgConnection::connect(url).await.unwrap())
        }
    }

    pub(crate) async fn run(&mut self, statement: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match self {
            Self::Sqlite(connection) => drop(query.execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(query.execute(connection).await.unwrap()),
        }
    }

    /// The one number that a query finds.
    pub(crate) async fn number(&mut self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(query).fetch_one(connection).await,
            Self::Postgres(connection) => sqlx::query_scalar(query).fetch_one(connection).await,
        }
        .unwrap()
    }

    /// The position of the last event of the log; zero where it is empty.
    pub(crate) async fn last_position(&mut self) -> i64 {
        let query = "select coalesce(max(position), 0) from domain_events";
        self.number(query).await
    }

    /// All texts that a query finds.
    pub(crate) async fn texts(&mut self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(query).fetch_all(connection).await,
            Self::Postgres(connection) => sqlx::query_scalar(query).fetch_all(connection).await,
        }
        .unwrap()
    }

    /// Adds an event of a user to the log behind the server's back, and gives its position.
    pub(crate) async fn insert(&mut self, event: &Foreign<'_>) -> i64 {
        let position = self.last_position().await + 1;
        let (now, head) = match self {
            // Here the position is the row's own number.
            Self::Sqlite(_) => ("1700000000000006", String::new()),
            Self::Postgres(_) => (
                "'2023-11-14T22:13:20.000006Z'",
                format!("update log_head set position = {position};"),
            ),
        };
        let Foreign {
            aggregate_id,
            version,
            event_type,
            data,
        } = event;
        let ulid = ulid::Ulid::from_parts(1_700_000_000_000, rand::random());
        let insert = format!(
            "begin; \
             insert into domain_events (id, aggregate_type, aggregate_id, version, position, \
             event_type, schema_version, occurred_at, correlation_id, event_data) values \
             ('{ulid}', 'User', '{aggregate_id}', {version}, {position}, '{event_type}', 1, {now}, \
             '{ulid}', '{data}'); \
             {head} commit"
        );
        self.run(&insert).await;
        position
    }
}
