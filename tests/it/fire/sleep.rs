//! Falling asleep: when idle, and to make room.

use std::time::Duration;

use dormouse::testing::{Fault, Gate, Operation};

use super::node::{Node, Setup, until};
use crate::support::counter::id;

fn idle_after(idle_timeout: Duration) -> Setup {
    let mut setup = Setup::snapshot_every(0);
    setup.counter.idle_timeout = idle_timeout;
    setup
}

fn live_at_most(max_live: usize) -> Setup {
    let mut setup = Setup::default();
    setup.runtime.max_live = max_live;
    setup
}

/// How many aggregates were woken since the start.
fn woken(node: &Node) -> u64 {
    node.store.calls(Operation::Recover)
}

#[tokio::test]
async fn an_idle_aggregate_sleeps_and_wakes_as_it_was() {
    let node = idle_after(Duration::from_millis(40)).start().await;
    for token in ["t-1", "t-2", "t-3"] {
        node.add("c", token, None).await.unwrap();
    }
    let before = node.state("c").await;

    node.until_live(0).await;
    let after = node.state("c").await;

    assert_eq!(after, before);
    assert_eq!(after.total, 3);
    assert!(woken(&node) >= 2);
    let next = node.add("c", "t-4", None).await.unwrap();
    assert_eq!((next.version.get(), next.reply), (4, 4));
}

#[tokio::test]
async fn an_aggregate_with_unanswered_work_does_not_sleep() {
    let node = idle_after(Duration::from_millis(20)).start().await;
    node.add("other", "t", None).await.unwrap();
    let gate = Gate::new();
    node.store
        .inject_next(Operation::Append, Fault::Hold(gate.clone()));

    let held = tokio::spawn(node.add("c", "t-1", None));
    gate.reached(1).await;
    // Who is used after it falls asleep before it.
    assert_eq!(node.state("other").await.total, 1);
    node.until_live(1).await;
    gate.open();

    assert_eq!(held.await.unwrap().unwrap().version.get(), 1);
}

#[tokio::test]
async fn over_max_live_the_least_recently_used_sleeps_first() {
    let node = live_at_most(3).start().await;
    for counter in ["a", "b", "c"] {
        node.add(counter, counter, None).await.unwrap();
    }
    node.state("a").await;
    assert_eq!((node.live(), woken(&node)), (3, 3));

    // From here on b is the one that was used longest ago.
    node.add("d", "d", None).await.unwrap();
    until(|| node.live() == 3).await;
    for counter in ["c", "a", "d"] {
        node.state(counter).await;
    }
    assert_eq!(woken(&node), 4, "only d was woken");

    // Now c is.
    assert_eq!(node.state("b").await.total, 1);
    until(|| node.live() == 3).await;
    for counter in ["a", "d", "b"] {
        node.state(counter).await;
    }
    assert_eq!(woken(&node), 5, "only b was woken");
    assert_eq!(node.state("c").await.total, 1);
    assert_eq!(woken(&node), 6, "c had fallen asleep");
}

#[tokio::test]
async fn those_at_work_stay_over_max_live_and_leave_when_others_wake() {
    let node = live_at_most(2).start().await;
    let gate = Gate::new();
    node.store
        .inject(Operation::Append, 1.., Fault::Hold(gate.clone()));
    let counters: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();

    let adds: Vec<_> = counters
        .iter()
        .map(|counter| tokio::spawn(node.add(counter, counter, None)))
        .collect();
    until(|| node.live() == 6).await;
    gate.open();
    for add in adds {
        assert_eq!(add.await.unwrap().unwrap().version.get(), 1);
    }
    node.add("last", "last", None).await.unwrap();

    until(|| node.live() <= 2).await;
    for counter in &counters {
        assert_eq!(node.state(counter).await.total, 1);
    }
}

#[tokio::test]
async fn asking_after_what_does_not_exist_takes_no_memory() {
    for setup in [Setup::default(), Setup::shared()] {
        let node = setup.start().await;
        for number in 0..20 {
            let unknown = id(&format!("unknown-{number}"));
            assert!(node.counters.state(&unknown).await.unwrap().is_none());
        }

        node.until_live(0).await;
    }
}
