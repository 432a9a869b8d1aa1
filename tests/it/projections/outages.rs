//! A database that goes away and comes back: projections wait, each time longer, and go on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dormouse::{
    projection::{ProjectionState, Projections},
    settings::{StoreSettings, Writers},
    store::{self, Commit, EventStore},
};
use tokio::time::sleep;

use super::{
    commit, quick,
    tally::{Tally, check, served},
    until_caught_up,
};
use crate::support::postgres::{Cluster, Options};

const PATIENCE: Duration = Duration::from_secs(30);

/// As [`super::open`], with limits that make an outage short.
async fn open(url: &str) -> Arc<dyn EventStore> {
    let settings = StoreSettings {
        url: url.parse().unwrap(),
        writers: Some(Writers::Shared),
        pool: 3,
        connect_timeout: Duration::from_millis(500),
        ..StoreSettings::default()
    };
    store::open(&settings).await.unwrap()
}

/// Appends events, the same again where an answer was lost.
async fn append(store: &dyn EventStore, count: usize) {
    let batch: Arc<[Commit]> = (0..count).map(|_| commit("Thing")).collect();
    let started = Instant::now();
    while let Err(error) = store.append(Arc::clone(&batch)).await {
        assert!(started.elapsed() < PATIENCE, "never appended: {error:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_outlives_its_database_and_applies_each_event_once() {
    let cluster = Cluster::start(Options::default());
    let store = open(&cluster.create_database().await).await;
    append(&*store, 25).await;
    let builder = Projections::builder(Arc::clone(&store)).settings(quick());
    let projections = builder.projection(Tally::default()).start().unwrap();
    until_caught_up(&projections, 1).await;

    for _ in 0..3 {
        append(&*store, 40).await;
        // Most likely in the middle of these.
        cluster.stop_immediate();
        sleep(Duration::from_millis(300)).await;
        cluster.start_again();
    }
    cluster.terminate_backends().await;
    // The first calls may meet connections that broke.
    let started = Instant::now();
    while store.ready().await.is_err() || projections.status().await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the store is not back");
        sleep(Duration::from_millis(20)).await;
    }
    let status = until_caught_up(&projections, 1).await;

    assert_eq!(status.state, ProjectionState::Running);
    assert_eq!(status.position, store.last_position().await.unwrap());
    assert_eq!(served(&projections).await.1.len(), 145);
    check(&projections, &*store).await;
    projections.shutdown().await;
}
