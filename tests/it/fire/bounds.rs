//! Bounds and deadlines: what is refused was not handled, and what was taken is not dropped.

use std::time::Duration;

use dormouse::{
    runtime::{CommandError, CommandOptions},
    testing::{Fault, Gate, Operation},
};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

use super::node::{Node, Setup, keyed};

const SHORT: Duration = Duration::from_millis(60);

/// A gate at which the next call of an operation waits.
fn hold(node: &Node, operation: Operation) -> Gate {
    let gate = Gate::new();
    node.store.inject_next(operation, Fault::Hold(gate.clone()));
    gate
}

fn within(timeout: Duration) -> CommandOptions {
    CommandOptions {
        timeout,
        ..CommandOptions::default()
    }
}

/// Sends `sent` commands while appends are held: those over `bound` are refused at once, and the
/// others succeed when the gate opens.
async fn refuses_over(node: &Node, sent: usize, bound: usize, counter: fn(usize) -> String) {
    let gate = hold(node, Operation::Append);
    let mut answers: FuturesUnordered<_> = (0..sent)
        .map(|number| node.add(&counter(number), &format!("t-{number}"), None))
        .collect();

    for _ in bound..sent {
        let refused = answers.next().await.unwrap();
        assert!(
            matches!(refused, Err(CommandError::Overloaded { .. })),
            "{refused:?}"
        );
    }
    gate.open();
    let mut taken = 0;
    while let Some(answer) = answers.next().await {
        answer.unwrap();
        taken += 1;
    }
    assert_eq!(taken, bound);
}

#[tokio::test]
async fn over_its_mailbox_an_aggregate_refuses_and_drops_nothing_it_took() {
    let mut setup = Setup::default();
    setup.counter.mailbox = 4;
    let node = setup.start().await;

    refuses_over(&node, 10, 4, |_| "c".to_owned()).await;

    assert_eq!(node.state("c").await.total, 4);
    node.add("c", "after", None).await.unwrap();
}

#[tokio::test]
async fn over_max_in_flight_the_node_refuses_and_drops_nothing_it_took() {
    let mut setup = Setup::default();
    setup.runtime.max_in_flight = 5;
    let node = setup.start().await;

    refuses_over(&node, 12, 5, |number| format!("c{number}")).await;

    for number in 0..12 {
        let total = node.state(&format!("c{number}")).await.total;
        assert_eq!(total, u64::from(number < 5));
    }
}

#[tokio::test]
async fn a_full_aggregate_does_not_stand_in_the_way_of_another() {
    let mut setup = Setup::default();
    setup.counter.mailbox = 1;
    let node = setup.start().await;
    // Its own recovery is held, so that nothing else is.
    let gate = hold(&node, Operation::Recover);

    let held = tokio::spawn(node.add("full", "a", None));
    gate.reached(1).await;
    let refused = node.add("full", "b", None).await;
    let other = node.add("other", "c", None).await;
    gate.open();

    assert!(matches!(
        refused,
        Err(CommandError::Overloaded {
            what: "the aggregate"
        })
    ));
    other.unwrap();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_command_that_waits_past_its_deadline_is_dropped_unhandled() {
    let node = Setup::default().start().await;
    let gate = hold(&node, Operation::Recover);
    let first = tokio::spawn(node.add("c", "first", None));
    gate.reached(1).await;

    let late = node.add_with("c", "late", within(SHORT)).await;
    gate.open();
    first.await.unwrap().unwrap();
    let next = node.add("c", "next", None).await.unwrap();

    assert!(matches!(late, Err(CommandError::TimedOutUnhandled)));
    assert_eq!(next.reply, 2);
    assert_eq!(node.state("c").await.tokens, ["first", "next"]);
}

#[tokio::test]
async fn a_command_whose_deadline_passes_while_its_aggregate_wakes_is_dropped_unhandled() {
    let node = Setup::default().start().await;
    let gate = hold(&node, Operation::Recover);

    let late = node.add_with("c", "late", within(SHORT)).await;
    gate.open();
    let next = node.add("c", "next", None).await.unwrap();

    assert!(
        matches!(late, Err(CommandError::TimedOutUnhandled)),
        "{late:?}"
    );
    assert_eq!(next.reply, 1);
}

#[tokio::test]
async fn a_handled_command_past_its_deadline_is_found_out_under_its_key() {
    let node = Setup::default().start().await;
    let gate = hold(&node, Operation::Append);

    let late = node.add_with("c", "t", keyed("k", SHORT)).await;
    gate.open();
    let again = node
        .add_with("c", "t", keyed("k", Duration::from_secs(10)))
        .await;

    assert!(
        matches!(late, Err(CommandError::OutcomeUnknown)),
        "{late:?}"
    );
    let again = again.unwrap();
    assert_eq!(
        (again.version.get(), again.reply, again.replayed),
        (1, 1, true)
    );
    assert_eq!(node.state("c").await.tokens, ["t"]);
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_along_what_waits_and_not_what_is_handled() {
    let node = Setup::default().start().await;
    let recovery = hold(&node, Operation::Recover);
    let append = hold(&node, Operation::Append);
    let first = tokio::spawn(node.add("c", "handled", None));
    recovery.reached(1).await;
    // The aggregate is live, so that one poll puts this into its mailbox, which is closed meanwhile.
    let mut waiting = Box::pin(node.add("c", "waiting", None));
    assert!(waiting.as_mut().now_or_never().is_none());

    drop(waiting);
    recovery.open();
    append.reached(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    append.open();
    let next = node.add("c", "next", None).await.unwrap();

    assert_eq!(next.version.get(), 2);
    assert_eq!(node.state("c").await.tokens, ["handled", "next"]);
}

#[tokio::test]
async fn a_deadline_may_be_as_far_away_as_can_be() {
    let node = Setup::default().start().await;

    let answer = node.add_with("c", "t", within(Duration::MAX)).await;

    assert_eq!(answer.unwrap().reply, 1);
}
