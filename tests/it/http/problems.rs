//! Requests that are wrong, or that the aggregates refuse: each is told by its code.

use reqwest::Method;
use serde_json::json;

use super::{Wire, raw, send, user};
use crate::support::backends;

#[tokio::test]
async fn a_malformed_id_is_an_invalid_request() {
    let wire = Wire::sqlite(&[]).await;
    let long = "x".repeat(65);
    for id in [
        long.as_str(),
        "a%20b",
        "%C3%BC",
        "a%2Fb",
        "a%00",
        "%ff",
        "a@b",
        "a+b",
        "%",
    ] {
        let path = format!("/v1/aggregates/User/{id}");

        let command = wire
            .post(&format!("{path}/commands/create"), &user("a"))
            .await;
        let state = wire.get(&path).await;
        let events = wire.get(&format!("{path}/events")).await;

        for answer in [command, state, events] {
            answer.problem_about(400, "invalid-request", "1 to 64 characters");
        }
    }
    let longest = "aZ09._:-".repeat(8);
    assert_eq!(
        wire.create_user(&longest).await.body["aggregate_id"],
        longest
    );
}

#[tokio::test]
async fn a_query_parameter_that_is_unknown_repeated_or_out_of_range_is_an_invalid_request() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    let cases = [
        ("?frobnicate=1", "frobnicate"),
        ("/events?frobnicate=1", "frobnicate"),
        ("/events?limit=0", "limit"),
        ("/events?limit=1001", "limit"),
        ("/events?limit=", "limit"),
        ("/events?limit=ten", "limit"),
        ("/events?limit=-1", "limit"),
        ("/events?limit=%2B1", "limit"),
        ("/events?limit=1.0", "limit"),
        ("/events?limit=18446744073709551616", "limit"),
        ("/events?limit=1&limit=1", "limit"),
        ("/events?limit=1&from_version=1&limit=1", "limit"),
        ("/events?from_version=-1", "from_version"),
        ("/events?from_version=9223372036854775808", "from_version"),
    ];
    for (query, named) in cases {
        let answer = wire.get(&format!("/v1/aggregates/User/u1{query}")).await;

        answer.problem_about(400, "invalid-request", named);
    }
    for path in ["User/u2/commands/create?a=1", "User/commands/create?a=1"] {
        let answer = wire
            .post(&format!("/v1/aggregates/{path}"), &user("b"))
            .await;

        answer.problem_about(400, "invalid-request", "`a`");
    }
    assert_eq!(wire.head().await, 1);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let wire = Wire::sqlite(&[]).await;
    let nothing = json!({});
    let cases = [
        (
            "/v1/aggregates/user/u1/commands/create",
            "unknown-aggregate-type",
        ),
        (
            "/v1/aggregates/Nope/commands/create",
            "unknown-aggregate-type",
        ),
        ("/v1/aggregates/User/u1/commands/Create", "unknown-command"),
        (
            "/v1/aggregates/Role/r1/commands/change-password",
            "unknown-command",
        ),
        ("/v1/aggregates/User/commands/nope", "unknown-command"),
        ("/v1/aggregates/User/u1/commands", "not-found"),
        ("/v1/aggregates/User/u1/commands/create/", "not-found"),
        ("/v1/aggregates//u1/commands/create", "not-found"),
        ("/v1/nothing", "not-found"),
        ("/v2/aggregates/User/u1", "not-found"),
        ("/", "not-found"),
    ];
    for (path, code) in cases {
        wire.post(path, &nothing).await.problem(404, code);
    }
    for aggregate in ["User/u1", "Role/u1"] {
        for rest in ["", "/events"] {
            let read = wire.get(&format!("/v1/aggregates/{aggregate}{rest}")).await;
            read.problem_about(404, "aggregate-not-found", aggregate);
        }
    }
    for rest in ["", "/events"] {
        let read = wire.get(&format!("/v1/aggregates/Nope/u1{rest}")).await;
        read.problem_about(404, "unknown-aggregate-type", "Nope");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let wire = Wire::sqlite(&[]).await;
    let commands = ["User/u1/commands/create", "User/commands/create"];
    let reads = ["User/u1", "User/u1/events"];
    for path in commands {
        for method in [
            Method::GET,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            let answer = send(wire.request(method, &format!("/v1/aggregates/{path}"))).await;
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    let reads = reads.map(|path| format!("/v1/aggregates/{path}"));
    for path in reads
        .iter()
        .map(String::as_str)
        .chain(["/livez", "/readyz"])
    {
        for method in [
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            let answer = send(wire.request(method, path)).await;
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[tokio::test]
async fn a_unique_value_of_another_aggregate_is_told() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let mut first = user("anna");
        first["email"] = json!("Anna@example.org");
        first["phone_number"] = json!("+49 1");
        wire.command("User/u1", "create", &first).await.is(201);
        wire.create_user("u2").await;
        let cases = [
            ("User/u3", "create", user("anna"), "username", "anna"),
            (
                "User/u2",
                "update",
                json!({"email": "aNNA@EXAMPLE.org"}),
                "email",
                "anna@example.org",
            ),
            (
                "User/u2",
                "update",
                json!({"phone_number": "+49 1"}),
                "phone_number",
                "+49 1",
            ),
        ];
        for (aggregate, command, body, claim, value) in cases {
            let answer = wire.command(aggregate, command, &body).await;

            answer.problem(409, "claim-taken");
            assert_eq!(
                (&answer.body["claim"], &answer.body["value"]),
                (&json!(claim), &json!(value))
            );
        }
        assert_eq!(wire.head().await, 2);
    }
}

#[tokio::test]
async fn a_rejection_has_the_reason_of_the_domain() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;

    let answer = wire.command("User/u1", "create", &user("other")).await;

    answer.problem(422, "command-rejected");
    assert_eq!(answer.body["reason"], "user-already-exists");
}

#[tokio::test]
async fn the_answer_to_a_head_request_has_no_body_even_when_it_is_a_problem() {
    let wire = Wire::sqlite(&[]).await;
    let request = b"HEAD /v1/aggregates/User/u1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

    let answer = raw::exchange(wire.server.address(), request).await.unwrap();

    assert_eq!((answer.status, answer.text.as_str()), (404, ""));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}
