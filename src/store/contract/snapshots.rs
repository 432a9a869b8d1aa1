//! Snapshots, and recovery from them.

use std::sync::Arc;

use super::{Fixture, append, commit, fresh_id, instant, raw, stream};
use crate::{
    domain::{Fingerprint, Position, StreamId, Version},
    store::{EventStore, Recovered, RecoveryRequest, SnapshotRetention, StoredSnapshot},
};

fn snapshot(stream: &StreamId, version: u64, fingerprint: &str) -> StoredSnapshot {
    StoredSnapshot {
        id: fresh_id(),
        stream: stream.clone(),
        version: Version::new(version),
        position: Position::new(version),
        occurred_at: instant(),
        fingerprint: Fingerprint::from_stored(fingerprint),
        data: raw(format!("{{\"at\":\"{version} ü\"}}")),
        created_at: instant() + chrono::TimeDelta::microseconds(1),
    }
}

fn request(stream: &StreamId, fingerprint: Option<&str>, after: u64) -> RecoveryRequest {
    RecoveryRequest {
        stream: stream.clone(),
        fingerprint: fingerprint.map(Fingerprint::from_stored),
        after: Version::new(after),
    }
}

async fn save(store: &dyn EventStore, snapshots: Vec<StoredSnapshot>, keep: u32) {
    save_and_keep(store, snapshots, SnapshotRetention::newest(keep)).await;
}

async fn save_and_keep(
    store: &dyn EventStore,
    snapshots: Vec<StoredSnapshot>,
    keep: SnapshotRetention,
) {
    let saved = store.save_snapshots(snapshots, keep).await;
    saved.expect("saved snapshots");
}

async fn recover(store: &dyn EventStore, request: RecoveryRequest, page: u32) -> Recovered {
    let recovered = store.recover(vec![request], page).await;
    let mut recovered = recovered.expect("a recovery");
    assert_eq!(recovered.len(), 1);
    recovered.remove(0)
}

/// The versions of the snapshot (zero for none) and of the events that a stream recovers from.
fn versions(recovered: &Recovered) -> (u64, Vec<u64>) {
    let snapshot = recovered.snapshot.as_ref();
    let events = recovered.events.iter().map(|event| event.version.get());
    (
        snapshot.map_or(0, |found| found.version.get()),
        events.collect(),
    )
}

/// Of those with the right fingerprint, the newest; others are passed over.
pub async fn recovery_takes_the_newest_snapshot_that_fits(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 6)]).await;
    let fits = snapshot(&one, 3, "fits");
    let snapshots = vec![
        snapshot(&one, 2, "fits"),
        fits.clone(),
        snapshot(&one, 5, "other"),
    ];
    save(&*store, snapshots, 10).await;

    let found = recover(&*store, request(&one, Some("fits"), 0), 10).await;

    assert_eq!(versions(&found), (3, vec![4, 5, 6]));
    let found = found.snapshot.expect("a snapshot");
    assert_eq!((found.id, found.stream), (fits.id, fits.stream));
    assert_eq!(
        (found.version, found.position),
        (fits.version, fits.position)
    );
    assert_eq!(found.occurred_at, fits.occurred_at);
    assert_eq!(found.created_at, fits.created_at);
    assert_eq!(found.fingerprint, fits.fingerprint);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(json(found.data.get()), json(fits.data.get()));
    let misfit = recover(&*store, request(&one, Some("none"), 0), 10).await;
    assert_eq!(versions(&misfit), (0, vec![1, 2, 3, 4, 5, 6]));
    let unwanted = recover(&*store, request(&one, None, 0), 10).await;
    assert_eq!(versions(&unwanted), (0, vec![1, 2, 3, 4, 5, 6]));
}

/// Neither a snapshot nor an event at or before the version that is known.
pub async fn recovery_reads_only_what_is_not_known_yet(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 6)]).await;
    save(&*store, vec![snapshot(&one, 3, "fits")], 10).await;

    for (after, page, expected) in [
        (2, 10, (3, vec![4, 5, 6])),
        (2, 2, (3, vec![4, 5])),
        (3, 10, (0, vec![4, 5, 6])),
        (4, 1, (0, vec![5])),
        (4, 2, (0, vec![5, 6])),
        (6, 10, (0, vec![])),
        (9, 10, (0, vec![])),
    ] {
        let found = recover(&*store, request(&one, Some("fits"), after), page).await;

        assert_eq!(versions(&found), expected, "after {after}, page {page}");
    }
}

/// Two snapshots of one version are one: the later one.
pub async fn a_snapshot_replaces_that_of_its_version(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 4)]).await;
    let mut newer = snapshot(&one, 3, "new");
    newer.data = raw("[\"newer\"]");
    save(&*store, vec![snapshot(&one, 3, "old")], 2).await;

    save(&*store, vec![newer.clone()], 2).await;

    let found = recover(&*store, request(&one, Some("new"), 0), 10).await;
    let found = found.snapshot.expect("a snapshot");
    assert_eq!((found.id, found.data.get()), (newer.id, "[\"newer\"]"));
    let found = recover(&*store, request(&one, Some("old"), 0), 10).await;
    assert!(found.snapshot.is_none());
}

/// What is beyond the number to keep is dropped, in each stream for itself.
pub async fn only_the_newest_snapshots_are_kept(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    append(&*store, vec![commit(&one, 0, 9), commit(&other, 0, 9)]).await;
    // Each has a fingerprint of its own, so that each can be asked for.
    let of = |stream, version: u64| snapshot(stream, version, &format!("f{version}"));
    save(&*store, vec![of(&other, 1), of(&one, 2), of(&one, 4)], 2).await;

    save(&*store, vec![of(&one, 6), of(&one, 1)], 2).await;

    for (stream, version, kept) in [
        (&one, 1, false),
        (&one, 2, false),
        (&one, 4, true),
        (&one, 6, true),
        (&other, 1, true),
    ] {
        let fingerprint = format!("f{version}");
        let found = recover(&*store, request(stream, Some(&fingerprint), 0), 1).await;
        assert_eq!(found.snapshot.is_some(), kept, "{stream} at {version}");
    }
}

/// Many streams, some absent, some with snapshots, in the order in which they were asked for.
pub async fn sixty_four_streams_are_recovered_at_once(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let streams: Vec<StreamId> = (0..64).map(|index| stream(&format!("s{index}"))).collect();
    let mut snapshots = Vec::new();
    for (index, one) in (0_u64..).zip(&streams) {
        if index % 4 == 0 {
            continue;
        }
        append(&*store, vec![commit(one, 0, index)]).await;
        if index % 3 == 0 {
            snapshots.push(snapshot(one, index - 1, "fits"));
        }
    }
    save(&*store, snapshots, 1).await;

    let requests = streams
        .iter()
        .rev()
        .map(|one| request(one, Some("fits"), 0));
    let recovered = store.recover(requests.collect(), 20).await;

    let recovered = recovered.expect("a recovery");
    assert_eq!(recovered.len(), 64);
    for (index, found) in (0_u64..64).rev().zip(&recovered) {
        let expected = if index % 4 == 0 {
            (0, vec![])
        } else if index % 3 == 0 {
            (index - 1, vec![index])
        } else {
            (0, (1..=index.min(20)).collect())
        };
        assert_eq!(versions(found), expected, "stream {index}");
        assert!(
            found
                .events
                .iter()
                .all(|event| event.stream == streams[usize::try_from(index).unwrap_or(0)])
        );
    }
    let nothing = store.recover(Vec::new(), 20).await.expect("an answer");
    assert!(nothing.is_empty());
}

/// Two streams that are always written together are never seen apart.
pub async fn recovery_is_one_view_while_others_write(fixture: &impl Fixture) {
    let (one, other) = (stream("one"), stream("other"));
    let writer = fixture.open().await;
    let pair = (one.clone(), other.clone());
    let writing = tokio::spawn(async move {
        for version in 0..100 {
            let (one, other) = &pair;
            let batch = vec![commit(one, version, 1), commit(other, version, 1)];
            append(&*writer, batch).await;
        }
    });
    let reader: Arc<dyn EventStore> = fixture.open().await;

    loop {
        let finished = writing.is_finished();
        // So many between the two that no adapter is likely to read both in one statement.
        let mut requests = vec![request(&one, Some("fits"), 0)];
        requests.extend((0..70).map(|index| request(&stream(&format!("s{index}")), None, 0)));
        requests.push(request(&other, None, 0));
        let recovered = reader.recover(requests, 1_000).await.expect("a recovery");
        let counts: Vec<usize> = recovered.iter().map(|found| found.events.len()).collect();
        assert_eq!(counts[0], counts[71]);
        if finished {
            assert_eq!(counts[0], 100);
            break;
        }
    }

    writing.await.expect("the writer's end");
}

/// The version of the snapshot that a state as it was would be read from.
async fn version_at(store: &dyn EventStore, one: &StreamId, fits: &str, until: u64) -> Option<u64> {
    let fits = Fingerprint::from_stored(fits);
    let found = store.snapshot_at(one, &fits, Version::new(until)).await;
    let found = found.expect("an answer")?;
    assert_eq!((&found.stream, &found.fingerprint), (one, &fits));
    assert!(
        found
            .data
            .get()
            .contains(&format!("\"{} ü\"", found.version))
    );
    Some(found.version.get())
}

/// Neither one after the version asked for, nor one that does not fit, nor another stream's.
pub async fn a_snapshot_is_found_at_a_version(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let snapshots = vec![
        snapshot(&one, 2, "fits"),
        snapshot(&one, 4, "fits"),
        snapshot(&one, 5, "not"),
        snapshot(&one, 9, "fits"),
        snapshot(&other, 7, "fits"),
    ];
    save(&*store, snapshots, 10).await;

    for (until, found) in [
        (0, None),
        (1, None),
        (2, Some(2)),
        (3, Some(2)),
        (4, Some(4)),
        (8, Some(4)),
        (9, Some(9)),
        (u64::MAX, Some(9)),
    ] {
        assert_eq!(
            version_at(&*store, &one, "fits", until).await,
            found,
            "{until}"
        );
    }
    assert_eq!(version_at(&*store, &one, "not", 8).await, Some(5));
    assert_eq!(
        version_at(&*store, &stream("absent"), "fits", 8).await,
        None
    );
}

/// Beside the newest, of each span of versions the first that fits; and none that does not.
pub async fn of_each_span_of_versions_a_snapshot_is_kept(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let keep = SnapshotRetention {
        newest: 2,
        history_every: 10,
    };
    save_and_keep(
        &*store,
        vec![snapshot(&one, 1, "old"), snapshot(&other, 3, "old")],
        keep,
    )
    .await;
    for version in [4, 8, 10, 12, 16, 25, 28, 29, 31, 33, 34] {
        save_and_keep(&*store, vec![snapshot(&one, version, "fits")], keep).await;
    }

    let mut kept = Vec::new();
    for version in 0..40 {
        let found = version_at(&*store, &one, "fits", version).await;
        kept.extend(found.filter(|found| *found == version));
    }
    assert_eq!(kept, [4, 10, 25, 31, 33, 34]);
    assert_eq!(version_at(&*store, &one, "old", 40).await, None);
    assert_eq!(version_at(&*store, &other, "old", 40).await, Some(3));
    // Without history the older ones go.
    save(&*store, vec![snapshot(&one, 36, "fits")], 1).await;
    assert_eq!(version_at(&*store, &one, "fits", 35).await, None);
    assert_eq!(version_at(&*store, &one, "fits", 36).await, Some(36));
}
