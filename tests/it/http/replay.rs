//! `dormouse replay`: snapshots are compared with their events, and written anew.

use std::process::Output;

use serde_json::{Value, json};

use super::Wire;
use crate::support::{Backend, backends, server::binary};

/// Snapshots at 3, 6, 9, …, of which two and one in each span of nine versions are kept.
const SNAPSHOTS: [(&str, &str); 3] = [
    ("DORMOUSE__AGGREGATES__User__SNAPSHOT_EVERY", "3"),
    ("DORMOUSE__AGGREGATES__User__SNAPSHOTS_KEPT", "2"),
    ("DORMOUSE__AGGREGATES__User__SNAPSHOT_HISTORY_EVERY", "9"),
];

async fn replay(backend: &Backend, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("replay").args(arguments);
    command.env("DORMOUSE__STORE__URL", backend.store_url());
    command.envs(SNAPSHOTS);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// The lines of JSON on stdout, after the exit code is as expected.
fn lines(output: &Output, code: i32) -> Vec<Value> {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    let lines = stdout.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Two users, one with 20 versions; the states at each of its versions.
async fn users(wire: &Wire) -> Vec<Value> {
    let mut states = Vec::new();
    wire.create_user("u1").await;
    for version in 2..=20 {
        states.push(wire.state("User/u1").await);
        let update = json!({"nick_name": format!("n{version}")});
        wire.command("User/u1", "update", &update).await.is(200);
    }
    states.push(wire.state("User/u1").await);
    wire.create_user("u2").await;
    states
}

async fn versions(wire: &Wire) -> Vec<String> {
    let query = "select cast(version as text) from aggregate_snapshots \
                 where aggregate_id = 'u1' and fingerprint <> 'void' order by aggregate_snapshots.version";
    wire.database().await.texts(query).await
}

#[tokio::test]
async fn a_snapshot_that_differs_from_its_events_is_told_and_replaced() {
    for backend in backends().await {
        let mut wire = Wire::start_with(&backend.store_url(), &SNAPSHOTS).await;
        let states = users(&wire).await;
        assert!(wire.server.terminate().success());
        assert_eq!(versions(&wire).await, ["3", "9", "15", "18"]);
        let agreed = lines(&replay(&backend, &["--type", "User", "--json"]).await, 0);
        let sums = json!({
            "aggregates": 2, "passed_over": 0, "events": 21, "snapshots_agreed": 4,
            "snapshots_replaced": 0, "snapshots_added": 0, "failed": 0,
        });
        assert_eq!(agreed, [sums]);

        let mut database = wire.database().await;
        for statement in [
            "update aggregate_snapshots set snapshot_data = \
             replace(snapshot_data, 'n9', 'x9') where version = 9",
            "update aggregate_snapshots set position = position + 1 where version = 15",
            "delete from aggregate_snapshots where version = 18",
            "update aggregate_snapshots set version = 900 where version = 3",
        ] {
            // PostgreSQL's column is JSON and no text.
            let statement = match &backend {
                Backend::Sqlite(_) => statement.to_owned(),
                Backend::Postgres(_) => statement.replace(
                    "replace(snapshot_data, 'n9', 'x9')",
                    "replace(snapshot_data::text, 'n9', 'x9')::jsonb",
                ),
            };
            database.run(&statement).await;
        }
        let differed = lines(&replay(&backend, &["--type", "User", "--json"]).await, 3);

        let sums = json!({
            "aggregates": 2, "passed_over": 0, "events": 21, "snapshots_agreed": 0,
            "snapshots_replaced": 3, "snapshots_added": 2, "failed": 0,
        });
        let told = json!({
            "aggregate_type": "User", "aggregate_id": "u1", "differences": [9, 15, 900],
        });
        assert_eq!(differed, [told, sums]);
        lines(&replay(&backend, &["--type", "User", "--json"]).await, 0);
        let wire = Wire::start_with(&backend.store_url(), &SNAPSHOTS).await;
        for (version, state) in (1..).zip(&states) {
            let path = format!("/v1/aggregates/User/u1?version={version}");
            assert_eq!(
                wire.get(&path).await.is(200).body["state"],
                *state,
                "{version}"
            );
        }
        assert_eq!(wire.state("User/u1").await, states[19]);
    }
}

#[tokio::test]
async fn replay_begins_where_it_is_told_and_writes_what_is_missing() {
    for backend in backends().await {
        let mut wire = Wire::start_with(&backend.store_url(), &SNAPSHOTS).await;
        users(&wire).await;
        assert!(wire.server.terminate().success());
        wire.database()
            .await
            .run("delete from aggregate_snapshots")
            .await;

        let later = [
            "--type",
            "User",
            "--from",
            "21",
            "--parallel",
            "1",
            "--json",
        ];
        let later = lines(&replay(&backend, &later).await, 0);
        assert_eq!(
            (&later[0]["aggregates"], &later[0]["passed_over"]),
            (&json!(1), &json!(1))
        );
        assert!(versions(&wire).await.is_empty());
        let all = replay(&backend, &["--type", "User"]).await;

        assert_eq!(all.status.code(), Some(0));
        let said = String::from_utf8_lossy(&all.stdout).into_owned();
        assert!(
            said.contains("2 aggregates with 21 events folded"),
            "{said}"
        );
        assert!(said.contains("3 were missing and are written"), "{said}");
        assert_eq!(versions(&wire).await, ["3", "9", "18"]);
    }
}

#[tokio::test]
async fn an_aggregate_that_cannot_be_folded_fails_and_the_others_go_on() {
    for backend in backends().await {
        let mut wire = Wire::start_with(&backend.store_url(), &SNAPSHOTS).await;
        users(&wire).await;
        assert!(wire.server.terminate().success());
        let unknown = "update domain_events set event_type = 'NobodyKnows' \
                       where aggregate_id = 'u1' and version = 5";
        wire.database().await.run(unknown).await;

        let told = lines(&replay(&backend, &["--type", "User", "--json"]).await, 1);

        assert_eq!(told[0]["aggregate_id"], "u1");
        let error = told[0]["error"].as_str().unwrap();
        assert!(
            error.contains("version 5") && error.contains("NobodyKnows"),
            "{error}"
        );
        assert_eq!(
            (&told[1]["aggregates"], &told[1]["failed"]),
            (&json!(1), &json!(1))
        );
    }
}

#[tokio::test]
async fn beside_a_server_replay_runs_on_postgresql_and_is_refused_on_sqlite() {
    for backend in backends().await {
        let wire = Wire::start_with(&backend.store_url(), &SNAPSHOTS).await;
        users(&wire).await;

        let beside = replay(&backend, &["--type", "User", "--json"]).await;

        match &backend {
            Backend::Postgres(_) => drop(lines(&beside, 0)),
            Backend::Sqlite(_) => {
                lines(&beside, 1);
                let said = String::from_utf8_lossy(&beside.stderr).into_owned();
                assert!(said.contains("is in use by another process"), "{said}");
            }
        }
        wire.command("User/u1", "update", &json!({"nick_name": "z"}))
            .await
            .is(200);
    }
}

#[tokio::test]
async fn a_type_that_nobody_knows_is_told() {
    let backend = Backend::sqlite();
    let mut wire = Wire::start(&backend).await;
    assert!(wire.server.terminate().success());

    let refused = replay(&backend, &["--type", "Nobody"]).await;

    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("there is no aggregate type `Nobody`"),
        "{said}"
    );
}
