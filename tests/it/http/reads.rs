//! States and events, read back.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Wire, is_ulid, send};
use crate::support::backends;

#[tokio::test]
async fn a_state_is_read_with_its_version_after_each_command() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        for version in 2..5 {
            let update = json!({"nick_name": format!("n{version}")});
            wire.command("User/u1", "update", &update).await.is(200);

            let read = wire.get("/v1/aggregates/User/u1").await;

            assert_eq!(
                read.is(200).header("etag"),
                Some(format!("\"{version}\"").as_str())
            );
            assert_eq!(read.header("content-type"), Some("application/json"));
            let expected = json!({
                "aggregate_type": "User", "aggregate_id": "u1", "version": version,
                "state": {
                    "username": "u1", "domain": "test", "nick_name": format!("n{version}"),
                    "email": null, "phone_number": null, "avatar": null, "status": "ENABLED",
                    "role_ids": [], "deleted": false,
                },
            });
            assert_eq!(read.body, expected);
        }
    }
}

#[tokio::test]
async fn a_state_outlives_a_crash() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        wire.command("User/u1", "update", &json!({"email": "a@b"}))
            .await
            .is(200);
        let before = wire.get("/v1/aggregates/User/u1").await;
        wire.server.kill9();

        let wire = Wire::start(&backend).await;

        assert_eq!(
            wire.get("/v1/aggregates/User/u1").await.is(200).body,
            before.is(200).body
        );
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    for path in [
        "/v1/aggregates/User/u1",
        "/v1/aggregates/User/u1/events",
        "/livez",
        "/readyz",
    ] {
        let get = wire.get(path).await;
        let head = send(wire.request(Method::HEAD, path)).await;

        assert_eq!(head.is(200).text, "");
        for name in ["etag", "content-type", "content-length"] {
            assert_eq!(head.header(name), get.is(200).header(name), "{path} {name}");
        }
    }
    send(wire.request(Method::HEAD, "/v1/aggregates/User/u2"))
        .await
        .is(404);
}

#[tokio::test]
async fn an_event_is_shown_whole() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let before = Utc::now();
        let created = wire.create_user("u1").await;

        let read = wire.get("/v1/aggregates/User/u1/events").await;

        let after = Utc::now();
        let event = read.is(200).body["events"][0].clone();
        let occurred_at = event["occurred_at"].as_str().unwrap();
        assert!(is_ulid(&event["id"]));
        let expected = json!({
            "id": created.body["events"][0]["id"], "aggregate_id": "u1", "aggregate_type": "User",
            "event_type": "UserCreatedEvent",
            "event_data": {
                "username": "u1", "domain": "test", "nick_name": "Nick", "email": null,
                "phone_number": null, "avatar": null, "status": "ENABLED",
            },
            "version": 1, "position": 1, "schema_version": 1, "occurred_at": occurred_at,
            "created_by": null, "correlation_id": created.body["correlation_id"],
            "causation_id": null,
        });
        assert_eq!(event, expected);
        assert_eq!(read.body["next"], Value::Null);
        // With microseconds and a Z: 2026-01-02T03:04:05.000006Z.
        assert_eq!((occurred_at.len(), &occurred_at[19..20]), (27, "."));
        assert!(occurred_at.ends_with('Z'));
        let occurred_at: DateTime<Utc> = occurred_at.parse().unwrap();
        assert!(
            before.timestamp_micros() <= occurred_at.timestamp_micros() && occurred_at <= after
        );
    }
}

#[tokio::test]
async fn events_are_paged_by_version() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        for number in 2..=5 {
            wire.create_user(&format!("other{number}")).await;
            let update = json!({"nick_name": format!("n{number}")});
            wire.command("User/u1", "update", &update).await.is(200);
        }
        let page = async |query: &str| {
            let read = wire
                .get(&format!("/v1/aggregates/User/u1/events{query}"))
                .await;
            let events = read.is(200).body["events"].as_array().unwrap().clone();
            let versions = events
                .iter()
                .map(|event| event["version"].as_u64().unwrap());
            (versions.collect::<Vec<_>>(), read.body["next"].as_u64())
        };

        assert_eq!(page("").await, (vec![1, 2, 3, 4, 5], None));
        assert_eq!(page("?limit=2").await, (vec![1, 2], Some(3)));
        assert_eq!(page("?limit=2&from_version=3").await, (vec![3, 4], Some(5)));
        assert_eq!(page("?from_version=5&limit=2").await, (vec![5], None));
        assert_eq!(page("?limit=5").await, (vec![1, 2, 3, 4, 5], None));
        assert_eq!(page("?from_version=0&limit=1").await, (vec![1], Some(2)));
        assert_eq!(page("?from_version=6").await, (vec![], None));
        assert_eq!(
            page("?from_version=9223372036854775807").await,
            (vec![], None)
        );
        assert_eq!(page("?limit=1000").await, (vec![1, 2, 3, 4, 5], None));
    }
}

#[tokio::test]
async fn the_process_says_that_it_lives_and_that_it_is_ready() {
    let wire = Wire::sqlite(&[]).await;
    for path in ["/livez", "/readyz"] {
        wire.get(path).await.is(200);
    }
}
