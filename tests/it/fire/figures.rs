//! What a node counts of itself: each figure is driven, and nothing else moves it.
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "the figures are small whole numbers, which floats hold exactly"
)]

use std::{sync::Arc, time::Duration};

use dormouse::{
    metrics::{Collect as _, Exposition},
    runtime::{CommandError, CommandOptions, Expected, LiveOrder, LiveQuery, LiveView},
    testing::{Fault, Gate, Operation},
};

use super::node::{Node, Setup, foreign_add, memory, until};
use crate::support::{
    counter::{Name, id},
    exposition::Figures,
};

fn figures(node: &Node) -> Figures {
    let mut exposition = Exposition::default();
    node.runtime.collect(&mut exposition);
    Figures::read(&exposition.into_text())
}

fn adds(outcome: &str) -> String {
    format!(
        "dormouse_commands_total{{aggregate_type=\"Counter\",command=\"add\",outcome=\"{outcome}\"}}"
    )
}

fn conflicts(with: &str) -> String {
    format!("dormouse_conflicts_total{{aggregate_type=\"Counter\",with=\"{with}\"}}")
}

fn passivations(cause: &str) -> String {
    format!("dormouse_passivations_total{{aggregate_type=\"Counter\",cause=\"{cause}\"}}")
}

const LIVE: &str = "dormouse_live_aggregates{aggregate_type=\"Counter\"}";
const ACTIVATIONS: &str = "dormouse_activations_total{aggregate_type=\"Counter\"}";
const ACTIVATED: &str = "dormouse_activation_duration_seconds_count{aggregate_type=\"Counter\"}";
const TIMED: &str =
    "dormouse_command_duration_seconds_count{aggregate_type=\"Counter\",command=\"add\"}";

async fn name(node: &Node, counter: &str, name: &str) -> Result<(), CommandError> {
    let command = Name {
        name: Some(name.to_owned()),
    };
    let (counter, options) = (id(counter), CommandOptions::default());
    let named = node.counters.execute(&counter, command, options).await;
    named.map(drop)
}

#[tokio::test]
async fn a_command_is_counted_once_under_how_it_ended_and_timed() {
    let node = Setup::default().start().await;
    node.add("c", "t-1", Some("k")).await.unwrap();
    let before = figures(&node);

    node.add("c", "t-1", Some("k")).await.unwrap();
    node.add("c", "t-2", Some("k")).await.unwrap_err();
    let absent = CommandOptions {
        expected: Expected::Absent,
        ..CommandOptions::default()
    };
    node.add_with("c", "t-3", absent).await.unwrap_err();
    let execute = |body: &'static [u8]| {
        let options = CommandOptions::default();
        node.runtime
            .execute("Counter", id("c"), "add", body, options)
    };
    execute(br#"{"amount":0}"#).await.unwrap();
    execute(br#"{"amount":9,"limit":5}"#).await.unwrap_err();
    execute(br#"{"amount":"#).await.unwrap_err();

    let after = figures(&node);
    for (outcome, count) in [
        ("committed", 0.0),
        ("replayed", 1.0),
        ("idempotency-key-reused", 1.0),
        ("version-mismatch", 1.0),
        ("unchanged", 1.0),
        ("rejected", 1.0),
        ("invalid", 1.0),
        ("internal", 0.0),
    ] {
        assert_eq!(after.since(&before, &adds(outcome)), count, "{outcome}");
    }
    assert_eq!(after.since(&before, TIMED), 6.0);
    assert_eq!(before.get(&adds("committed")), 1.0);
}

#[tokio::test]
async fn what_is_unanswered_is_in_flight_and_what_is_refused_is_counted() {
    let mut setup = Setup::default();
    setup.runtime.max_in_flight = 1;
    let node = setup.start().await;
    let gate = Gate::new();
    node.store
        .inject_next(Operation::Append, Fault::Hold(gate.clone()));

    let held = tokio::spawn(node.add("c", "t-1", None));
    gate.reached(1).await;
    node.add("c", "t-2", None).await.unwrap_err();
    let during = figures(&node);
    gate.open();
    held.await.unwrap().unwrap();
    let after = figures(&node);

    assert_eq!(during.get("dormouse_in_flight"), 1.0);
    assert_eq!(during.get("dormouse_in_flight_limit"), 1.0);
    assert_eq!(during.get(&adds("overloaded")), 1.0);
    assert_eq!(after.get("dormouse_in_flight"), 0.0);
}

#[tokio::test]
async fn a_conflict_is_counted_by_what_it_was_about() {
    let store = memory();
    let node = Setup::shared().start_on(&store).await;
    node.add("c", "t-1", None).await.unwrap();
    name(&node, "a", "same").await.unwrap();
    let before = figures(&node);

    store
        .append(Arc::from([foreign_add("c", 1, 5)]))
        .await
        .unwrap();
    node.add("c", "t-2", None).await.unwrap();
    let raced = figures(&node);
    name(&node, "b", "same").await.unwrap_err();
    let claimed = figures(&node);
    node.add("c", "t-3", Some("k")).await.unwrap();
    node.add("c", "t-3", Some("k")).await.unwrap();
    let keyed = figures(&node);

    assert_eq!(raced.since(&before, &conflicts("version")), 1.0);
    assert_eq!(raced.since(&before, &conflicts("claim")), 0.0);
    assert_eq!(claimed.since(&raced, &conflicts("claim")), 1.0);
    assert_eq!(keyed.since(&claimed, &conflicts("key")), 1.0);
    assert_eq!(keyed.since(&before, &conflicts("version")), 1.0);
}

#[tokio::test]
async fn an_append_of_the_journal_is_counted_with_its_size_and_its_time() {
    let node = Setup::default().start().await;
    let gate = Gate::new();
    node.store
        .inject_next(Operation::Append, Fault::Hold(gate.clone()));

    let first = tokio::spawn(node.add("first", "t", None));
    gate.reached(1).await;
    let more: Vec<_> = ["a", "b", "c"]
        .map(|counter| tokio::spawn(node.add(counter, "t", None)))
        .into();
    until(|| figures(&node).get("dormouse_in_flight") >= 4.0).await;
    gate.open();
    first.await.unwrap().unwrap();
    for added in more {
        added.await.unwrap().unwrap();
    }

    let after = figures(&node);
    assert_eq!(after.get("dormouse_journal_batch_commits_sum"), 4.0);
    assert_eq!(after.get("dormouse_journal_batch_events_sum"), 4.0);
    assert!(after.get("dormouse_journal_batch_commits_bucket{le=\"1\"}") >= 1.0);
    let flushes = after.get("dormouse_journal_flush_duration_seconds_count");
    assert_eq!(flushes, node.store.calls(Operation::Append) as f64);
    assert_eq!(after.get("dormouse_journal_flush_failures_total"), 0.0);
}

#[tokio::test]
async fn an_append_that_fails_is_counted_as_failed() {
    let node = Setup::default().start().await;
    node.store.inject_next(Operation::Append, Fault::Fail);

    node.add("c", "t-1", None).await.unwrap_err();

    let after = figures(&node);
    assert_eq!(after.get("dormouse_journal_flush_failures_total"), 1.0);
    assert_eq!(after.get(&adds("store-unavailable")), 1.0);
}

#[tokio::test]
async fn an_actor_is_counted_when_it_wakes_and_when_it_sleeps() {
    let mut setup = Setup::default();
    setup.counter.idle_timeout = Duration::from_millis(40);
    let node = setup.start().await;

    node.add("c", "t-1", None).await.unwrap();
    assert_eq!(figures(&node).get(ACTIVATIONS), 1.0);
    until(|| figures(&node).get(&passivations("idle")) == 1.0).await;
    let asleep = figures(&node);
    node.state("nobody").await;
    until(|| figures(&node).get(&passivations("absent")) == 1.0).await;
    let after = figures(&node);

    assert_eq!(asleep.get(LIVE), 0.0);
    assert_eq!(asleep.get(ACTIVATED), 1.0);
    assert_eq!(after.since(&asleep, ACTIVATIONS), 1.0);
    assert_eq!(after.get(&passivations("room")), 0.0);
}

#[tokio::test]
async fn who_makes_room_or_ends_with_the_runtime_is_counted_so() {
    let mut setup = Setup::default();
    setup.runtime.max_live = 1;
    let node = setup.start().await;

    node.add("a", "t", None).await.unwrap();
    node.add("b", "t", None).await.unwrap();
    until(|| figures(&node).get(&passivations("room")) == 1.0).await;
    let before = figures(&node);
    node.runtime.shutdown().await;
    let after = figures(&node);

    assert_eq!(before.get(LIVE), 1.0);
    assert_eq!(before.get(&passivations("shutdown")), 0.0);
    assert_eq!(after.get(&passivations("shutdown")), 1.0);
    assert_eq!(after.get(LIVE), 0.0);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_a_failed_activation() {
    let node = Setup::default().start().await;
    node.store.inject_next(Operation::Recover, Fault::Fail);

    node.add("c", "t-1", None).await.unwrap_err();

    let after = figures(&node);
    let failures = "dormouse_activation_failures_total{aggregate_type=\"Counter\"}";
    assert_eq!(after.get(failures), 1.0);
    assert_eq!(after.get(ACTIVATED), 0.0);
}

#[tokio::test]
async fn a_snapshot_is_counted_as_written_or_as_failed() {
    let node = Setup::snapshot_every(1).start().await;
    let failed = "dormouse_snapshot_failures_total{cause=\"store\"}";

    node.add("c", "t-1", None).await.unwrap();
    until(|| figures(&node).get("dormouse_snapshots_written_total") == 1.0).await;
    assert_eq!(figures(&node).get(failed), 0.0);
    node.store
        .inject_next(Operation::SaveSnapshots, Fault::Fail);
    node.add("c", "t-2", None).await.unwrap();
    until(|| figures(&node).get(failed) == 1.0).await;

    assert_eq!(figures(&node).get("dormouse_snapshots_written_total"), 1.0);
}

#[tokio::test]
async fn two_runtimes_in_one_process_count_apart() {
    let (one, other) = (
        Setup::default().start().await,
        Setup::default().start().await,
    );

    one.add("c", "t-1", None).await.unwrap();

    assert_eq!(figures(&one).get(&adds("committed")), 1.0);
    assert_eq!(figures(&other).get(&adds("committed")), 0.0);
}

#[tokio::test]
async fn who_waits_is_shown_with_its_depth_and_its_wait_and_is_not_disturbed() {
    let node = Setup::default().start().await;
    node.add("calm", "t", None).await.unwrap();
    let gate = Gate::new();
    node.store
        .inject_next(Operation::Append, Fault::Hold(gate.clone()));
    let mut held = vec![tokio::spawn(node.add("busy", "t-0", None))];
    gate.reached(1).await;
    held.extend((1..=2).map(|number| tokio::spawn(node.add("busy", &format!("t-{number}"), None))));
    let deepest = || {
        let query = LiveQuery {
            aggregate_type: None,
            order: LiveOrder::Depth,
            limit: 1,
        };
        node.runtime.live(&query).remove(0)
    };

    until(|| deepest().depth == 3).await;
    until(|| deepest().oldest_wait.unwrap() >= Duration::from_millis(5)).await;
    let (waiting, view) = (deepest(), node.runtime.view());
    gate.open();
    for held in held {
        held.await.unwrap().unwrap();
    }
    until(|| node.runtime.view().types[0].depth == 0).await;

    assert_eq!(waiting.aggregate_id, id("busy"));
    assert_eq!((waiting.version.get(), waiting.last_append), (0, None));
    assert_eq!(
        (
            view.types[0].live,
            view.types[0].depth,
            view.types[0].deepest
        ),
        (2, 3, 3)
    );
    assert_eq!(node.state("busy").await.total, 3);
    until(|| shown(&node, "busy").version.get() == 3).await;
    assert!(shown(&node, "busy").last_append.is_some());
    assert_eq!(shown(&node, "busy").oldest_wait, None);
}

fn shown(node: &Node, counter: &str) -> LiveView {
    let query = LiveQuery {
        aggregate_type: Some("Counter"),
        order: LiveOrder::Id(None),
        limit: 10,
    };
    let mut live = node.runtime.live(&query).into_iter();
    live.find(|live| live.aggregate_id == id(counter)).unwrap()
}
