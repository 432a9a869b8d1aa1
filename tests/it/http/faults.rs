//! A store that is gone, that others write to, or that holds what this program cannot read.

use serde_json::json;

use super::{Wire, until, user};
use crate::support::{
    Backend, backends,
    database::Foreign,
    postgres::{Cluster, Options},
};

#[tokio::test]
async fn while_the_store_is_gone_nothing_is_stored_and_callers_may_come_back() {
    let cluster = Cluster::start(Options::default());
    let url = cluster.create_database().await;
    let settings = [
        ("DORMOUSE__STORE__CONNECT_TIMEOUT", "500ms"),
        ("DORMOUSE__STORE__STATEMENT_TIMEOUT", "1s"),
    ];
    let wire = Wire::start_with(&url, &settings).await;
    wire.create_user("live").await;
    cluster.stop_immediate();

    // The first may meet a connection that broke under it; its outcome is learnt below.
    let key = [("Idempotency-Key", "k"), ("X-Timeout-Ms", "2000")];
    let update = json!({"nick_name": "N"});
    let first = wire
        .command_with("User/live", "update", &update, &key)
        .await;
    let asleep = wire.command("User/asleep", "create", &user("a")).await;
    let state = wire.get("/v1/aggregates/User/asleep").await;
    let events = wire.get("/v1/aggregates/User/live/events").await;
    let ready = wire.get("/readyz").await;
    let alive = wire.get("/livez").await;

    assert!([503, 504].contains(&first.status), "{}", first.text);
    for answer in [asleep, state, events, ready] {
        answer.problem(503, "store-unavailable");
        for word in ["127.0.0.1", "postgres", "select", "/tmp"] {
            assert!(!answer.text.contains(word), "{}", answer.text);
        }
    }
    alive.is(200);

    cluster.start_again();
    until("the server is ready again", async || {
        wire.get("/readyz").await.status == 200
    })
    .await;
    let again = wire
        .command_with("User/live", "update", &update, &[("Idempotency-Key", "k")])
        .await;
    wire.get("/v1/aggregates/User/asleep")
        .await
        .problem(404, "aggregate-not-found");
    wire.create_user("asleep").await;

    assert_eq!(again.is(200).event_types(), ["UserUpdatedEvent"]);
    assert_eq!(wire.events("User/live").await.len(), 2);
    assert_eq!(wire.head().await, 3);
}

#[tokio::test]
async fn once_an_outcome_is_given_up_the_next_command_hears_that_nothing_was_stored() {
    let cluster = Cluster::start(Options::default());
    let url = cluster.create_database().await;
    let settings = [
        ("DORMOUSE__STORE__CONNECT_TIMEOUT", "500ms"),
        ("DORMOUSE__JOURNAL__RESOLVE_TIMEOUT", "100ms"),
    ];
    let wire = Wire::start_with(&url, &settings).await;
    wire.create_user("live").await;
    cluster.stop_immediate();

    let update = json!({"nick_name": "N"});
    let broke = wire.command("User/live", "update", &update).await;
    let next = wire.command("User/live", "update", &update).await;

    // The connection broke under the first: nobody can know whether it was stored.
    broke.problem(504, "command-timeout");
    assert_eq!(broke.body["handled"], true);
    next.problem(503, "store-unavailable");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_named() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        wire.create_user("u2").await;
        wire.server.kill9();
        let foreign = Foreign {
            aggregate_id: "u1",
            version: 2,
            event_type: "UserFrobbedEvent",
            data: "{}",
        };
        let position = wire.database().await.insert(&foreign).await;
        let wire = Wire::start(&backend).await;

        let state = wire.get("/v1/aggregates/User/u1").await;
        let command = wire
            .command("User/u1", "update", &json!({"nick_name": "N"}))
            .await;

        assert_eq!(position, 3);
        for answer in [state, command] {
            for part in ["User/u1", "version 2", "position 3", "UserFrobbedEvent"] {
                answer.problem_about(500, "internal", part);
            }
        }
        assert_eq!(
            wire.events("User/u1").await[1]["event_type"],
            "UserFrobbedEvent"
        );
        wire.command("User/u2", "update", &json!({"nick_name": "N"}))
            .await
            .is(200);
        assert_eq!(wire.head().await, 4);
    }
}

#[tokio::test]
async fn data_that_does_not_fit_is_named_without_being_shown() {
    let backend = Backend::sqlite();
    let mut wire = Wire::start(&backend).await;
    wire.create_user("u1").await;
    wire.server.kill9();
    let foreign = Foreign {
        aggregate_id: "u1",
        version: 2,
        event_type: "UserUpdatedEvent",
        data: r#"{"status":"a-hidden-value"}"#,
    };
    wire.database().await.insert(&foreign).await;
    let wire = Wire::start(&backend).await;

    let state = wire.get("/v1/aggregates/User/u1").await;

    state.problem_about(500, "internal", "version 2");
    assert!(!state.text.contains("a-hidden-value"));
}

#[tokio::test]
async fn what_another_writer_stored_is_seen_by_the_next_command() {
    let backend = Backend::postgres().await;
    let wire = Wire::start(&backend).await;
    wire.create_user("u1").await;
    wire.database().await.insert(&renamed()).await;

    let state = wire.state("User/u1").await;
    let updated = wire
        .command("User/u1", "update", &json!({"nick_name": "N"}))
        .await;

    assert_eq!(state["nick_name"], "other");
    assert_eq!(updated.is(200).body["version"], 3);
}

#[tokio::test]
async fn without_a_retry_a_lost_race_is_a_write_conflict() {
    let backend = Backend::postgres().await;
    let never_again = [("DORMOUSE__RUNTIME__CONFLICT_RETRIES", "0")];
    let wire = Wire::start_with(&backend.store_url(), &never_again).await;
    wire.create_user("u1").await;
    wire.database().await.insert(&renamed()).await;

    let lost = wire
        .command("User/u1", "update", &json!({"nick_name": "N"}))
        .await;
    let next = wire
        .command("User/u1", "update", &json!({"nick_name": "N"}))
        .await;

    lost.problem(409, "write-conflict");
    assert_eq!(next.is(200).body["version"], 3);
    assert_eq!(wire.head().await, 3);
}

fn renamed() -> Foreign<'static> {
    Foreign {
        aggregate_id: "u1",
        version: 2,
        event_type: "UserUpdatedEvent",
        data: r#"{"nick_name":"other"}"#,
    }
}

#[tokio::test]
async fn a_server_that_ends_has_answered_what_it_took() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        wire.create_user("u1").await;

        let status = wire.server.terminate();

        assert!(status.success(), "{}", wire.server.log());
        let wire = Wire::start(&backend).await;
        assert_eq!(wire.state("User/u1").await["username"], "u1");
    }
}
