//! Commands beside a server on the same SQLite file, and beside programs that insert events.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use ulid::Ulid;

use crate::support::{
    Backend, admin,
    command::{run, run_with},
    server::Server,
};

/// A server on the file, and what its settings and those of a command say of its writers.
async fn serve(url: &str, writers: &str) -> Server {
    Server::start(&[
        ("DORMOUSE__STORE__URL", url),
        ("DORMOUSE__STORE__WRITERS", writers),
        ("DORMOUSE__AGGREGATES__User__MODE", "state-only"),
        ("DORMOUSE__HTTP__WORKERS", "1"),
    ])
    .await
}

async fn event_types(server: &Server, user: &str) -> Vec<String> {
    let url = format!("{}/v1/aggregates/User/{user}/events", server.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    let events = answer["events"].as_array().unwrap().iter();
    events
        .map(|event| event["event_type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn rows_are_adopted_and_repaired_beside_a_server_where_both_share_the_file() {
    let backend = Backend::sqlite();
    admin::load(&backend).await;
    let url = backend.store_url();
    let server = serve(&url, "shared").await;
    let shared = [("DORMOUSE__STORE__WRITERS", "shared")];

    let adopted = run_with(&url, &["adopt", "User"], &shared);
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let ban = "update sys_user set status = 'BANNED' where id = '3'";
    other.execute(ban).await.unwrap();
    let repair = ["repair", "User", "3", "--from", "row", "--reason", "a test"];
    let repaired = run_with(&url, &repair, &shared);

    assert!(adopted.prints(0).starts_with("3 rows"), "{adopted:?}");
    let last = repaired.prints(0).lines().last().unwrap();
    assert_eq!(last, "User/3: UserReconciledEvent is appended as version 2");
    assert_eq!(event_types(&server, "1").await, ["UserAdoptedEvent"]);
    let expected = ["UserAdoptedEvent", "UserReconciledEvent"];
    assert_eq!(event_types(&server, "3").await, expected);
}

#[tokio::test]
async fn whoever_may_not_write_beside_a_server_is_told_what_to_set() {
    let backend = Backend::sqlite();
    admin::load(&backend).await;
    let url = backend.store_url();
    let _server = serve(&url, "exclusive").await;

    let refused = run_with(&url, &["adopt", "User"], &[]);

    assert_eq!(refused.code, Some(1));
    let told = "`store.writers` set to \"shared\"";
    assert!(refused.errors.contains(told), "{}", refused.errors);
}

/// The event of a change, as a program without dormouse commits it; with the row, or without it.
async fn rename_elsewhere(url: &str, with_row: bool) {
    let (id, correlation) = (Ulid::generate(), Ulid::generate());
    let row = if with_row {
        "update sys_user set nick_name = 'Theirs' where id = '1';"
    } else {
        ""
    };
    let statements = format!(
        "begin; {row} insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
             event_data, occurred_at, correlation_id) \
         values ('{id}', 'User', '1', 2, 'UserUpdatedEvent', '{{\"nick_name\": \"Theirs\"}}', \
             now(), '{correlation}'); commit"
    );
    let mut other = PgConnection::connect(url).await.unwrap();
    let inserted = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut other);
    inserted.await.unwrap();
}

#[tokio::test]
async fn an_event_that_no_server_has_numbered_yet_is_told_as_what_it_is() {
    let backend = Backend::postgres().await;
    admin::load(&backend).await;
    let url = backend.store_url();
    run(&url, &["migrate"]).prints(0);
    run(&url, &["adopt", "User"]).prints(0);
    rename_elsewhere(&url, true).await;
    let repair = ["repair", "User", "1", "--from", "row", "--reason", "a test"];

    let verified = run(&url, &["verify", "User"]);
    let looked_at = run(&url, &[&repair[..], &["--dry-run"]].concat());
    // Who writes may number it.
    let repaired = run(&url, &repair);
    let again = run(&url, &["verify", "User"]);

    let told = "User/1: its newest events have no position yet";
    assert!(verified.prints(3).starts_with(told), "{verified:?}");
    assert_eq!(looked_at.code, Some(1));
    let told = "the newest events of 1 have no position yet";
    assert!(looked_at.errors.contains(told), "{looked_at:?}");
    assert_eq!(repaired.prints(0), "User/1: row and events agree\n");
    again.prints(0);
}

#[tokio::test]
async fn an_event_that_no_server_has_numbered_yet_is_told_where_the_row_is_as_before() {
    let backend = Backend::postgres().await;
    admin::load(&backend).await;
    let url = backend.store_url();
    run(&url, &["migrate"]).prints(0);
    run(&url, &["adopt", "User"]).prints(0);
    rename_elsewhere(&url, false).await;

    let verified = run(&url, &["verify", "User"]);

    let told = "User/1: its newest events have no position yet";
    assert!(verified.prints(3).starts_with(told), "{verified:?}");
}

#[tokio::test]
async fn who_was_deleted_while_rows_alone_were_kept_is_told_to_the_log() {
    let backend = Backend::sqlite();
    admin::load(&backend).await;
    let url = backend.store_url();
    run(&url, &["adopt", "User"]).prints(0);
    let server = serve(&url, "shared").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let user = format!("{}/v1/aggregates/User/3", server.url());
    let deleted = client.post(format!("{user}/commands/delete")).send().await;
    assert_eq!(deleted.unwrap().status(), 200);

    let repair = ["repair", "User", "3", "--from", "row", "--reason", "a test"];
    let repaired = run_with(&url, &repair, &[("DORMOUSE__STORE__WRITERS", "shared")]);

    let last = repaired.prints(0).lines().last().unwrap();
    assert_eq!(last, "User/3: UserReconciledEvent is appended as version 2");
    let events = client.get(format!("{user}/events")).send().await.unwrap();
    let events: Value = events.json().await.unwrap();
    let told = &events["events"][1]["event_data"];
    assert_eq!(
        told,
        &serde_json::json!({ "reason": "a test", "state": null })
    );
    let verify = ["verify", "User"];
    run_with(&url, &verify, &[("DORMOUSE__STORE__WRITERS", "shared")]).prints(0);
}
