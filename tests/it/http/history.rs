//! History over the wire: states as they were, the audit, traces, and lists of aggregates.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Reply, Wire, role, send};
use crate::support::backends;

/// The positions of the events in an answer, and its cursor.
fn page(reply: &Reply) -> (Vec<u64>, Option<u64>) {
    let events = reply.is(200).body["events"].as_array().unwrap();
    let positions = events
        .iter()
        .map(|event| event["position"].as_u64().unwrap());
    (positions.collect(), reply.body["next"].as_u64())
}

/// Every page of a question, each asked for with the cursor of the one before.
async fn pages(wire: &Wire, question: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let (positions, next) = page(&wire.get(&format!("{question}{after}")).await);
        found.extend(positions);
        let Some(next) = next else { return found };
        after = format!("&after={next}");
    }
}

const CORRELATION: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const COMMAND: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAW";

#[tokio::test]
async fn a_state_is_read_as_it_was_at_each_version() {
    for backend in backends().await {
        let snapshots = [
            ("DORMOUSE__AGGREGATES__User__SNAPSHOT_EVERY", "3"),
            ("DORMOUSE__AGGREGATES__User__SNAPSHOTS_KEPT", "1"),
            ("DORMOUSE__AGGREGATES__User__SNAPSHOT_HISTORY_EVERY", "6"),
        ];
        let wire = Wire::start_with(&backend.store_url(), &snapshots).await;
        wire.create_user("u1").await;
        let mut states = vec![wire.get("/v1/aggregates/User/u1").await];
        for version in 2..=20 {
            let update = json!({"nick_name": format!("n{version}")});
            wire.command("User/u1", "update", &update).await.is(200);
            states.push(wire.get("/v1/aggregates/User/u1").await);
        }

        for (version, then) in (1..).zip(&states) {
            let path = format!("/v1/aggregates/User/u1?version={version}");
            let read = wire.get(&path).await;

            assert_eq!(read.is(200).body, then.is(200).body);
            let tag = format!("\"{version}\"");
            assert_eq!(read.header("etag"), Some(tag.as_str()));
            let head = send(wire.request(Method::HEAD, &path)).await;
            assert_eq!(head.is(200).text, "");
            for name in ["etag", "content-type", "content-length"] {
                assert_eq!(head.header(name), read.header(name), "{name}");
            }
        }
        let later = wire.get("/v1/aggregates/User/u1?version=21").await;
        later.problem_about(404, "aggregate-not-found", "User/u1 has no version 21");
        let absent = wire.get("/v1/aggregates/User/u2?version=1").await;
        absent.problem_about(404, "aggregate-not-found", "User/u2 has no version 1");
    }
}

#[tokio::test]
async fn a_state_is_read_as_it_was_at_each_time() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        for version in 2..=6 {
            let update = json!({"nick_name": format!("n{version}")});
            wire.command("User/u1", "update", &update).await.is(200);
        }
        let events = wire.events("User/u1").await;
        let at = async |time: &str| wire.get(&format!("/v1/aggregates/User/u1?at={time}")).await;

        for event in &events {
            let time = event["occurred_at"].as_str().unwrap();
            // Of several events of one time, the last.
            let last = events
                .iter()
                .rfind(|other| other["occurred_at"] == event["occurred_at"]);
            let version = last.unwrap()["version"].clone();
            assert_eq!(at(time).await.is(200).body["version"], version, "{time}");
            // What lies between two microseconds is the time before it.
            let between = format!("{}9Z", time.trim_end_matches('Z'));
            assert_eq!(at(&between).await.is(200).body["version"], version);
            // Another way to write the same time.
            let plus = format!("{}%2B00:00", time.trim_end_matches('Z'));
            assert_eq!(at(&plus).await.is(200).body["version"], version);
        }
        assert_eq!(at("2999-01-01T00:00:00Z").await.is(200).body["version"], 6);
        let before = at("2001-01-01T00:00:00Z").await;
        let detail = "User/u1 has no events until 2001-01-01T00:00:00Z";
        before.problem_about(404, "aggregate-not-found", detail);
    }
}

/// Two users and a role: one by ada and of a correlation, the others without.
async fn audited(wire: &Wire) {
    let headers = [
        ("X-Created-By", "ada"),
        ("X-Correlation-Id", CORRELATION),
        ("X-Causation-Id", COMMAND),
    ];
    let user = |name: &str| super::user(name);
    let ada = wire
        .command_with("User/u1", "create", &user("u1"), &headers)
        .await;
    ada.is(201);
    wire.create_user("u2").await;
    wire.command("Role/u1", "create", &role("r")).await.is(201);
    let update = json!({"nick_name": "new"});
    wire.command_with("User/u1", "update", &update, &headers[..2])
        .await
        .is(200);
    wire.command_with("User/u2", "update", &update, &headers[..1])
        .await
        .is(200);
    wire.command(
        "User/u2",
        "change-password",
        &json!({"password": "another horse"}),
    )
    .await
    .is(200);
}

#[tokio::test]
async fn the_audit_answers_every_filter_and_their_combinations() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        audited(&wire).await;
        let times: Vec<String> = wire.get("/v1/events").await.body["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["occurred_at"].as_str().unwrap().to_owned())
            .collect();
        let from_third = format!("from={}", times[2]);
        let until_second = format!("to={}", times[1]);

        for (question, found) in [
            ("", &[1, 2, 3, 4, 5, 6][..]),
            ("aggregate_type=Role", &[3]),
            ("aggregate_type=User", &[1, 2, 4, 5, 6]),
            ("aggregate_id=u1", &[1, 3, 4]),
            ("aggregate_type=User&aggregate_id=u1", &[1, 4]),
            ("event_type=UserCreatedEvent", &[1, 2]),
            (
                "event_type=UserCreatedEvent&event_type=RoleCreatedEvent",
                &[1, 2, 3],
            ),
            ("event_type=None", &[]),
            ("created_by=ada", &[1, 4, 5]),
            ("created_by=nobody", &[]),
            (&format!("correlation_id={CORRELATION}"), &[1, 4]),
            (&format!("causation_id={COMMAND}"), &[1]),
            (&from_third, &[3, 4, 5, 6]),
            (&until_second, &[1, 2]),
            (
                &format!("{from_third}&created_by=ada&aggregate_id=u2"),
                &[5],
            ),
            ("aggregate_type=Absent", &[]),
            ("after=4", &[5, 6]),
            ("after=6", &[]),
        ] {
            let read = wire.get(&format!("/v1/events?{question}")).await;
            assert_eq!(page(&read), (found.to_vec(), None), "{question}");
            if question.starts_with("after") {
                continue;
            }
            let backwards = format!("/v1/events?{question}&order=desc&limit=2");
            let mut backwards = pages(&wire, &backwards).await;
            backwards.reverse();
            assert_eq!(backwards, found, "{question}, backwards");
            let paged = pages(&wire, &format!("/v1/events?{question}&limit=1")).await;
            assert_eq!(paged, found, "{question}, in pages");
        }
        let first = wire.get("/v1/events?limit=2").await;
        assert_eq!(page(&first), (vec![1, 2], Some(2)));
        let last = wire.get("/v1/events?limit=2&order=desc&after=3").await;
        assert_eq!(page(&last), (vec![2, 1], None));
        let all = wire.get("/v1/events").await;
        assert_eq!(all.body["events"][0], wire.events("User/u1").await[0]);
        assert!(
            !all.text.contains("argon2") && !all.text.contains("$secret"),
            "{}",
            all.text
        );
    }
}

#[tokio::test]
async fn one_event_is_found_by_its_id() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        audited(&wire).await;

        for event in wire.get("/v1/events").await.body["events"]
            .as_array()
            .unwrap()
        {
            let path = format!("/v1/events/{}", event["id"].as_str().unwrap());
            assert_eq!(wire.get(&path).await.is(200).body, *event);
        }
        for path in [
            format!("/v1/events/{COMMAND}"),
            format!("/v1/events/{COMMAND}/trace"),
        ] {
            wire.get(&path)
                .await
                .problem_about(404, "not-found", COMMAND);
        }
    }
}

/// The ids of a trace's events, each with its effects.
fn short(nodes: &Value) -> Value {
    let nodes = nodes.as_array().unwrap().iter();
    nodes
        .map(|node| json!([node["event"]["id"], short(&node["effects"])]))
        .collect()
}

#[tokio::test]
async fn a_trace_is_the_tree_of_a_correlation() {
    for backend in backends().await {
        let limit = [("DORMOUSE__HTTP__TRACE_LIMIT", "3")];
        let wire = Wire::start_with(&backend.store_url(), &limit).await;
        let caused_by = async |id: &str, cause: &str| {
            let headers = [("X-Correlation-Id", CORRELATION), ("X-Causation-Id", cause)];
            let user = super::user(id);
            let created = wire
                .command_with(&format!("User/{id}"), "create", &user, &headers)
                .await;
            created.is(201).body["events"][0]["id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let first = caused_by("u1", COMMAND).await;
        let second = caused_by("u2", &first).await;
        wire.create_user("other").await;
        let third = caused_by("u3", COMMAND).await;

        let trace = wire.get(&format!("/v1/events/{second}/trace")).await;

        let of = |id: &str, effects: Value| json!([id, effects]);
        assert_eq!(trace.is(200).body["correlation_id"], CORRELATION);
        assert_eq!(trace.body["truncated"], false);
        let expected = json!([
            of(&first, json!([of(&second, json!([]))])),
            of(&third, json!([]))
        ]);
        assert_eq!(short(&trace.body["roots"]), expected);
        let shown = &trace.body["roots"][0]["event"];
        assert_eq!(*shown, wire.events("User/u1").await[0]);
        // A fourth is more than the trace may have; the one that was asked for is there.
        let fourth = caused_by("u4", &first).await;
        let trace = wire.get(&format!("/v1/events/{fourth}/trace")).await;
        assert_eq!(trace.is(200).body["truncated"], true);
        let expected = json!([of(
            &first,
            json!([of(&second, json!([])), of(&fourth, json!([]))])
        )]);
        assert_eq!(short(&trace.body["roots"]), expected);
    }
}

#[tokio::test]
async fn the_aggregates_of_a_type_are_listed_in_pages() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        for id in ["b", "a", "B", "c"] {
            wire.create_user(id).await;
        }
        wire.command("User/a", "update", &json!({"nick_name": "x"}))
            .await
            .is(200);
        let list = async |query: &str| {
            let read = wire.get(&format!("/v1/aggregates/User{query}")).await;
            let aggregates = read.is(200).body["aggregates"].as_array().unwrap().clone();
            let short = aggregates
                .iter()
                .map(|one| format!("{}@{}", one["aggregate_id"], one["version"]));
            (
                short.collect::<Vec<_>>().join(" ").replace('"', ""),
                read.body["next"].clone(),
            )
        };

        assert_eq!(list("").await, ("B@1 a@2 b@1 c@1".to_owned(), Value::Null));
        assert_eq!(list("?limit=2").await, ("B@1 a@2".to_owned(), json!("a")));
        assert_eq!(
            list("?limit=2&after=a").await,
            ("b@1 c@1".to_owned(), Value::Null)
        );
        assert_eq!(list("?after=z").await, (String::new(), Value::Null));
        let read = wire.get("/v1/aggregates/User").await;
        let updated_at = &read.body["aggregates"][1]["updated_at"];
        assert_eq!(*updated_at, wire.events("User/a").await[1]["occurred_at"]);
        let role = wire.get("/v1/aggregates/Role").await;
        assert_eq!(role.is(200).body, json!({"aggregates": [], "next": null}));
    }
}

#[tokio::test]
async fn head_tells_the_same_as_get_without_the_body() {
    let wire = Wire::sqlite(&[]).await;
    let created = wire.create_user("u1").await;
    let id = created.body["events"][0]["id"].as_str().unwrap();
    for path in [
        "/v1/aggregates/User/u1?at=2999-01-01T00:00:00Z",
        "/v1/aggregates/User",
        "/v1/events",
        "/v1/events?order=desc&limit=1",
        &format!("/v1/events/{id}"),
        &format!("/v1/events/{id}/trace"),
    ] {
        let get = wire.get(path).await;
        let head = send(wire.request(Method::HEAD, path)).await;

        assert_eq!(head.is(200).text, "");
        for name in ["etag", "content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), get.is(200).header(name), "{path} {name}");
        }
        let post = send(wire.request(Method::POST, path)).await;
        post.problem(405, "method-not-allowed");
        assert_eq!(post.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    for (path, part) in [
        (
            "aggregates/User/u1?version=1&at=2026-01-01T00:00:00Z",
            "exclude each other",
        ),
        ("aggregates/User/u1?version=0", "`version` must be 1 to"),
        ("aggregates/User/u1?version=-1", "`version` must be"),
        ("aggregates/User/u1?version=x", "`version` must be"),
        (
            "aggregates/User/u1?version=1&version=2",
            "`version` stands twice",
        ),
        (
            "aggregates/User/u1?version=9223372036854775808",
            "`version` must be",
        ),
        ("aggregates/User/u1?at=yesterday", "`at` must be a time"),
        ("aggregates/User/u1?at=2026-01-01T00:00:00+00:00", "%2B"),
        (
            "aggregates/User/u1?as_of=1",
            "unknown query parameter `as_of`",
        ),
        ("aggregates/User?limit=0", "`limit` must be 1 to 1000"),
        ("aggregates/User?limit=1001", "`limit` must be 1 to 1000"),
        ("aggregates/User?after=a%20b", "`after`"),
        ("aggregates/User?from=1", "unknown query parameter `from`"),
        ("events?limit=0", "`limit`"),
        ("events?order=up", "`order` must be `asc` or `desc`"),
        ("events?after=-1", "`after` must be 0 to"),
        ("events?after=1&after=2", "`after` stands twice"),
        ("events?aggregate_type=a%20b", "`aggregate_type`"),
        ("events?aggregate_id=", "`aggregate_id`"),
        ("events?event_type=", "`event_type`"),
        ("events?created_by=", "`created_by`"),
        ("events?correlation_id=1", "`correlation_id`"),
        ("events?causation_id=1", "`causation_id`"),
        ("events?from=1", "`from` must be a time"),
        (
            "events?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "`from` is after `to`",
        ),
        ("events?type=User", "unknown query parameter `type`"),
        ("events/x", "ULID"),
        ("events/x/trace", "ULID"),
        (
            "events/01ARZ3NDEKTSV4RRFFQ69G5FAV?a=1",
            "unknown query parameter `a`",
        ),
        (
            "events/01ARZ3NDEKTSV4RRFFQ69G5FAV/trace?a=1",
            "unknown query parameter `a`",
        ),
    ] {
        let refused = wire.get(&format!("/v1/{path}")).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text);
        refused.problem_about(400, "invalid-request", part);
    }
    for path in ["aggregates/None", "aggregates/None/u1?version=1"] {
        let refused = wire.get(&format!("/v1/{path}")).await;
        refused.problem(404, "unknown-aggregate-type");
    }
}
