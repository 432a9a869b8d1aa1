//! Passwords and their hashes: in the database, and nowhere else.

use serde_json::{Value, json};

use super::{Wire, user};
use crate::support::{backends, database::Foreign};

const PASSWORD: &str = "Tr0ub4dor-und-3";
const CHANGED: &str = "c0rrect-h0rse-battery";

#[tokio::test]
async fn no_answer_and_no_line_of_the_log_shows_a_password_or_its_hash() {
    for backend in backends().await {
        let settings = [
            ("RUST_LOG", "trace"),
            ("DORMOUSE__AGGREGATES__User__SNAPSHOT_EVERY", "2"),
        ];
        let wire = Wire::start_with(&backend.store_url(), &settings).await;
        let mut shown = live(&wire).await;
        shown.extend(look(&wire).await);
        let mut secrets = hashes(&wire).await;
        assert_eq!(
            secrets.len(),
            3,
            "one for each password and one in the snapshot"
        );
        // A restart recovers from the snapshot and the events.
        let Wire { mut server, .. } = wire;
        assert!(server.terminate().success());
        shown.push(server.log());
        let wire = Wire::start_with(&backend.store_url(), &settings).await;
        shown.extend(look(&wire).await);
        let update = json!({"nick_name": "M"});
        shown.push(
            wire.command("User/u1", "update", &update)
                .await
                .is(200)
                .text
                .clone(),
        );
        shown.push(wire.server.log());

        secrets.extend([PASSWORD, CHANGED].map(str::to_owned));
        secrets.extend(["$secret", "argon2id$"].map(str::to_owned));
        for (text, secret) in shown
            .iter()
            .flat_map(|text| secrets.iter().map(move |s| (text, s)))
        {
            let place = text.find(secret.as_str());
            assert_eq!(
                place.map(|at| &text[at.saturating_sub(300)..at]),
                None,
                "{secret}"
            );
        }
        // The log was on.
        assert!(shown.iter().any(|text| text.contains("TRACE")));
    }
}

/// A user's life, with the mistakes that put passwords into errors; all answers.
async fn live(wire: &Wire) -> Vec<String> {
    let mut create = user("anna");
    create["password"] = json!(PASSWORD);
    let mut wrong = create.clone();
    wrong["email"] = json!("none");
    let mut unknown = create.clone();
    unknown["passphrase"] = json!(PASSWORD);
    let steps = [
        ("create", wrong),
        ("create", unknown),
        ("create", json!({"username": {"password": PASSWORD}})),
        ("create", json!([PASSWORD])),
        ("create", create.clone()),
        ("create", create),
        ("update", json!({"password": PASSWORD})),
        ("change-password", json!({"password": [PASSWORD]})),
        (
            "change-password",
            json!({"password": {"$secret": PASSWORD}}),
        ),
        (
            "change-password",
            json!({"password": CHANGED, "old_password": PASSWORD}),
        ),
        ("change-password", json!({"password": CHANGED})),
        ("update", json!({"nick_name": "N"})),
    ];
    let key = [("Idempotency-Key", "k")];
    let mut shown = Vec::new();
    for (command, body) in &steps {
        for headers in [&[][..], &key] {
            let answer = wire.command_with("User/u1", command, body, headers).await;
            shown.push(format!("{:?} {}", answer.headers, answer.text));
        }
    }
    let broken = format!("{{\"password\": \"{PASSWORD}\", ");
    let request = wire.request(
        reqwest::Method::POST,
        "/v1/aggregates/User/u1/commands/create",
    );
    let request = request
        .header("content-type", "application/json")
        .body(broken);
    shown.push(super::send(request).await.text);
    shown
}

/// All that can be read of the user.
async fn look(wire: &Wire) -> Vec<String> {
    let mut shown = Vec::new();
    for path in ["User/u1", "User/u1/events", "User/u1/events?limit=1"] {
        shown.push(
            wire.get(&format!("/v1/aggregates/{path}"))
                .await
                .is(200)
                .text
                .clone(),
        );
    }
    shown
}

/// Every hash in the database, as text: of events, and of snapshots once one is written.
async fn hashes(wire: &Wire) -> Vec<String> {
    let mut database = wire.database().await;
    super::until("a snapshot is written", async || {
        wire.database()
            .await
            .number("select count(*) from aggregate_snapshots")
            .await
            > 0
    })
    .await;
    let events = "select event_data ->> 'password_hash' from domain_events where event_type in \
                  ('UserCreatedEvent', 'UserPasswordChangedEvent')";
    let snapshots = "select snapshot_data ->> 'password_hash' from aggregate_snapshots";
    let mut all = database.texts(events).await;
    all.extend(database.texts(snapshots).await);
    let hash = |json: &String| {
        let stored: Value = serde_json::from_str(json).unwrap();
        stored["$secret"].as_str().unwrap().to_owned()
    };
    let mut all: Vec<String> = all.iter().map(hash).collect();
    all.sort();
    all.dedup();
    assert!(all.iter().all(|hash| hash.starts_with("$argon2id$")));
    all
}

#[tokio::test]
async fn secrets_of_an_event_type_that_this_program_does_not_know_are_not_shown() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        // A second process could not have the file open in SQLite's exclusive mode.
        wire.server.kill9();
        let foreign = Foreign {
            aggregate_id: "u1",
            version: 2,
            event_type: "UserTokenGivenEvent",
            data: r#"{"token":{"$secret":"hidden-token"},"list":[{"$secret":1},2],"kept":true}"#,
        };
        wire.database().await.insert(&foreign).await;
        let wire = Wire::start(&backend).await;

        let events = wire.events("User/u1").await;
        let state = wire.get("/v1/aggregates/User/u1").await;

        assert_eq!(events[1]["event_data"], json!({"list": [2], "kept": true}));
        assert_eq!(events[0]["event_data"]["password_hash"], Value::Null);
        state.problem_about(500, "internal", "UserTokenGivenEvent");
        assert!(!state.text.contains("hidden-token"));
    }
}
