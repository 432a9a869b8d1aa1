//! The request headers of commands, right and wrong.

use serde_json::{Value, json};

use super::{Wire, is_ulid, raw, user};
use crate::support::backends;

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test]
async fn a_bad_header_is_an_invalid_request_that_names_it() {
    let wire = Wire::sqlite(&[]).await;
    let (long_key, long_name) = ("k".repeat(129), "n".repeat(27));
    let cases = [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", long_key.as_str()),
        ("Idempotency-Key", "a b"),
        ("If-Match", "7"),
        ("If-Match", "*"),
        ("If-Match", "\"seven\""),
        ("If-Match", "\"-1\""),
        ("If-Match", "\"+1\""),
        ("If-Match", "\"\""),
        ("If-Match", "\"007\""),
        ("If-Match", "W/\"1\""),
        ("If-Match", "\"1\", \"2\""),
        ("If-Match", "\"9223372036854775808\""),
        ("If-None-Match", "\"1\""),
        ("If-None-Match", "yes"),
        ("X-Correlation-Id", "abc"),
        ("X-Correlation-Id", ""),
        ("X-Correlation-Id", "01ARZ3NDEKTSV4RRFFQ69G5FA"),
        ("X-Correlation-Id", "81ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("X-Correlation-Id", "01ARZ3NDEKTSV4RRFFQ69G5FAU"),
        ("X-Causation-Id", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ("X-Created-By", long_name.as_str()),
        ("X-Created-By", ""),
        ("X-Timeout-Ms", "0"),
        ("X-Timeout-Ms", "60001"),
        ("X-Timeout-Ms", "abc"),
        ("X-Timeout-Ms", "-5"),
        ("X-Timeout-Ms", "1.5"),
        ("X-Timeout-Ms", ""),
    ];
    for (name, value) in cases {
        let headers = [(name, value)];
        let answer = wire
            .command_with("User/u1", "create", &user("a"), &headers)
            .await;

        answer.problem(400, "invalid-request");
        let detail = answer.body["detail"].as_str().unwrap().to_lowercase();
        assert!(
            detail.contains(&name.to_lowercase()),
            "{name}: {value}: {detail}"
        );
    }
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn headers_that_exclude_each_other_or_repeat_are_an_invalid_request() {
    let wire = Wire::sqlite(&[]).await;
    let cases: [&[(&str, &str)]; 4] = [
        &[("If-Match", "\"1\""), ("If-None-Match", "*")],
        &[("Idempotency-Key", "a"), ("Idempotency-Key", "a")],
        &[("X-Correlation-Id", ULID), ("X-Correlation-Id", ULID)],
        &[("X-Timeout-Ms", "5"), ("X-Timeout-Ms", "6")],
    ];
    for headers in cases {
        let answer = wire
            .command_with("User/u1", "create", &user("a"), headers)
            .await;

        answer.problem_about(
            400,
            "invalid-request",
            headers[0].0.split('-').next_back().unwrap(),
        );
    }
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn a_header_that_is_not_utf_8_is_an_invalid_request() {
    let wire = Wire::sqlite(&[]).await;
    let body = user("a").to_string();
    for name in [
        "Idempotency-Key",
        "If-Match",
        "X-Correlation-Id",
        "X-Created-By",
        "X-Timeout-Ms",
    ] {
        let line = [name.as_bytes(), b": \xff\xfe\r\n"].concat();
        let request = raw::post(
            b"/v1/aggregates/User/u1/commands/create",
            &line,
            body.as_bytes(),
        );

        let answer = raw::exchange(wire.server.address(), &request)
            .await
            .unwrap();

        answer.problem(400, "invalid-request");
    }
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn what_the_headers_say_is_stored_with_every_event() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let created_by = "ü".repeat(26);
        let causation = "01BX5ZZKBKACTAV9WEVGEMMVS0";
        let headers = [
            ("X-Correlation-Id", ULID),
            ("X-Causation-Id", causation),
            ("X-Created-By", created_by.as_str()),
        ];

        let given = wire
            .command_with("User/u1", "create", &user("a"), &headers)
            .await;
        let made = wire.create_user("u2").await;

        assert_eq!(given.is(201).body["correlation_id"], ULID);
        let event = &wire.events("User/u1").await[0];
        let stored = ["correlation_id", "causation_id", "created_by"].map(|name| &event[name]);
        assert_eq!(
            stored,
            [&json!(ULID), &json!(causation), &json!(created_by)]
        );
        let event = &wire.events("User/u2").await[0];
        assert!(is_ulid(&event["correlation_id"]));
        assert_eq!(event["correlation_id"], made.body["correlation_id"]);
        assert_eq!(
            [&event["causation_id"], &event["created_by"]],
            [&Value::Null; 2]
        );
    }
}

#[tokio::test]
async fn an_expected_version_is_met_or_told() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let absent = [("If-None-Match", "*")];
        let update = |name: &str| json!({"nick_name": name});

        let created = wire
            .command_with("User/u1", "create", &user("a"), &absent)
            .await;
        let there = wire
            .command_with("User/u1", "update", &update("b"), &absent)
            .await;
        let fits = wire
            .command_with("User/u1", "update", &update("c"), &[("If-Match", "\"1\"")])
            .await;
        let stale = wire
            .command_with("User/u1", "update", &update("d"), &[("If-Match", "\"1\"")])
            .await;
        let early = wire
            .command_with("User/u1", "update", &update("e"), &[("If-Match", "\"3\"")])
            .await;
        let nobody = wire
            .command_with("User/u2", "create", &user("b"), &[("If-Match", "\"1\"")])
            .await;

        assert_eq!(created.is(201).header("etag"), Some("\"1\""));
        assert_eq!(fits.is(200).header("etag"), Some("\"2\""));
        for (answer, current) in [(there, 1), (stale, 2), (early, 2), (nobody, 0)] {
            answer.problem(412, "version-mismatch");
            assert_eq!(answer.body["current_version"], current);
        }
        assert_eq!(wire.state("User/u1").await["nick_name"], "c");
        assert_eq!(wire.head().await, 2);
    }
}

#[tokio::test]
async fn the_longest_key_name_and_timeout_are_taken() {
    let wire = Wire::sqlite(&[]).await;
    let key: String = ('!'..='~').cycle().take(128).collect();
    let headers = [("Idempotency-Key", key.as_str()), ("X-Timeout-Ms", "60000")];

    let first = wire
        .command_with("User/u1", "create", &user("a"), &headers)
        .await;
    let again = wire
        .command_with("User/u1", "create", &user("a"), &headers)
        .await;

    assert_eq!(first.is(201).body, again.is(201).body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}
