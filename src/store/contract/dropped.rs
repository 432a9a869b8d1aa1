//! Callers that go away: every future of the port is dropped at each of its awaits.

use std::{future::Future, sync::Arc, task::Poll, time::Duration};

use futures_util::future::{BoxFuture, join_all};

use super::{Fixture, append, claim, commit, first_position, fresh_id, instant, key, raw, receipt};
use super::{stream, whole_log};
use crate::{
    domain::{EventId, Fingerprint, Position, StreamId, Version},
    store::{
        Commit, EventFilter, EventStore, LogQuery, Order, RecoveryRequest, SnapshotRetention,
        StoredSnapshot, models::ReadModels,
    },
};

/// More awaits than any operation has.
const MOST_AWAITS: usize = 200;
/// More readers at a time than a small pool has connections, so that each of them is asked.
const READERS: usize = 8;
const LEASE: Duration = Duration::from_mins(1);

/// What has come of the await at which a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Nothing: what it waits for is under way.
    Waiting,
    /// What it waits for is there, and not taken.
    Woken,
}

/// Polls a future so often, each time when it asks for it, then drops it; true where it had ended.
async fn dropped_after(polls: usize, at: Moment, future: impl Future<Output = ()>) -> bool {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(|()| true);
        if polled.is_pending() && left == 0 && at == Moment::Waiting {
            return Poll::Ready(false);
        }
        polled
    })
    .await
}

/// Drops the future that `start` makes at each of its awaits, one time after the other; after each,
/// `look` must find all well.
async fn drop_at_every_await<F, L>(
    what: &str,
    mut start: impl FnMut() -> F,
    mut look: impl FnMut() -> L,
) where
    F: Future<Output = ()>,
    L: Future<Output = ()>,
{
    for at in [Moment::Waiting, Moment::Woken] {
        let mut ended = false;
        for polls in 0..MOST_AWAITS {
            ended = dropped_after(polls, at, start()).await;
            look().await;
            if ended {
                break;
            }
        }
        assert!(ended, "{what} has no more than {MOST_AWAITS} awaits");
    }
}

/// One event more, and every reader sees it: none is left behind in a view of its own, none is given
/// what another asked for.
async fn all_is_well(store: &dyn EventStore) {
    let other = stream("other");
    let version = store.current_version(&other).await.expect("a version");
    let verdicts = append(store, vec![commit(&other, version.get(), 1)]).await;
    let newest = first_position(&verdicts[0]).expect("it is committed");
    let shown = join_all((0..READERS).map(|_| store.last_position())).await;
    for shown in shown {
        assert_eq!(shown.expect("a position").get(), newest);
    }
    let events = join_all((0..READERS).map(|_| store.events(&other, version.next(), 9))).await;
    for events in events {
        let versions = events.expect("events").into_iter().map(|one| one.version);
        assert_eq!(versions.collect::<Vec<_>>(), [version.next()]);
    }
}

/// What reads, by name: each asks for something that is there.
type Read<'s> = (&'static str, Box<dyn Fn() -> BoxFuture<'s, ()> + Send + 's>);

fn read<'s, T: 's, E: std::fmt::Debug + 's>(
    name: &'static str,
    ask: impl Fn() -> BoxFuture<'s, Result<T, E>> + Send + 's,
) -> Read<'s> {
    let ask = move || {
        let asked = ask();
        let named: BoxFuture<'s, ()> = Box::pin(async move {
            let answer = asked.await;
            assert!(answer.is_ok(), "{name}: {:?}", answer.err());
        });
        named
    };
    (name, Box::new(ask))
}

fn reads<'s>(store: &'s dyn EventStore, one: &'s StreamId, id: EventId) -> Vec<Read<'s>> {
    vec![
        read("events", move || store.events(one, Version::ZERO, 100)),
        read("current_version", move || store.current_version(one)),
        read("recover", move || store.recover(requests(one), 2)),
        read("read_log", move || store.read_log(Position::ZERO, 100)),
        read("query_log", move || {
            Box::pin(async move { store.query_log(&all()).await })
        }),
        read("event", move || store.event(id)),
        read("aggregates", move || {
            store.aggregates(&one.aggregate_type, None, 10)
        }),
        read("snapshot_at", move || {
            Box::pin(async move {
                let fingerprint = Fingerprint::from_stored("fits");
                store.snapshot_at(one, &fingerprint, Version::new(9)).await
            })
        }),
        read("last_position", move || store.last_position()),
        read("receipt", move || {
            Box::pin(async move { store.receipt(one, &key("key")).await })
        }),
        read("claim_holder", move || {
            Box::pin(async move {
                store
                    .claim_holder(&one.aggregate_type, &claim("held"))
                    .await
            })
        }),
        read("ready", move || store.ready()),
    ]
}

fn all() -> LogQuery {
    LogQuery {
        filter: EventFilter::default(),
        order: Order::Descending,
        after: None,
        limit: 100,
    }
}

fn requests(stream: &StreamId) -> Vec<RecoveryRequest> {
    vec![RecoveryRequest {
        stream: stream.clone(),
        fingerprint: Some(Fingerprint::from_stored("fits")),
        after: Version::ZERO,
    }]
}

fn snapshot(stream: &StreamId, version: u64) -> StoredSnapshot {
    StoredSnapshot {
        id: fresh_id(),
        stream: stream.clone(),
        version: Version::new(version),
        position: Position::new(version),
        occurred_at: instant(),
        fingerprint: Fingerprint::from_stored("fits"),
        data: raw(r#"{"at":"it"}"#),
        created_at: instant(),
    }
}

/// A read that nobody waits for any more leaves its connection fit for the next.
pub async fn a_read_may_be_dropped_at_any_await(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let whole = Commit {
        takes: vec![claim("held")],
        receipt: Some(receipt("key", Some("null"))),
        ..commit(&one, 0, 5)
    };
    append(&*store, vec![whole.clone()]).await;
    let kept = SnapshotRetention::newest(10);
    let saved = store.save_snapshots(vec![snapshot(&one, 3)], kept).await;
    saved.expect("a saved snapshot");

    for (name, ask) in reads(&*store, &one, whole.events[0].id) {
        drop_at_every_await(name, &ask, || all_is_well(&*store)).await;
    }

    let found = store.events(&one, Version::ZERO, 100).await;
    assert_eq!(found.expect("events").len(), 5);
    whole_log(&*store).await;
}

/// A write that nobody waits for any more is whole or absent, and the next one is not hindered.
pub async fn a_write_may_be_dropped_at_any_await(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut batches: Vec<Arc<[Commit]>> = Vec::new();
    let appended = || {
        let number = batches.len();
        let whole = |name: &str| Commit {
            takes: vec![claim(&format!("{name}-{number}"))],
            receipt: Some(receipt("key", None)),
            ..commit(&stream(&format!("{name}-{number}")), 0, 2)
        };
        let batch: Arc<[Commit]> = [whole("a"), whole("b")].into();
        batches.push(Arc::clone(&batch));
        let store = &store;
        async move {
            store.append(batch).await.expect("an append");
        }
    };

    drop_at_every_await("append", appended, || all_is_well(&*store)).await;

    for batch in batches {
        let requests = batch.iter().flat_map(|commit| requests(&commit.stream));
        let before = store.recover(requests.collect(), 10).await;
        let before = before.expect("a recovery").into_iter();
        let counts: Vec<usize> = before.map(|one| one.events.len()).collect();
        assert!(counts == [2, 2] || counts == [0, 0], "{counts:?}");
        let verdicts = append(&*store, batch.to_vec()).await;
        assert!(verdicts.iter().all(|one| first_position(one).is_some()));
    }
    let one = stream("a-0");
    let saved = || async {
        let kept = SnapshotRetention::newest(2);
        let snapshots = vec![snapshot(&one, 1), snapshot(&one, 2)];
        let saved = store.save_snapshots(snapshots, kept).await;
        saved.expect("saved snapshots");
    };
    drop_at_every_await("save_snapshots", saved, || all_is_well(&*store)).await;
    whole_log(&*store).await;
}

/// Takes a lease in a transaction and ends it; every reader sees who holds it.
async fn models_are_well(models: &dyn ReadModels, number: u64) {
    let name = format!("well-{number}");
    let mut writing = models.begin().await.expect("a transaction");
    let epoch = writing.tx().acquire_lease(&name, "me", LEASE).await;
    assert!(epoch.expect("a lease").is_some(), "nobody holds {name}");
    writing.commit().await.expect("a commit");
    let shown = join_all((0..READERS).map(|_| async {
        let mut reading = models.snapshot().await.expect("a snapshot");
        let lease = reading.tx().lease(&name).await.expect("an answer");
        reading.rollback().await;
        lease.is_some_and(|lease| lease.holder == "me")
    }));
    assert_eq!(shown.await, [true; READERS]);
}

/// A transaction that nobody ends is undone, whatever it waited for, and its connection does not serve
/// again with it.
pub async fn a_transaction_may_be_dropped_at_any_await(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let Some(models) = store.read_models() else {
        return;
    };
    let models = &*models;
    let numbers = std::cell::Cell::new(0);
    let look = || {
        numbers.set(numbers.get() + 1);
        let (number, store) = (numbers.get(), &store);
        async move {
            models_are_well(models, number).await;
            all_is_well(&**store).await;
        }
    };
    let undone = || async {
        let mut writing = models.begin().await.expect("a transaction");
        let taken = writing.tx().acquire_lease("undone", "me", LEASE).await;
        assert!(taken.expect("an answer").is_some(), "it was undone before");
        writing.rollback().await;
    };
    drop_at_every_await("a transaction that is undone", undone, look).await;
    let reading = || async {
        let mut reading = models.snapshot().await.expect("a snapshot");
        reading.tx().lease("undone").await.expect("an answer");
        reading.commit().await.expect("an end");
    };
    drop_at_every_await("a transaction that reads", reading, look).await;
    let rounds = std::cell::Cell::new(0);
    let committed = || {
        rounds.set(rounds.get() + 1);
        let name = format!("round-{}", rounds.get());
        async move {
            let mut writing = models.begin().await.expect("a transaction");
            let first = writing.tx().acquire_lease(&name, "me", LEASE).await;
            first.expect("an answer");
            let second = format!("{name}-too");
            let second = writing.tx().acquire_lease(&second, "me", LEASE).await;
            second.expect("an answer");
            writing.commit().await.expect("a commit");
        }
    };
    drop_at_every_await("a transaction that commits", committed, look).await;
    let mut looking = models.snapshot().await.expect("a snapshot");
    for round in 1..=rounds.get() {
        let name = format!("round-{round}");
        let first = looking.tx().lease(&name).await.expect("an answer");
        let second = looking.tx().lease(&format!("{name}-too")).await;
        let both = [first.is_some(), second.expect("an answer").is_some()];
        assert!(both[0] == both[1], "{name} is half committed: {both:?}");
    }
}
