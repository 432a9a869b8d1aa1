//! Modes changed by a restart, in every order, and nodes in different modes at once.

use dormouse::{domain::RowValue, runtime::CommandOptions, settings::Mode};
use futures_util::future::join_all;

use super::{
    person::{Person, Visit, memo, register},
    place::{Kind, MODES, Node, Place},
};
use crate::support::counter::id;

/// What row, log and node say of visits.
async fn visits(node: &Node, of: &str) -> i64 {
    node.state(of).await.0.known().visits
}

/// From rows alone to events alone there is no way but over both: the log knows nothing of what was
/// done to the rows.
fn has_way(from: Mode, to: Mode) -> bool {
    (from, to) != (Mode::StateOnly, Mode::EventSourced)
}

async fn every_order_of_modes_loses_no_command(kind: Kind) {
    for first in MODES {
        for second in MODES {
            for third in MODES {
                if has_way(first, second) && has_way(second, third) {
                    switch(kind, &[first, second, third, Mode::DualWrite]).await;
                }
            }
        }
    }
}

async fn switch(kind: Kind, modes: &[Mode]) {
    let place = Place::of(kind).await;
    let mut expected = 0;
    for mode in modes {
        let node = place.start(*mode).await;
        if expected == 0 {
            node.send("a", register("ann")).await.unwrap();
        }
        for _ in 0..4 {
            expected += 1;
            assert_eq!(node.visit("a").await.unwrap().reply, expected, "{modes:?}");
        }
        assert_eq!(visits(&node, "a").await, expected);
        if mode.has_rows() {
            let row = place.column("a", "visits").await;
            assert_eq!(row, Some(RowValue::Int(expected)));
        }
        node.stop().await;
    }
}

async fn what_others_wrote_between_two_modes_is_in_force(kind: Kind) {
    for first in [Mode::DualWrite, Mode::StateOnly] {
        for second in [Mode::DualWrite, Mode::StateOnly] {
            let place = Place::of(kind).await;
            let node = place.start(first).await;
            node.send("a", register("ann")).await.unwrap();
            node.visit("a").await.unwrap();
            node.stop().await;
            place.set_text("a", "email", "theirs").await;

            let node = place.start(second).await;

            let (state, _) = node.state("a").await;
            assert_eq!(
                state.known().email.as_deref(),
                Some("theirs"),
                "{first:?} {second:?}"
            );
            assert_eq!(node.visit("a").await.unwrap().reply, 2);
            assert_eq!(place.text("a", "email").await.as_deref(), Some("theirs"));
            node.stop().await;
            // The log knows it, too, once both were kept.
            if second == Mode::DualWrite {
                let node = place.start(Mode::EventSourced).await;
                let (state, _) = node.state("a").await;
                assert_eq!(state.known().email.as_deref(), Some("theirs"));
                node.stop().await;
            }
        }
    }
}

async fn of_a_row_and_a_log_that_both_moved_on_each_has_its_columns(kind: Kind) {
    for mode in [Mode::DualWrite, Mode::StateOnly] {
        let place = Place::of(kind).await;
        let node = place.start(Mode::DualWrite).await;
        node.send("a", register("ann")).await.unwrap();
        node.stop().await;
        let node = place.start(Mode::EventSourced).await;
        node.visit("a").await.unwrap();
        node.stop().await;
        place.set_text("a", "email", "theirs").await;

        let node = place.start(mode).await;

        let (state, _) = node.state("a").await;
        assert_eq!(state.known().email.as_deref(), Some("theirs"), "{mode:?}");
        assert_eq!(state.known().visits, 1, "{mode:?}");
        assert_eq!(place.column("a", "visits").await, Some(RowValue::Int(1)));
        node.stop().await;
        let node = place.start(Mode::DualWrite).await;
        let (state, _) = node.state("a").await;
        assert_eq!(
            (state.known().email.as_deref(), state.known().visits),
            (Some("theirs"), 1)
        );
        node.stop().await;
    }
}

async fn what_was_done_to_rows_alone_is_told_to_the_log_on_the_way_back(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::DualWrite).await;
    for of in ["a", "b"] {
        node.send(of, register(of)).await.unwrap();
    }
    node.send("a", memo("tea")).await.unwrap();
    node.stop().await;
    let node = place.start(Mode::StateOnly).await;
    node.visit("a").await.unwrap();
    node.send("b", super::person::Leave {}).await.unwrap();
    node.send("c", register("c")).await.unwrap();
    node.stop().await;

    let node = place.start(Mode::DualWrite).await;
    assert_tea_and_one_visit(&node).await;
    assert_eq!(node.state("b").await.0, Person::Gone);
    assert_eq!(node.state("c").await.0.known().name, "c");
    node.stop().await;

    let node = place.start(Mode::EventSourced).await;
    assert_tea_and_one_visit(&node).await;
    assert_eq!(node.state("b").await.0, Person::Gone);
    assert_eq!(node.state("c").await.0.known().name, "c");
    assert_eq!(node.event_types("c").await, ["PersonAdoptedEvent"]);
    node.stop().await;
}

async fn assert_tea_and_one_visit(node: &Node) {
    let (state, _) = node.state("a").await;
    let known = state.known();
    assert_eq!((known.memo.as_deref(), known.visits), (Some("tea"), 1));
}

async fn a_version_of_a_row_alone_never_means_two_states(kind: Kind) {
    let place = Place::of(kind).await;
    let mut states: Vec<(u64, Person)> = Vec::new();
    for mode in [
        Mode::StateOnly,
        Mode::DualWrite,
        Mode::StateOnly,
        Mode::EventSourced,
        Mode::StateOnly,
    ] {
        let node = place.start(mode).await;
        if states.is_empty() {
            node.send("a", register("ann")).await.unwrap();
        }
        for _ in 0..3 {
            node.visit("a").await.unwrap();
            let (state, version) = node.state("a").await;
            if mode == Mode::StateOnly {
                states.push((version, state));
            }
        }
        node.stop().await;
    }

    let versions: Vec<u64> = states.iter().map(|(version, _)| *version).collect();

    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
}

async fn nodes_in_different_modes_lose_no_command_one_after_another(kind: Kind) {
    for (one, other) in [
        (Mode::EventSourced, Mode::DualWrite),
        (Mode::DualWrite, Mode::StateOnly),
    ] {
        let place = Place::of(kind).await;
        let nodes = [place.start(one).await, place.start(other).await];
        nodes[0].send("a", register("ann")).await.unwrap();
        for expected in 1..=20 {
            let (here, there) = if expected % 3 == 0 { (0, 1) } else { (1, 0) };
            let visited = nodes[here].visit("a").await.unwrap();
            assert_eq!(visited.reply, expected, "{one:?} {other:?}");
            assert_eq!(visits(&nodes[there], "a").await, expected);
        }
        for node in nodes {
            node.stop().await;
        }
    }
}

async fn nodes_in_different_modes_lose_no_command_at_once(kind: Kind) {
    for (one, other) in [
        (Mode::EventSourced, Mode::DualWrite),
        (Mode::DualWrite, Mode::StateOnly),
    ] {
        let place = Place::of(kind).await;
        let nodes = [place.start(one).await, place.start(other).await];
        nodes[0].send("a", register("ann")).await.unwrap();
        let many = |node: &Node| {
            let persons = node.persons.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let (visit, options) = (Visit { most: i64::MAX }, CommandOptions::default());
                    persons.execute(&id("a"), visit, options).await.unwrap();
                }
            })
        };

        let running = [
            many(&nodes[0]),
            many(&nodes[1]),
            many(&nodes[0]),
            many(&nodes[1]),
        ];
        for visits in join_all(running).await {
            visits.unwrap();
        }

        for node in &nodes {
            assert_eq!(visits(node, "a").await, 200, "{one:?} {other:?}");
        }
        for node in nodes {
            node.stop().await;
        }
    }
}

async fn what_changed_meanwhile_is_told_to_the_log_though_nobody_asks(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::DualWrite).await;
    for of in ["a", "b", "c", "d"] {
        node.send(of, register(of)).await.unwrap();
    }
    node.stop().await;
    let node = place.start(Mode::StateOnly).await;
    node.visit("a").await.unwrap();
    node.send("b", super::person::Leave {}).await.unwrap();
    node.stop().await;
    place.remove("c").await;
    place.insert("e", "eve").await;

    let node = place.start_looking(Mode::DualWrite).await;

    for (of, last) in [
        ("a", "PersonReconciledEvent"),
        ("b", "PersonReconciledEvent"),
        ("c", "PersonReconciledEvent"),
        ("d", "PersonRegisteredEvent"),
        ("e", "PersonAdoptedEvent"),
    ] {
        let mut tries = 0;
        while node.event_types(of).await.last().map(String::as_str) != Some(last) {
            tries += 1;
            assert!(tries < 2000, "{of}: {:?}", node.event_types(of).await);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert_eq!(node.event_types("d").await.len(), 1);
    node.stop().await;
}

super::place::on_every_store!(
    what_changed_meanwhile_is_told_to_the_log_though_nobody_asks,
    every_order_of_modes_loses_no_command,
    what_others_wrote_between_two_modes_is_in_force,
    of_a_row_and_a_log_that_both_moved_on_each_has_its_columns,
    what_was_done_to_rows_alone_is_told_to_the_log_on_the_way_back,
    a_version_of_a_row_alone_never_means_two_states,
    nodes_in_different_modes_lose_no_command_one_after_another,
    nodes_in_different_modes_lose_no_command_at_once,
);
