//! A store that does not answer in time, and what its callers are told.

use serde_json::json;

use super::{Reply, Wire, until, user};
use crate::support::{database::Database, exposition::Figures};

const KEY: [(&str, &str); 2] = [("Idempotency-Key", "k"), ("X-Timeout-Ms", "1000")];

/// Holds a lock, so that what needs it waits.
struct Stall {
    database: Database,
}

impl Stall {
    async fn on(wire: &Wire, lock: &str) -> Self {
        let mut database = wire.database().await;
        database.run(&format!("begin; lock table {lock}")).await;
        Self { database }
    }

    async fn release(mut self) {
        self.database.run("rollback").await;
    }

    /// Waits until the server waits for the lock.
    async fn is_met(wire: &Wire) {
        until("the server waits for the lock", async || {
            let waiting = "select count(*) from pg_locks where not granted \
                           and database = (select oid from pg_database where datname = current_database())";
            wire.database().await.number(waiting).await > 0
        })
        .await;
    }
}

fn handled(answer: &Reply) -> &serde_json::Value {
    &answer.problem(504, "command-timeout").body["handled"]
}

#[tokio::test]
async fn a_handled_command_that_is_not_durable_in_time_is_answered_under_its_key_later() {
    let wire = Wire::postgres(&[]).await;
    wire.create_user("u0").await;
    let stall = Stall::on(&wire, "log_head in exclusive mode").await;

    let late = wire
        .command_with("User/u1", "create", &user("a"), &KEY)
        .await;
    let second = wire
        .command_with("User/u1", "create", &user("a"), &KEY)
        .await;
    stall.release().await;
    let patient = [("Idempotency-Key", "k")];
    let later = wire
        .command_with("User/u1", "create", &user("a"), &patient)
        .await;

    for answer in [late, second] {
        assert_eq!(handled(&answer), &json!(true));
    }
    assert_eq!(later.is(201).event_types(), ["UserCreatedEvent"]);
    assert_eq!(later.header("idempotency-replayed"), Some("true"));
    assert_eq!(wire.head().await, 2);
}

#[tokio::test]
async fn a_command_still_in_the_mailbox_of_an_aggregate_that_is_being_read_is_dropped_unhandled() {
    let wire = Wire::postgres(&[]).await;
    let stall = Stall::on(&wire, "domain_events in access exclusive mode").await;
    let body = user("a");
    let first = wire.command("User/u1", "create", &body);
    let behind = async {
        Stall::is_met(&wire).await;
        let update = json!({"nick_name": "late"});
        let late = wire.command_with("User/u1", "update", &update, &KEY).await;
        stall.release().await;
        late
    };

    let (first, late) = tokio::join!(first, behind);

    first.is(201);
    assert_eq!(handled(&late), &json!(false));
    // Whatever was in the mailbox is before this read.
    assert_eq!(wire.state("User/u1").await["nick_name"], "Nick");
    assert_eq!(wire.head().await, 1);
}

#[tokio::test]
async fn a_command_that_waits_behind_a_stalled_one_is_handled_when_told_so() {
    let wire = Wire::postgres(&[]).await;
    wire.create_user("u1").await;
    let stall = Stall::on(&wire, "log_head in exclusive mode").await;
    let patient = json!({"nick_name": "first"});
    let first = wire.command("User/u1", "update", &patient);
    let behind = async {
        Stall::is_met(&wire).await;
        let update = json!({"nick_name": "second"});
        let late = wire.command_with("User/u1", "update", &update, &KEY).await;
        stall.release().await;
        late
    };

    let (first, late) = tokio::join!(first, behind);

    first.is(200);
    let stored = handled(&late).as_bool().unwrap();
    // The state is read behind every command that was taken.
    let expected = if stored { "second" } else { "first" };
    assert_eq!(wire.state("User/u1").await["nick_name"], expected);
}

#[tokio::test]
async fn a_password_that_is_not_hashed_in_time_is_unhandled() {
    let slow = [
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "65536"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "20"),
    ];
    let wire = Wire::sqlite(&slow).await;
    let soon = [("X-Timeout-Ms", "1")];

    let late = wire
        .command_with("User/u1", "create", &user("a"), &soon)
        .await;

    assert_eq!(handled(&late), &json!(false));
    wire.get("/v1/aggregates/User/u1")
        .await
        .problem(404, "aggregate-not-found");
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn a_full_node_refuses_what_comes_and_handles_nothing_of_it() {
    let one = [("DORMOUSE__RUNTIME__MAX_IN_FLIGHT", "1")];
    let places = refused_while_stalled(&one, "Role/r1", "Role/r2").await;

    places.problem_about(503, "overloaded", "the node");
}

#[tokio::test]
async fn a_full_mailbox_refuses_what_comes_and_handles_nothing_of_it() {
    let one = [("DORMOUSE__AGGREGATES__Role__MAILBOX", "1")];
    let places = refused_while_stalled(&one, "Role/r1", "Role/r1").await;

    places.problem_about(503, "overloaded", "the aggregate");
}

/// What `second` is told while the command for `first` waits for the store.
async fn refused_while_stalled(settings: &[(&str, &str)], first: &str, second: &str) -> Reply {
    let wire = Wire::postgres(settings).await;
    let stall = Stall::on(&wire, "log_head in exclusive mode").await;
    let taken_body = super::role("taken");
    let taken = wire.command(first, "create", &taken_body);
    let behind = async {
        Stall::is_met(&wire).await;
        let refused = wire
            .command(second, "create", &super::role("refused"))
            .await;
        stall.release().await;
        refused
    };

    let (taken, refused) = tokio::join!(taken, behind);

    taken.is(201);
    assert_eq!(wire.head().await, 1);
    let again = wire
        .command("Role/r3", "create", &super::role("refused"))
        .await;
    again.is(201);
    refused
}

#[tokio::test]
async fn passwords_over_the_bound_of_hashing_are_refused() {
    let slow = [
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "65536"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "3"),
        ("DORMOUSE__IAM__HASH_CONCURRENCY", "1"),
        ("DORMOUSE__IAM__HASH_QUEUE", "0"),
    ];
    let wire = Wire::sqlite(&slow).await;
    let bodies: Vec<_> = (0..6)
        .map(|n| (format!("User/u{n}"), user(&n.to_string())))
        .collect();

    let creates = bodies
        .iter()
        .map(|(id, body)| wire.command(id, "create", body));
    let answers = futures_util::future::join_all(creates).await;

    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert!(!taken.is_empty() && !refused.is_empty());
    for answer in refused {
        answer.problem_about(503, "overloaded", "passwords");
    }
    assert_eq!(wire.head().await, i64::try_from(taken.len()).unwrap());
}

#[tokio::test]
async fn a_request_that_is_worked_on_for_too_long_is_told_so_and_a_command_may_be_stored() {
    let wire = Wire::postgres(&[("DORMOUSE__HTTP__HANDLER_TIMEOUT", "3s")]).await;
    wire.create_user("u1").await;
    let stall = Stall::on(&wire, "log_head, domain_events in access exclusive mode").await;
    let body = json!({"nick_name": "late"});
    let begun = std::time::Instant::now();

    let command = wire.command("User/u1", "update", &body);
    let (command, read) = tokio::join!(command, wire.get("/v1/events"));
    let took = begun.elapsed().as_secs();
    stall.release().await;

    command.problem_about(504, "command-timeout", "3 seconds");
    assert_eq!(
        (handled(&command), handled(&read)),
        (&json!(true), &json!(false))
    );
    // Before the command's own time, and that of a statement.
    assert!((3..9).contains(&took), "{took} s");
    until("the command is stored all the same", async || {
        wire.state("User/u1").await["nick_name"] == "late"
    })
    .await;
    let page = wire.get("/metrics").await.text;
    let counted = Figures::read(&page).get("dormouse_http_timeouts_total{what=\"handler\"}");
    assert!((counted - 2.0).abs() < 0.5, "{counted}");
}
