//! A database that stops at once while streams are open.

use std::sync::Arc;

use super::{append, open};
use crate::support::{
    checker,
    postgres::{Cluster, Options},
    server::Server,
    sse::Sse,
};

async fn blocking(cluster: &Arc<Cluster>, work: fn(&Cluster)) {
    let cluster = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || work(&cluster))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_outlives_its_database_and_loses_nothing() {
    let starting = tokio::task::spawn_blocking(|| Cluster::start(Options { fsync: true }));
    let cluster = Arc::new(starting.await.unwrap());
    let url = cluster.create_database().await;
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__STORE__CONNECT_TIMEOUT", "500ms"),
        ("DORMOUSE__STREAMS__RETRY_MAX", "200ms"),
    ];
    let server = Server::start(&settings).await;
    let address = format!("{}/v1/events/stream", server.url());
    let mut stream = Sse::open(&address, None).await;
    let mut seen = Vec::new();

    for round in 0..3 {
        let store = open(&url).await;
        append(&*store, "a", 20).await;
        // Some of them are still on their way when the database stops.
        seen.extend(stream.positions(5).await);
        store.close().await;
        blocking(&cluster, Cluster::stop_immediate).await;
        let refused = Sse::request(&address, Some(1)).await;
        assert_eq!(refused.status(), 503, "round {round}");
        blocking(&cluster, Cluster::start_again).await;
    }
    let store = open(&url).await;
    append(&*store, "a", 5).await;
    seen.extend(stream.positions(65 - seen.len()).await);
    // One that was left in between takes up where it was.
    let mut resumed = Sse::open(&address, Some(30)).await;
    let rest = resumed.positions(35).await;

    let log = checker::read(&*store).await;
    assert_eq!(log.events().len(), 65);
    assert_eq!(seen, (1..=65).collect::<Vec<u64>>());
    assert_eq!(rest, (31..=65).collect::<Vec<u64>>());
}
