//! PostgreSQL stopped, started again, and cut off from its clients, while callers go on.

use std::sync::Arc;

use serde_json::json;

use super::{load::Load, scale};
use crate::support::{
    checker::{open, read},
    postgres::{Cluster, Options},
    server::Server,
};

/// A cluster of its own that keeps what it acknowledged, and a server on it.
async fn start() -> (Arc<Cluster>, String, Server) {
    let starting = tokio::task::spawn_blocking(|| Cluster::start(Options { fsync: true }));
    let cluster = Arc::new(starting.await.unwrap());
    let url = cluster.create_database().await;
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__STORE__CONNECT_TIMEOUT", "500ms"),
    ];
    let server = Server::start(&settings).await;
    (cluster, url, server)
}

async fn blocking(cluster: &Arc<Cluster>, work: fn(&Cluster)) {
    let cluster = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || work(&cluster))
        .await
        .unwrap();
}

#[tokio::test]
async fn callers_hear_the_truth_while_postgres_is_down() {
    let (cluster, url, mut server) = start().await;
    let mut load = Load::start(vec![server.url()]);

    for _ in 0..2 * scale() {
        load.progress(60).await;
        let before = load.problems();
        blocking(&cluster, Cluster::stop_immediate).await;
        load.until(|load| load.problems() > before + 12).await;
        blocking(&cluster, Cluster::start_again).await;
    }
    load.progress(60).await;

    let report = load.stop().await;
    assert_eq!(server.terminate().code(), Some(0));
    report.check(&url).await;
}

#[tokio::test]
async fn nobody_notices_for_long_that_all_backends_were_terminated() {
    let (cluster, url, mut server) = start().await;
    let mut load = Load::start(vec![server.url()]);

    for _ in 0..6 * scale() {
        load.progress(40).await;
        cluster.terminate_backends().await;
    }
    load.progress(40).await;

    let report = load.stop().await;
    assert_eq!(server.terminate().code(), Some(0));
    report.check(&url).await;
}

#[tokio::test]
async fn a_503_says_that_nothing_was_stored_and_what_follows_is_stored_again() {
    let (cluster, url, server) = start().await;
    let client = reqwest::Client::new();
    let create = async |code: &str| {
        let url = format!("{}/v1/aggregates/Role/{code}/commands/create", server.url());
        let body = json!({"code": code, "name": "a role", "description": format!("t-{code}")});
        let answer = client.post(url).json(&body).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: serde_json::Value = answer.json().await.unwrap();
        (status, headers.contains_key("retry-after"), body)
    };
    assert_eq!(create("before").await.0, 201);

    // A role that sleeps has to be read first, so it is certain that nothing was sent.
    blocking(&cluster, Cluster::stop_immediate).await;
    let (status, retry_after, body) = create("down").await;
    let ready = client.get(format!("{}/readyz", server.url())).send().await;
    blocking(&cluster, Cluster::start_again).await;
    let again = create("after").await.0;

    assert_eq!((status, retry_after), (503, true), "{body}");
    assert_eq!(body["code"], "store-unavailable");
    assert_eq!(ready.unwrap().status(), 503);
    assert_eq!(again, 201);
    let store = open(&url).await;
    let log = read(&*store).await;
    let found =
        ["t-before", "t-down", "t-after"].map(|token| log.events_of(token).next().is_some());
    assert_eq!(found, [true, false, true]);
}
