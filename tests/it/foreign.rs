//! Programs that are not dormouse beside a real server: one database, plain SQL, open transactions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use ulid::Ulid;

use crate::support::{Backend, server::Server};

async fn start() -> (Server, PgConnection) {
    let backend = Backend::postgres().await;
    let url = backend.store_url();
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "1"),
    ];
    let server = Server::start(&settings).await;
    (server, PgConnection::connect(&url).await.unwrap())
}

/// What another program does for one event, in whatever transaction it is in.
async fn record(connection: &mut PgConnection, id: &str, version: u64, kind: &str, data: &Value) {
    let (event, work) = (
        Ulid::from_parts(1_714_885_505_123, rand::random()),
        Ulid::from_parts(1_714_885_505_123, rand::random()),
    );
    let insert = format!(
        "insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
             event_data, occurred_at, created_by, correlation_id) \
         values ('{event}', 'Role', '{id}', {version}, '{kind}', '{data}', now(), 'legacy', '{work}')"
    );
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
}

fn created(code: &str) -> Value {
    json!({"code": code, "name": "Theirs", "description": null, "pid": "0"})
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("{}{path}", server.url()))
        .await
        .unwrap();
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    )
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}{path}", server.url()));
    let answer = request.json(body).send().await.unwrap();
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    )
}

async fn create(server: &Server, id: &str) -> (u16, Value) {
    let path = format!("/v1/aggregates/Role/{id}/commands/create");
    post(server, &path, &json!({"code": id, "name": "Ours"})).await
}

async fn rename(server: &Server, id: &str, name: &str) -> (u16, Value) {
    let path = format!("/v1/aggregates/Role/{id}/commands/update");
    post(server, &path, &json!({"name": name})).await
}

#[tokio::test]
async fn a_live_aggregate_meets_foreign_events_and_goes_on() {
    let (server, mut other) = start().await;
    assert_eq!(create(&server, "r1").await.0, 201);
    let theirs = json!({"name": "Theirs"});
    record(&mut other, "r1", 2, "RoleUpdatedEvent", &theirs).await;

    let (_, read) = get(&server, "/v1/aggregates/Role/r1").await;
    let (status, answer) = rename(&server, "r1", "Ours again").await;

    assert_eq!(
        (&read["version"], &read["state"]["name"]),
        (&json!(2), &json!("Theirs"))
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["version"], &answer["position"]),
        (&json!(3), &json!(3))
    );
    let (_, events) = get(&server, "/v1/events").await;
    let positions: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["position"].clone())
        .collect();
    assert_eq!(positions, [1, 2, 3].map(|position| json!(position)));
}

#[tokio::test]
async fn what_they_create_is_numbered_without_being_asked_for_and_keeps_its_claims() {
    let (server, mut other) = start().await;
    record(&mut other, "r1", 1, "RoleCreatedEvent", &created("admin")).await;

    let numbered = async {
        loop {
            let (_, log) = get(&server, "/v1/events?created_by=legacy").await;
            if log["events"] != json!([]) {
                return log["events"][0].clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(20), numbered)
        .await
        .unwrap();
    let renamed = rename(&server, "r1", "Ours").await;
    let path = "/v1/aggregates/Role/r2/commands/create";
    let taken = post(&server, path, &json!({"code": "admin", "name": "Another"})).await;

    assert_eq!(
        (&event["position"], &event["aggregate_id"]),
        (&json!(1), &json!("r1"))
    );
    assert_eq!(renamed.0, 200, "{}", renamed.1);
    assert_eq!((taken.0, &taken.1["code"]), (409, &json!("claim-taken")));
}

#[tokio::test]
async fn an_open_transaction_refuses_its_aggregate_at_worst_and_nobody_else() {
    let (server, mut other) = start().await;
    assert_eq!(create(&server, "r1").await.0, 201);
    other.execute("begin").await.unwrap();
    let theirs = json!({"name": "Theirs"});
    record(&mut other, "r1", 2, "RoleUpdatedEvent", &theirs).await;

    let contested = rename(&server, "r1", "Ours again");
    let neighbours = async {
        let mut slowest = Duration::ZERO;
        let until = Instant::now() + Duration::from_secs(4);
        let mut created = 0;
        while Instant::now() < until {
            let started = Instant::now();
            let (status, answer) = create(&server, &format!("n{created}")).await;
            assert_eq!(status, 201, "{answer}");
            slowest = slowest.max(started.elapsed());
            created += 1;
        }
        (created, slowest)
    };
    let (refused, (neighbours, slowest)) = tokio::join!(contested, neighbours);
    other.execute("commit").await.unwrap();
    let (status, answer) = rename(&server, "r1", "Ours at last").await;

    assert_eq!(
        (refused.0, &refused.1["code"]),
        (409, &json!("write-conflict"))
    );
    println!("{neighbours} neighbours in 4 s, the slowest took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!((status, &answer["version"]), (200, &json!(3)), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_numbered_is_told_and_concerns_its_aggregate_alone() {
    let (server, mut other) = start().await;
    record(&mut other, "r1", 1, "RoleCreatedEvent", &created("a")).await;
    record(
        &mut other,
        "r1",
        3,
        "RoleUpdatedEvent",
        &json!({"name": "x"}),
    )
    .await;
    record(&mut other, "r2", 1, "RoleNeverHeardOfEvent", &json!({})).await;

    let told = async {
        while get(&server, "/readyz").await.1["foreign_events_refused"] != json!(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .unwrap();
    let (gap, _) = get(&server, "/v1/aggregates/Role/r1").await;
    let (unknown, _) = get(&server, "/v1/aggregates/Role/r2").await;
    let (status, _) = create(&server, "r3").await;
    record(
        &mut other,
        "r1",
        2,
        "RoleUpdatedEvent",
        &json!({"name": "y"}),
    )
    .await;
    let (healed, state) = get(&server, "/v1/aggregates/Role/r1").await;

    assert_eq!((gap, unknown, status), (500, 500, 201));
    assert_eq!((healed, &state["state"]["name"]), (200, &json!("x")));
    let log = server.log();
    assert!(log.contains("the version before it is missing"), "{log}");
}
