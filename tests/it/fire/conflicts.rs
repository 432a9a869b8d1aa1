//! Other writers on the same store, behind the back of a live aggregate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dormouse::{
    domain::IdempotencyKey,
    runtime::{CommandError, CommandOptions},
    store::{AppendError, Commit, EventStore as _},
    testing::{Fault, Gate, Operation},
};
use futures_util::{FutureExt as _, future::join_all};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    node::{Answered, Node, Setup, foreign_add, memory},
    rigged::Rigged,
};
use crate::support::{
    Backend, backends,
    checker::{open, read},
    counter::{Add, id},
};

/// Sends commands while `first` is being written, so that they are decided on top of one another
/// and handed over together; gives them when their own first append is held at the gate.
async fn held_chain(node: &Node, tokens: &[&str]) -> (Gate, Vec<JoinHandle<Answered>>) {
    let gates = [Gate::new(), Gate::new()];
    let next = node.store.calls(Operation::Append) + 1;
    for (gate, call) in gates.iter().zip(next..) {
        let hold = Fault::Hold(gate.clone());
        node.store.inject(Operation::Append, call, hold);
    }
    let [before, held] = gates;
    let first = tokio::spawn(node.add("c", "first", None));
    before.reached(1).await;
    let chain = tokens.iter().map(|token| {
        // The aggregate is live: one poll puts the command into its mailbox.
        let mut add = Box::pin(node.add("c", token, Some(token)));
        assert!(add.as_mut().now_or_never().is_none());
        tokio::spawn(add)
    });
    let chain = chain.collect();
    before.open();
    first.await.unwrap().unwrap();
    held.reached(1).await;
    (held, chain)
}

async fn all(chain: Vec<JoinHandle<Answered>>) -> Vec<(u64, u64)> {
    let answers = join_all(chain).await.into_iter();
    let told = answers.map(|answer| answer.unwrap().unwrap());
    told.map(|answer| (answer.version.get(), answer.reply))
        .collect()
}

#[tokio::test]
async fn commands_that_lost_their_versions_are_decided_again_and_answered_once() {
    let [sqlite, postgres] = backends().await;
    // The commits of a hand-over go into one batch, or into one each.
    for (backend, max_events) in [(sqlite, 1000), (postgres, 1000), (Backend::sqlite(), 1)] {
        let store = open(&backend.store_url()).await;
        let mut setup = Setup::shared();
        setup.journal.max_events = max_events;
        let node = setup.start_on(&store).await;

        let (gate, chain) = held_chain(&node, &["t-1", "t-2", "t-3"]).await;
        // It leads to the very version that the first of them would have led to.
        store.save(foreign_add("c", 1, 10)).await.unwrap();
        gate.open();

        assert_eq!(all(chain).await, [(3, 12), (4, 13), (5, 14)]);
        assert_eq!(node.state("c").await.total, 14);
        assert_eq!(read(&*store).await.events().len(), 5);
        node.runtime.shutdown().await;
    }
}

#[tokio::test]
async fn what_follows_a_commit_that_was_not_stored_is_decided_again() {
    let mut setup = Setup::default();
    setup.journal.max_events = 1;
    let node = setup.start().await;

    let (gate, mut chain) = held_chain(&node, &["t-1", "t-2", "t-3"]).await;
    node.store.inject_next(Operation::Append, Fault::Fail);
    gate.open();

    let failed = chain.remove(1).await.unwrap();
    let unavailable = matches!(failed, Err(CommandError::StoreUnavailable));
    assert!(unavailable, "{failed:?}");
    assert_eq!(all(chain).await, [(2, 2), (3, 3)]);
    assert_eq!(node.state("c").await.tokens, ["first", "t-1", "t-3"]);
}

#[tokio::test]
async fn a_read_or_a_rejection_sees_what_another_writer_has_stored() {
    let store = memory();
    let node = Setup::shared().start_on(&store).await;
    node.add("c", "t-1", None).await.unwrap();

    store.save(foreign_add("c", 1, 10)).await.unwrap();
    let read = node.state("c").await.total;
    store.save(foreign_add("c", 2, 10)).await.unwrap();
    let add = Add {
        amount: 1,
        token: "t-2".to_owned(),
        limit: Some(21),
    };
    let counters = &node.counters;
    let id = id("c");
    let rejected = counters.execute(&id, add, CommandOptions::default()).await;

    assert_eq!(read, 11);
    assert!(
        matches!(rejected, Err(CommandError::Rejected { .. })),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn an_answer_that_stores_nothing_has_the_version_that_it_was_decided_on() {
    let node = Setup::shared().start().await;
    node.add("c", "t-1", None).await.unwrap();
    let gate = Gate::new();
    node.store
        .inject_next(Operation::CurrentVersion, Fault::Hold(gate.clone()));

    let nothing = Add {
        amount: 0,
        token: String::new(),
        limit: None,
    };
    let counters = node.counters.clone();
    let asking = tokio::spawn(async move {
        let options = CommandOptions::default();
        counters.execute(&id("c"), nothing, options).await
    });
    gate.reached(1).await;
    node.add("c", "t-2", None).await.unwrap();
    gate.open();
    let answer = asking.await.unwrap().unwrap();

    assert_eq!((answer.version.get(), answer.reply), (1, 1));
    assert_eq!(answer.position.get(), 1);
}

/// What it asks the store with may be a connection of a few, and the load needs one as well.
#[tokio::test]
async fn an_answer_that_asks_the_store_goes_on_while_its_aggregate_loads() {
    let store = memory();
    let node = Setup::shared().start_on(&store).await;
    node.add("c", "t-1", None).await.unwrap();
    let [asked, loading, goes_on] = [Gate::new(), Gate::new(), Gate::new()];
    let hold = |operation, gate: &Gate| {
        let hold = Fault::Hold(gate.clone());
        node.store.inject_next(operation, hold);
    };
    hold(Operation::Receipt, &asked);
    let too_much = Add {
        amount: 1,
        token: "t-2".to_owned(),
        limit: Some(0),
    };
    let options = CommandOptions {
        key: Some(IdempotencyKey::parse("k").unwrap()),
        ..CommandOptions::default()
    };
    let counters = node.counters.clone();
    let rejected = tokio::spawn(async move { counters.execute(&id("c"), too_much, options).await });
    asked.reached(1).await;

    hold(Operation::Recover, &loading);
    hold(Operation::CurrentVersion, &goes_on);
    store.save(foreign_add("c", 1, 10)).await.unwrap();
    let added = tokio::spawn(node.add("c", "t-3", None));
    loading.reached(1).await;
    asked.open();
    let went_on = timeout(Duration::from_secs(20), goes_on.reached(1)).await;

    went_on.expect("it asked its next question");
    goes_on.open();
    loading.open();
    assert_eq!(added.await.unwrap().unwrap().reply, 12);
    let rejected = rejected.await.unwrap();
    assert!(
        matches!(rejected, Err(CommandError::Rejected { .. })),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn who_always_loses_hears_so_after_the_retries_and_left_nothing() {
    let wins = Arc::new(AtomicBool::new(true));
    let events = Arc::new(AtomicU64::new(0));
    let store = Rigged::over_memory({
        let (wins, events) = (Arc::clone(&wins), Arc::clone(&events));
        move |inner, batch| {
            let (wins, events) = (wins.load(Ordering::SeqCst), Arc::clone(&events));
            Box::pin(async move {
                let stream = &batch[0].stream;
                if wins {
                    let version = inner.current_version(stream).await.unwrap();
                    let first = foreign_add(stream.aggregate_id.as_str(), version.get(), 10);
                    inner.save(first).await?;
                    events.fetch_add(1, Ordering::SeqCst);
                }
                inner.append(batch).await
            })
        }
    });
    let mut setup = Setup::shared();
    setup.runtime.conflict_retries = 3;
    let node = setup.start_on(&store).await;

    let lost = node.add("c", "t-1", Some("t-1")).await;
    wins.store(false, Ordering::SeqCst);
    let again = node.add("c", "t-1", Some("t-1")).await.unwrap();

    assert!(matches!(lost, Err(CommandError::WriteConflict)), "{lost:?}");
    assert_eq!(
        events.load(Ordering::SeqCst),
        4,
        "one try and three retries"
    );
    let told = (again.version.get(), again.reply, again.replayed);
    assert_eq!(told, (5, 41, false));
}

#[tokio::test]
async fn data_at_fault_fails_its_command_alone_whatever_was_stored_before() {
    let store = Rigged::over_memory(|inner, batch| {
        Box::pin(async move {
            let at_fault = |commit: &Commit| commit.events[0].data.get().contains("refused");
            let Some(place) = batch.iter().position(at_fault) else {
                return inner.append(batch).await;
            };
            if place == 0 {
                return Err(AppendError::Unstorable("a scripted fault".into()));
            }
            // As where a batch takes several statements, and a later one is refused.
            inner.append(Arc::from(&batch[..place])).await?;
            let refused = AppendError::Unstorable("a scripted fault".into());
            Err(AppendError::OutcomeUnknown(refused.into()))
        })
    });
    let node = Setup::default().start_on(&store).await;

    let tokens = ["t-1", "t-2", "t-refused", "t-3", "t-4"];
    let (gate, mut chain) = held_chain(&node, &tokens).await;
    gate.open();

    let refused = chain.remove(2).await.unwrap();
    assert!(
        matches!(refused, Err(CommandError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(all(chain).await, [(2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(node.state("c").await.total, 5);
}
