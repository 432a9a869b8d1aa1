//! The answers to commands that were carried out.

use serde_json::json;

use super::{Wire, is_ulid, user};
use crate::support::backends;

#[tokio::test]
async fn a_command_is_answered_with_what_it_stored() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;

        let created = wire.create_user("u1").await;
        wire.create_user("u2").await;
        let updated = wire
            .command("User/u1", "update", &json!({"nick_name": "N"}))
            .await;

        assert_eq!(created.header("location"), Some("/v1/aggregates/User/u1"));
        assert_eq!(created.header("etag"), Some("\"1\""));
        assert_eq!(created.header("content-type"), Some("application/json"));
        assert_eq!(created.header("idempotency-replayed"), None);
        assert!(is_ulid(&created.body["correlation_id"]));
        assert!(is_ulid(&created.body["events"][0]["id"]));
        let expected = json!({
            "aggregate_type": "User", "aggregate_id": "u1", "version": 1, "position": 1,
            "correlation_id": created.body["correlation_id"],
            "events": [{
                "id": created.body["events"][0]["id"], "event_type": "UserCreatedEvent",
                "version": 1, "position": 1,
            }],
        });
        assert_eq!(created.body, expected);
        assert_eq!(updated.is(200).header("location"), None);
        assert_eq!(updated.header("etag"), Some("\"2\""));
        assert_eq!(updated.body["version"], 2);
        assert_eq!(updated.body["position"], 3);
        assert_eq!(updated.event_types(), ["UserUpdatedEvent"]);
        assert_ne!(
            updated.body["correlation_id"],
            created.body["correlation_id"]
        );
    }
}

#[tokio::test]
async fn the_stored_events_are_those_of_the_answer() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let mut answered = vec![wire.create_user("u1").await];
        for name in ["b", "c"] {
            let update = json!({"nick_name": name});
            answered.push(wire.command("User/u1", "update", &update).await);
        }

        let stored = wire.events("User/u1").await;

        assert_eq!(stored.len(), answered.len());
        for (event, answer) in stored.iter().zip(answered) {
            let told = &answer.body["events"][0];
            for member in ["id", "event_type", "version", "position"] {
                assert_eq!(event[member], told[member]);
            }
            assert_eq!(event["correlation_id"], answer.body["correlation_id"]);
        }
    }
}

#[tokio::test]
async fn a_command_that_changes_nothing_answers_the_last_position_of_its_aggregate() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        wire.command("User/u1", "update", &json!({"nick_name": "N"}))
            .await
            .is(200);
        wire.create_user("u2").await;

        let nothing = wire
            .command("User/u1", "update", &json!({"nick_name": "N"}))
            .await;

        assert_eq!(nothing.is(200).body["events"], json!([]));
        assert_eq!(
            (&nothing.body["version"], &nothing.body["position"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(nothing.header("etag"), Some("\"2\""));
        assert_eq!(wire.head().await, 3);
    }
}

#[tokio::test]
async fn a_new_aggregate_without_an_id_is_given_one() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;

        let first = wire
            .post("/v1/aggregates/User/commands/create", &user("a"))
            .await;
        let second = wire
            .post("/v1/aggregates/User/commands/create", &user("b"))
            .await;

        let id = first.is(201).body["aggregate_id"].as_str().unwrap();
        assert!(is_ulid(&first.body["aggregate_id"]));
        let location = format!("/v1/aggregates/User/{id}");
        assert_eq!(first.header("location"), Some(location.as_str()));
        assert_eq!(
            wire.get(&location).await.is(200).body["state"]["username"],
            "a"
        );
        assert_ne!(second.is(201).body["aggregate_id"], id);
    }
}

#[tokio::test]
async fn an_aggregate_may_have_a_word_of_the_routes_as_its_id() {
    let wire = Wire::sqlite(&[]).await;
    for id in ["commands", "events", "create", ".", ".."].iter().take(3) {
        wire.create_user(id).await;

        assert_eq!(wire.state(&format!("User/{id}")).await["username"], *id);
        assert_eq!(
            wire.events(&format!("User/{id}")).await[0]["aggregate_id"],
            *id
        );
        let head = wire.request(
            reqwest::Method::HEAD,
            &format!("/v1/aggregates/User/{id}/events"),
        );
        super::send(head).await.is(200);
    }
}

#[tokio::test]
async fn commands_at_once_all_get_their_own_version_without_a_gap() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;

        let names: Vec<_> = (0..50)
            .map(|number| json!({"nick_name": format!("n{number}")}))
            .collect();
        let updates = names
            .iter()
            .map(|update| wire.command("User/u1", "update", update));
        let answers = futures_util::future::join_all(updates).await;

        let mut versions: Vec<u64> = answers
            .iter()
            .map(|answer| answer.is(200).body["version"].as_u64().unwrap())
            .collect();
        versions.sort_unstable();
        assert_eq!(versions, (2..=51).collect::<Vec<u64>>());
        for answer in &answers {
            assert_eq!(answer.body["position"], answer.body["version"]);
        }
    }
}
