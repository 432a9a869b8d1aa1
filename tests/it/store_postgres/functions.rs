//! The SQL functions for programs that are not dormouse: in their transaction, next to their row.

use std::{collections::BTreeSet, time::Duration};

use dormouse::domain::EventId;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, error::ErrorKind};

use crate::support::{Backend, admin, command::run, server::Server};

/// A server in `dual-write` on the tables of an admin system, and a program beside it.
struct Beside {
    server: Server,
    other: PgConnection,
    url: String,
}

impl Beside {
    async fn start() -> Self {
        let backend = Backend::postgres().await;
        admin::load(&backend).await;
        let url = backend.store_url();
        // Twice: it may be applied again at any time.
        for _ in 0..2 {
            run(&url, &["migrate", "--with-functions"]).prints(0);
        }
        run(&url, &["adopt", "User"]).prints(0);
        let other = PgConnection::connect(&url).await.unwrap();
        let server = Server::start(&[
            ("DORMOUSE__STORE__URL", url.as_str()),
            ("DORMOUSE__AGGREGATES__User__MODE", "dual-write"),
            ("DORMOUSE__HTTP__WORKERS", "2"),
        ])
        .await;
        Self { server, other, url }
    }

    /// Their row and its event, in a transaction that ends so; the version the function gave.
    async fn rename(&mut self, name: &str, expected: Option<i64>, end: &str) -> sqlx::Result<i64> {
        self.other.execute("begin").await?;
        sqlx::query("update sys_user set nick_name = $1 where id = '1'")
            .bind(name)
            .execute(&mut self.other)
            .await?;
        let record = "select dormouse_record_event('User', '1', 'UserUpdatedEvent', \
            jsonb_build_object('nick_name', $1), expected_version => $2, created_by => 'legacy')";
        let recorded = sqlx::query_scalar(record)
            .bind(name)
            .bind(expected)
            .fetch_one(&mut self.other)
            .await;
        let end = if recorded.is_ok() { end } else { "rollback" };
        self.other
            .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(end.to_owned())))
            .await?;
        recorded
    }

    async fn ask(&self, path: &str) -> Value {
        let url = format!("{}/v1/{path}", self.server.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn name_and_version(&self) -> (String, i64) {
        let user = self.ask("aggregates/User/1").await;
        let name = user["state"]["nick_name"].as_str().unwrap();
        (name.to_owned(), user["version"].as_i64().unwrap())
    }
}

#[tokio::test]
async fn a_row_and_its_event_are_recorded_together_and_met_by_the_server() {
    let mut beside = Beside::start().await;
    let before = beside.name_and_version().await;

    let first = beside.rename("Theirs", Some(1), "commit").await.unwrap();
    let second = beside.rename("Again", None, "commit").await.unwrap();

    assert_eq!((before.1, first, second), (1, 2, 3));
    assert_eq!(beside.name_and_version().await, ("Again".to_owned(), 3));
    let history = beside.ask("aggregates/User/1/events").await;
    let types: Vec<&str> = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect();
    // Row and log were in step: nothing had to be reconciled.
    assert_eq!(
        types,
        ["UserAdoptedEvent", "UserUpdatedEvent", "UserUpdatedEvent"]
    );
    let last = &history["events"][2];
    assert_eq!(
        (&last["created_by"], &last["schema_version"]),
        (&json!("legacy"), &json!(1))
    );
    run(&beside.url, &["verify", "User"]).prints(0);
}

#[tokio::test]
async fn a_stale_version_is_refused_with_the_row_and_a_rollback_leaves_nothing() {
    let mut beside = Beside::start().await;
    let before = beside.name_and_version().await;

    let rolled_back = beside.rename("Never", Some(1), "rollback").await.unwrap();
    let after_rollback = beside.name_and_version().await;
    let first = beside.rename("First", Some(1), "commit").await.unwrap();
    let stale = beside.rename("Stale", Some(1), "commit").await.unwrap_err();

    // A rolled back version is given again.
    assert_eq!((rolled_back, first), (2, 2));
    assert_eq!(after_rollback, before);
    let stale = stale.as_database_error().unwrap();
    assert_eq!(stale.kind(), ErrorKind::UniqueViolation);
    assert_eq!(stale.code().as_deref(), Some("23505"));
    assert_eq!(stale.constraint(), Some("domain_events_stream_key"));
    assert_eq!(beside.name_and_version().await, ("First".to_owned(), 2));
    run(&beside.url, &["verify", "User"]).prints(0);
}

#[tokio::test]
async fn of_two_transactions_at_one_version_the_second_waits_and_is_refused() {
    let mut beside = Beside::start().await;
    let mut second = PgConnection::connect(&beside.url).await.unwrap();
    let record = "select dormouse_record_event('User', '1', 'UserUpdatedEvent', '{}')";
    beside.other.execute("begin").await.unwrap();
    let first: i64 = sqlx::query_scalar(record)
        .fetch_one(&mut beside.other)
        .await
        .unwrap();

    let waiting = tokio::spawn(async move {
        // It sees version 1 as the last, too.
        let recorded = sqlx::query_scalar::<_, i64>(record).fetch_one(&mut second);
        recorded.await
    });
    let locked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
        and datname = current_database()";
    let waits = async {
        while sqlx::query_scalar::<_, i64>(locked)
            .fetch_one(&mut beside.other)
            .await
            .unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waits).await;
    waited.expect("the second waits for the first");
    beside.other.execute("commit").await.unwrap();

    let refused = waiting.await.unwrap().unwrap_err();
    let refused = refused.as_database_error().unwrap();
    assert_eq!((first, refused.kind()), (2, ErrorKind::UniqueViolation));
}

#[tokio::test]
async fn an_id_of_the_function_is_a_ulid_of_now_and_no_two_are_the_same() {
    let mut beside = Beside::start().await;

    let ids: Vec<String> =
        sqlx::query_scalar("select dormouse_ulid() from generate_series(1, 10000)")
            .fetch_all(&mut beside.other)
            .await
            .unwrap();

    let now = chrono::Utc::now().timestamp_millis();
    for id in &ids {
        let parsed: EventId = id.parse().unwrap();
        assert_eq!(parsed.to_string(), *id);
        let made = i64::try_from(parsed.0.timestamp_ms()).unwrap();
        assert!((now - made).abs() < 60_000, "{id}: {made} is not {now}");
    }
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
}
