//! Snapshots: written now and then, used where they fit, and never more than a matter of speed.

use std::time::Duration;

use dormouse::{
    domain::{Fingerprint, Position, SnapshotShape as _, Version},
    store::{EventStore as _, RecoveryRequest, SnapshotRetention, StoredSnapshot},
    testing::{Fault, Operation},
};
use futures_util::future::join_all;
use serde_json::value::RawValue;
use ulid::Ulid;

use super::node::{Node, Setup, stream, until};
use crate::support::counter::Counter;

/// More events than are read together with a snapshot.
const MANY: usize = 300;

async fn newest(node: &Node) -> Option<StoredSnapshot> {
    let request = RecoveryRequest {
        stream: stream("c"),
        fingerprint: Some(Counter::fingerprint()),
        after: Version::ZERO,
    };
    let recovered = node.store.recover(vec![request], 1).await.unwrap();
    recovered.into_iter().next().unwrap().snapshot
}

fn bogus(version: u64, fingerprint: Fingerprint, data: &str) -> StoredSnapshot {
    StoredSnapshot {
        id: Ulid::nil(),
        stream: stream("c"),
        version: Version::new(version),
        position: Position::new(version),
        occurred_at: chrono::DateTime::UNIX_EPOCH,
        fingerprint,
        data: RawValue::from_string(data.to_owned()).unwrap(),
        created_at: chrono::DateTime::UNIX_EPOCH,
    }
}

async fn add(node: &Node, count: usize) {
    let adds = (0..count).map(|number| node.add("c", &format!("t-{number}"), None));
    for added in join_all(adds).await {
        added.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_is_written_each_time_so_many_events_have_come() {
    let node = Setup::snapshot_every(5).start().await;

    let mut versions = Vec::new();
    for number in 1..=12 {
        node.add("c", &format!("t-{number}"), None).await.unwrap();
        if number % 5 == 0 {
            until(|| node.store.calls(Operation::SaveSnapshots) == number / 5).await;
        }
        versions.push(
            newest(&node)
                .await
                .map_or(0, |snapshot| snapshot.version.get()),
        );
    }
    node.runtime.shutdown().await;

    // The save of a fifth event may still be under way when it is looked for.
    assert_eq!(versions[..4], [0; 4]);
    assert_eq!(
        (versions[5..9].to_vec(), versions[10..].to_vec()),
        (vec![5; 4], vec![10; 2])
    );
    assert_eq!(node.store.calls(Operation::SaveSnapshots), 2);
}

#[tokio::test]
async fn an_aggregate_wakes_from_its_snapshot_and_the_events_after_it() {
    for (every, pages) in [(100, 0), (0, 1)] {
        let mut setup = Setup::snapshot_every(every);
        setup.counter.idle_timeout = Duration::from_millis(60);
        let node = setup.start().await;
        add(&node, MANY).await;
        node.until_live(0).await;
        let read = node.store.calls(Operation::Events);

        let state = node.state("c").await;

        assert_eq!(state.total, MANY as u64);
        assert_eq!(state.tokens.len(), MANY);
        let read = node.store.calls(Operation::Events) - read;
        assert_eq!(read, pages, "pages of events with a snapshot every {every}");
    }
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_is_ignored() {
    let other = || Fingerprint::from_stored("another program's");
    let unfit = [
        bogus(3, other(), r#"{"total":99,"tokens":[],"name":null}"#),
        bogus(3, Counter::fingerprint(), r#"{"nothing":"like it"}"#),
    ];
    for snapshot in unfit {
        let mut setup = Setup::snapshot_every(0);
        setup.counter.idle_timeout = Duration::from_millis(30);
        let node = setup.start().await;
        add(&node, 4).await;
        node.until_live(0).await;
        node.store
            .save_snapshots(vec![snapshot], SnapshotRetention::newest(3))
            .await
            .unwrap();

        assert_eq!(node.state("c").await.total, 4);
        assert_eq!(node.add("c", "t", None).await.unwrap().reply, 5);
    }
}

#[tokio::test]
async fn a_store_that_takes_no_snapshots_costs_nothing_but_speed() {
    let mut setup = Setup::snapshot_every(2);
    setup.counter.idle_timeout = Duration::from_millis(30);
    let node = setup.start().await;
    node.store
        .inject(Operation::SaveSnapshots, 1.., Fault::Fail);

    add(&node, 9).await;
    node.until_live(0).await;

    assert_eq!(node.state("c").await.total, 9);
    assert!(node.store.calls(Operation::SaveSnapshots) > 0);
    assert_eq!(node.runtime.shutdown().await.unanswered, 0);
}
