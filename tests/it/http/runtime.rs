//! `GET /v1/runtime`: what the process and each live aggregate is doing.

use serde_json::{Value, json};

use super::{Wire, role};
use crate::support::{Backend, admin};

async fn roles(wire: &Wire, ids: &[&str]) {
    for id in ids {
        let created = wire
            .command(&format!("Role/{id}"), "create", &role(id))
            .await;
        created.is(201);
    }
}

fn ids(page: &Value) -> Vec<&str> {
    let live = page["aggregates"].as_array().unwrap().iter();
    live.map(|live| live["aggregate_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn it_tells_what_each_live_aggregate_is_doing() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("ada").await;
    roles(&wire, &["r"]).await;
    wire.command("Role/r", "update", &json!({"name": "New"}))
        .await
        .is(200);

    let read = wire.get("/v1/runtime").await;

    let body = &read.is(200).body;
    let live = body["aggregates"].as_array().unwrap();
    let role = live
        .iter()
        .find(|live| live["aggregate_id"] == "r")
        .unwrap();
    assert_eq!(role["aggregate_type"], "Role");
    assert_eq!((&role["version"], &role["depth"]), (&json!(2), &json!(0)));
    assert_eq!(role["oldest_wait_ms"], Value::Null);
    assert!(role["last_append_ms"].as_f64().unwrap() > 0.0);
    let time =
        |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    let (started, woken) = (time(&body["since"]), time(&role["since"]));
    assert!(
        started <= woken && woken <= chrono::Utc::now(),
        "{started} {woken}"
    );
    let roles = &body["types"][0];
    assert_eq!(roles["aggregate_type"], "Role");
    assert_eq!(
        (&roles["live"], &roles["activations"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(body["journal"]["commits"], 3);
    assert_eq!(body["journal"]["events"], 3);
    assert_eq!(body["in_flight"], 0);
}

#[tokio::test]
async fn pages_by_id_show_each_live_aggregate_once() {
    let wire = Wire::sqlite(&[]).await;
    roles(&wire, &["c", "a", "b"]).await;
    wire.create_user("ada").await;

    let first = wire.get("/v1/runtime?order=id&limit=2").await;
    let after = first.is(200).body["next"].as_str().unwrap();
    let second = wire
        .get(&format!("/v1/runtime?order=id&limit=2&after={after}"))
        .await;
    let users = wire.get("/v1/runtime?order=id&aggregate_type=User").await;
    let deepest = wire.get("/v1/runtime?limit=1").await;

    assert_eq!(ids(&first.body), ["a", "b"]);
    assert_eq!(ids(&second.is(200).body), ["c", "ada"]);
    assert_eq!(second.body["next"], Value::Null);
    assert_eq!(ids(&users.is(200).body), ["ada"]);
    assert_eq!(
        (ids(&deepest.is(200).body).len(), &deepest.body["next"]),
        (1, &Value::Null)
    );
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let wire = Wire::sqlite(&[]).await;

    for (query, named) in [
        ("order=size", "order"),
        ("order=id&after=x", "after"),
        ("after=User/x", "order=id"),
        ("limit=0", "limit"),
        ("page=1", "page"),
    ] {
        let read = wire.get(&format!("/v1/runtime?{query}")).await;
        read.problem_about(400, "invalid-request", named);
    }
    let unknown = wire.get("/v1/runtime?aggregate_type=Nothing").await;
    unknown.problem(404, "unknown-aggregate-type");
}

#[tokio::test]
async fn it_tells_what_the_look_for_drift_has_seen() {
    let backend = Backend::sqlite();
    let mut other = admin::load(&backend).await;
    let wire = Wire::start_with(
        &backend.store_url(),
        &[
            ("DORMOUSE__AGGREGATES__Role__MODE", "dual-write"),
            ("DORMOUSE__AGGREGATES__Role__RECONCILE", "off"),
            ("DORMOUSE__DRIFT__INTERVAL", "50ms"),
        ],
    )
    .await;
    for role in ["1", "2", "3"] {
        // Each is adopted by the way, and nobody looks at its row for the log again.
        wire.get(&format!("/v1/aggregates/Role/{role}"))
            .await
            .is(200);
    }

    let differing = "update sys_role set name = 'By hand' where id = '1'";
    other.run(differing).await;

    super::until(
        "the row that was changed is told, and a round is done",
        async || {
            let read = wire.get("/v1/runtime").await;
            let drift = read.is(200).body["drift"].as_array().unwrap().clone();
            // Only what is in `dual-write` is looked at.
            assert_eq!(
                (drift.len(), &drift[0]["aggregate_type"]),
                (1, &json!("Role"))
            );
            drift[0]["differing"] == 1 && drift[0]["rounds"] != 0
        },
    )
    .await;
    let read = wire.get("/v1/runtime").await;
    let drift = &read.body["drift"][0];
    let last = drift["last_look"].as_str().unwrap();
    let last = chrono::DateTime::parse_from_rfc3339(last).unwrap();
    assert!(
        (chrono::Utc::now() - last.to_utc()).num_seconds() < 60,
        "{last}"
    );
    assert!(drift["compared"].as_u64().unwrap() >= 3, "{drift}");
    assert_eq!(drift["failures"], 0);
}
