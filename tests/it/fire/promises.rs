//! What the runtime promises of state, time, threads and claims.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, TimeDelta};
use dormouse::{
    domain::{CommandContext, Decision, Handle, Position, SnapshotShape as _, Version},
    runtime::{CommandError, CommandOptions, Runtime},
    store::{EventStore as _, memory::MemoryStore},
    testing::{Fault, Gate, ManualClock, Operation},
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::node::{Setup, stream};
use crate::support::{
    backends,
    checker::{open, read},
    counter::{Add, Counter, CounterError, Name, commands, id},
};

/// Answers on which thread it is handled.
#[derive(Debug, Serialize, Deserialize)]
struct Where {}

impl Handle<Where> for Counter {
    type Reply = String;

    fn handle(
        &self,
        _: &Where,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self, String>, CounterError> {
        let thread = format!("{:?}", std::thread::current().id());
        Ok(Decision::nothing().reply(thread))
    }
}

#[tokio::test]
async fn aggregates_are_spread_over_threads_and_each_stays_on_one() {
    let mut setup = Setup::default();
    setup.runtime.arbiters = 3;
    let runtime = Runtime::builder(Arc::new(MemoryStore::new()))
        .settings(setup.settings())
        .aggregate::<Counter>(|counter| commands(counter).command::<Where>("where"))
        .start()
        .await
        .unwrap();
    let counters = runtime.aggregates::<Counter>().unwrap();
    let mut threads = HashSet::new();

    for number in 0..6 {
        let id = id(&format!("c{number}"));
        // It exists, so that it stays awake.
        let add = counters.execute(&id, Add::one("t"), CommandOptions::default());
        add.await.unwrap();
        let ask = || counters.execute(&id, Where {}, CommandOptions::default());
        let (first, second) = (ask().await.unwrap().reply, ask().await.unwrap().reply);
        assert_eq!(first, second);
        threads.insert(first);
    }

    assert_eq!(threads.len(), 3);
    assert!(!threads.contains(&format!("{:?}", std::thread::current().id())));
}

#[tokio::test]
async fn the_time_of_events_never_goes_back_within_an_aggregate() {
    let store = MemoryStore::new();
    let clock = ManualClock::default();
    let start = || async {
        let runtime = Runtime::builder(Arc::new(store.clone()))
            .clock(Arc::new(clock.clone()))
            .aggregate::<Counter>(commands)
            .start();
        runtime.await.unwrap()
    };
    let runtime = start().await;
    let counters = runtime.aggregates::<Counter>().unwrap();
    let add = |id: &str| {
        let (counters, id) = (counters.clone(), crate::support::counter::id(id));
        async move {
            counters
                .execute(&id, Add::one("t"), CommandOptions::default())
                .await
                .unwrap()
        }
    };

    add("c").await;
    clock.advance(TimeDelta::seconds(-90));
    join_all([add("c"), add("c"), add("d")]).await;
    clock.advance(TimeDelta::seconds(100));
    add("c").await;
    runtime.shutdown().await;
    clock.set(DateTime::UNIX_EPOCH);
    let again = start().await;
    let counters = again.aggregates::<Counter>().unwrap();
    let c = id("c");
    let last = counters.execute(&c, Add::one("t"), CommandOptions::default());
    last.await.unwrap();

    let log = store.read_log(Position::ZERO, 100).await.unwrap();
    let times = |id: &str| -> Vec<i64> {
        let first = log[0].occurred_at;
        let of = log
            .iter()
            .filter(|event| event.stream.aggregate_id.as_str() == id);
        of.map(|event| (event.occurred_at - first).num_seconds())
            .collect()
    };
    assert_eq!(times("c"), [0, 0, 0, 10, 10]);
    assert_eq!(times("d"), [-90]);
}

/// A node whose clock is behind knows the last time from a snapshot alone, or from what another
/// node stored under its feet.
#[tokio::test]
async fn neither_a_snapshot_nor_another_node_lets_the_time_go_back() {
    let store = MemoryStore::new();
    let (ahead, behind) = (ManualClock::default(), ManualClock::default());
    behind.advance(TimeDelta::hours(-1));
    let start = |clock: &ManualClock| {
        let setup = Setup::snapshot_every(2);
        let runtime = Runtime::builder(Arc::new(store.clone()))
            .settings(setup.settings())
            .writers(Setup::shared().writers())
            .clock(Arc::new(clock.clone()))
            .aggregate::<Counter>(commands);
        async move { runtime.start().await.unwrap() }
    };
    let add = async |runtime: &Runtime, token: &str| {
        let counters = runtime.aggregates::<Counter>().unwrap();
        let (c, add) = (id("c"), Add::one(token));
        let added = counters.execute(&c, add, CommandOptions::default());
        added.await.unwrap();
    };
    let one = start(&ahead).await;
    add(&one, "1").await;
    add(&one, "2").await;
    one.shutdown().await;

    // It wakes from a snapshot at version 2, and reads no event.
    let two = start(&behind).await;
    add(&two, "3").await;
    ahead.advance(TimeDelta::seconds(7));
    let three = start(&ahead).await;
    add(&three, "4").await;
    // Its state is of version 3: it loses to version 4 first.
    add(&two, "5").await;

    let log = store.read_log(Position::ZERO, 10).await.unwrap();
    let first = log[0].occurred_at;
    let seconds = log
        .iter()
        .map(|event| (event.occurred_at - first).num_seconds());
    assert_eq!(seconds.collect::<Vec<_>>(), [0, 0, 0, 7, 7]);
    let (c, fits) = (stream("c"), Counter::fingerprint());
    let snapshot = store.snapshot_at(&c, &fits, Version::new(2));
    assert_eq!(snapshot.await.unwrap().unwrap().occurred_at, first);
}

#[tokio::test]
async fn a_read_shows_durable_state_only() {
    for setup in [Setup::default(), Setup::shared()] {
        let shared = setup.shared;
        let node = setup.start().await;
        node.add("c", "t-1", None).await.unwrap();
        let gate = Gate::new();
        node.store
            .inject_next(Operation::Append, Fault::Hold(gate.clone()));
        let held = tokio::spawn(node.add("c", "t-2", None));
        gate.reached(1).await;

        let counters = node.counters.clone();
        let mut read = tokio::spawn(async move { counters.state(&id("c")).await });
        if shared {
            // What others may have stored is asked after, once what is in flight has its fate.
            let patience = std::time::Duration::from_millis(50);
            let early = tokio::time::timeout(patience, &mut read).await;
            assert!(early.is_err());
            gate.open();
            assert_eq!(read.await.unwrap().unwrap().unwrap().state.total, 2);
        } else {
            assert_eq!(read.await.unwrap().unwrap().unwrap().state.total, 1);
            gate.open();
        }

        held.await.unwrap().unwrap();
        assert_eq!(node.state("c").await.total, 2);
    }
}

#[tokio::test]
async fn of_many_that_claim_one_value_at_once_exactly_one_gets_it() {
    for backend in backends().await {
        let store = open(&backend.store_url()).await;
        let node = Setup::default().start_on(&store).await;

        let creates = (0..64).map(|number| {
            let counters = node.counters.clone();
            tokio::spawn(async move {
                let name = Name {
                    name: Some("unique".to_owned()),
                };
                let id = id(&format!("c{number}"));
                counters.execute(&id, name, CommandOptions::default()).await
            })
        });
        let answers = join_all(creates).await;

        let (won, lost): (Vec<_>, Vec<_>) = answers
            .into_iter()
            .map(Result::unwrap)
            .partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 63));
        for answer in lost {
            assert!(
                matches!(answer, Err(CommandError::ClaimTaken(_))),
                "{answer:?}"
            );
        }
        assert_eq!(read(&*store).await.events().len(), 1);
        node.runtime.shutdown().await;
    }
}
