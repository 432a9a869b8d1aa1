//! Idempotency keys: one effect and one answer, whatever happens in between.

use futures_util::future::join_all;
use serde_json::json;

use super::{Wire, user};
use crate::support::backends;

const KEY: [(&str, &str); 1] = [("Idempotency-Key", "key-1")];

#[tokio::test]
async fn a_key_is_answered_by_its_receipt_after_a_crash_and_other_commands() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        let created = wire
            .command_with("User/u1", "create", &user("a"), &KEY)
            .await;
        let update = json!({"nick_name": "N"});
        let key = [("Idempotency-Key", "key-2")];
        let updated = wire.command_with("User/u1", "update", &update, &key).await;
        wire.command("User/u1", "update", &json!({"nick_name": "M"}))
            .await
            .is(200);
        let hash = hashes(&wire).await;
        wire.server.kill9();
        let wire = Wire::start(&backend).await;

        let created_again = wire
            .command_with("User/u1", "create", &user("a"), &KEY)
            .await;
        let updated_again = wire.command_with("User/u1", "update", &update, &key).await;

        for (first, again) in [
            (created.is(201), created_again),
            (updated.is(200), updated_again),
        ] {
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            for header in ["etag", "location"] {
                assert_eq!(again.header(header), first.header(header));
            }
            assert_eq!(first.header("idempotency-replayed"), None);
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
        }
        assert_eq!(hashes(&wire).await, hash);
        assert_eq!(wire.state("User/u1").await["nick_name"], "M");
        assert_eq!(wire.head().await, 3);
    }
}

async fn hashes(wire: &Wire) -> Vec<String> {
    let query = "select event_data ->> 'password_hash' from domain_events \
                 where event_type = 'UserCreatedEvent'";
    let found = wire.database().await.texts(query).await;
    assert!(found.iter().all(|hash| hash.contains("$argon2id$")));
    found
}

#[tokio::test]
async fn a_key_with_another_command_or_body_is_refused() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.command_with("User/u1", "create", &user("a"), &KEY)
            .await
            .is(201);
        let mut password = user("a");
        password["password"] = json!("another");
        let cases = [
            ("create", user("b")),
            ("create", password),
            ("update", json!({"nick_name": "N"})),
            ("delete", json!({})),
        ];
        for (command, body) in cases {
            let answer = wire.command_with("User/u1", command, &body, &KEY).await;

            answer.problem(422, "idempotency-key-reused");
        }
        assert_eq!(wire.head().await, 1);
    }
}

#[tokio::test]
async fn the_same_command_spelled_otherwise_is_the_same() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    let roles = |ids: &[&str]| json!({"role_ids": ids});
    let first = wire
        .command_with("User/u1", "assign-roles", &roles(&["a", "b"]), &KEY)
        .await;

    let again = wire
        .command_with("User/u1", "assign-roles", &roles(&["b", "a", "b"]), &KEY)
        .await;

    assert_eq!(again.is(200).body, first.is(200).body);
}

#[tokio::test]
async fn a_key_belongs_to_one_aggregate() {
    let wire = Wire::sqlite(&[]).await;

    let first = wire
        .command_with("User/u1", "create", &user("a"), &KEY)
        .await;
    let second = wire
        .command_with("User/u2", "create", &user("b"), &KEY)
        .await;

    first.is(201);
    assert_eq!(second.is(201).header("idempotency-replayed"), None);
}

#[tokio::test]
async fn a_new_aggregate_under_a_key_is_one_aggregate() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        let path = "/v1/aggregates/User/commands/create";
        let first = wire.post_with(path, &user("a"), &KEY).await;
        wire.server.kill9();
        let wire = Wire::start(&backend).await;

        let again = wire.post_with(path, &user("a"), &KEY).await;
        let other = wire.post_with(path, &user("b"), &KEY).await;

        assert_eq!(again.is(201).body, first.is(201).body);
        assert_eq!(again.header("location"), first.header("location"));
        other.problem(422, "idempotency-key-reused");
        assert_eq!(wire.head().await, 1);
    }
}

#[tokio::test]
async fn retries_at_once_have_one_effect() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let body = user("a");

        let all = (0..20).map(|_| wire.command_with("User/u1", "create", &body, &KEY));
        let answers = join_all(all).await;

        let mut fresh = 0;
        for answer in &answers {
            assert_eq!(answer.is(201).body, answers[0].body);
            fresh += usize::from(answer.header("idempotency-replayed").is_none());
        }
        assert_eq!((fresh, wire.head().await), (1, 1));
    }
}

#[tokio::test]
async fn a_command_that_changed_nothing_or_would_now_be_refused_is_answered_again() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        let delete = [("Idempotency-Key", "delete"), ("If-Match", "\"1\"")];
        let same = json!({"nick_name": "Nick"});
        let nothing = wire.command_with("User/u1", "update", &same, &KEY).await;
        let deleted = wire
            .command_with("User/u1", "delete", &json!({}), &delete)
            .await;

        let nothing_again = wire.command_with("User/u1", "update", &same, &KEY).await;
        let deleted_again = wire
            .command_with("User/u1", "delete", &json!({}), &delete)
            .await;

        assert_eq!(nothing.is(200).body["events"], json!([]));
        assert_eq!(nothing_again.is(200).body, nothing.body);
        assert_eq!(deleted_again.is(200).body, deleted.is(200).body);
        assert_eq!(deleted_again.header("idempotency-replayed"), Some("true"));
    }
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let wire = Wire::sqlite(&[]).await;
    let update = json!({"nick_name": "N"});

    let early = wire.command_with("User/u1", "update", &update, &KEY).await;
    wire.create_user("u1").await;
    let later = wire.command_with("User/u1", "update", &update, &KEY).await;

    early.problem(422, "command-rejected");
    assert_eq!(later.is(200).event_types(), ["UserUpdatedEvent"]);
    assert_eq!(later.header("idempotency-replayed"), None);
}
