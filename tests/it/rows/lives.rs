//! What no row tells ends with its row: one that comes back is another thing of the same name.

use dormouse::settings::Mode;

use super::{
    person::{Leave, Person, memo, register},
    place::{Kind, Node, Place},
};

async fn known_memo(node: &Node) -> Option<String> {
    node.state("a").await.0.known().memo.clone()
}

/// A person with a memo, which no column tells, in the mode that is asked for.
async fn with_memo(place: &Place, mode: Mode) -> Node {
    let node = place.start(Mode::DualWrite).await;
    node.send("a", register("ann")).await.unwrap();
    node.send("a", memo("tea")).await.unwrap();
    node.stop().await;
    let node = place.start(mode).await;
    assert_eq!(known_memo(&node).await.as_deref(), Some("tea"));
    node
}

/// Another row has come in place of one with a memo, where rows alone are kept: no memo, whatever is
/// done after it, and in no mode.
async fn assert_forgotten(place: &Place, node: Node) {
    let (state, version) = node.state("a").await;
    assert_eq!(state.known().memo, None);
    assert_eq!(node.state("a").await.1, version, "to read it changed it");
    assert_eq!(node.visit("a").await.unwrap().reply, 1);
    node.stop().await;

    let node = place.start(Mode::StateOnly).await;
    assert_eq!(known_memo(&node).await, None);
    place.set_text("a", "email", "theirs").await;
    assert_eq!(known_memo(&node).await, None);
    assert_eq!(node.visit("a").await.unwrap().reply, 2);
    node.stop().await;

    let node = place.start(Mode::DualWrite).await;
    assert_eq!(known_memo(&node).await, None);
    let told = node.event_types("a").await;
    let expected = [
        "PersonRegisteredEvent",
        "PersonMemoSetEvent",
        "PersonReconciledEvent",
        "PersonReconciledEvent",
    ];
    assert_eq!(told, expected);
    node.send("a", memo("coffee")).await.unwrap();
    node.stop().await;

    for mode in [Mode::StateOnly, Mode::DualWrite, Mode::EventSourced] {
        let node = place.start(mode).await;
        let (state, _) = node.state("a").await;
        let known = state.known();
        assert_eq!(known.memo.as_deref(), Some("coffee"), "{mode:?}");
        assert_eq!((known.visits, known.email.as_deref()), (2, Some("theirs")));
        node.stop().await;
    }
}

async fn a_row_that_others_deleted_and_made_anew_has_nothing_of_its_life_before(kind: Kind) {
    for is_seen_gone in [true, false] {
        let place = Place::of(kind).await;
        let node = with_memo(&place, Mode::StateOnly).await;
        place.remove("a").await;
        if is_seen_gone {
            assert_eq!(node.state("a").await.0, Person::Nobody);
        }
        place.insert("a", "ann").await;

        assert_forgotten(&place, node).await;
    }
}

async fn a_row_that_others_make_after_its_person_left_has_nothing_of_its_life_before(kind: Kind) {
    let place = Place::of(kind).await;
    let node = with_memo(&place, Mode::StateOnly).await;
    node.send("a", Leave {}).await.unwrap();
    assert_eq!(node.state("a").await.0, Person::Gone);
    place.insert("a", "ann").await;

    assert_forgotten(&place, node).await;
}

async fn one_who_registers_after_others_deleted_the_row_has_nothing_of_its_life_before(kind: Kind) {
    let place = Place::of(kind).await;
    let node = with_memo(&place, Mode::StateOnly).await;
    place.remove("a").await;
    node.send("a", register("ann")).await.unwrap();

    assert_forgotten(&place, node).await;
}

async fn another_row_is_told_to_the_log_though_it_says_the_same(kind: Kind) {
    let place = Place::of(kind).await;
    let node = with_memo(&place, Mode::DualWrite).await;
    place.remove("a").await;
    place.insert("a", "ann").await;

    assert_eq!(known_memo(&node).await, None);

    let told = node.event_types("a").await;
    assert_eq!(told[2..], ["PersonReconciledEvent"; 2]);
    node.send("a", memo("coffee")).await.unwrap();
    node.stop().await;
    let node = place.start(Mode::DualWrite).await;
    assert_eq!(known_memo(&node).await.as_deref(), Some("coffee"));
    assert_eq!(node.event_types("a").await.len(), 5);
    node.stop().await;
}

async fn another_row_that_says_the_same_is_met_though_nobody_asks(kind: Kind) {
    let place = Place::of(kind).await;
    let node = with_memo(&place, Mode::DualWrite).await;
    node.stop().await;
    place.remove("a").await;
    place.insert("a", "ann").await;

    let node = place.start_looking(Mode::DualWrite).await;

    let expected = [
        "PersonRegisteredEvent",
        "PersonMemoSetEvent",
        "PersonReconciledEvent",
        "PersonReconciledEvent",
    ];
    node.until_logged("a", &expected).await;
    assert_eq!(known_memo(&node).await, None);
    node.stop().await;
}

async fn who_made_a_row_is_noted_once_and_is_no_change(kind: Kind) {
    for mode in [Mode::StateOnly, Mode::DualWrite] {
        let place = Place::of(kind).await;
        let node = with_memo(&place, mode).await;
        let (_, version) = node.state("a").await;
        node.stop().await;

        let node = place.start(mode).await;

        assert_eq!(known_memo(&node).await.as_deref(), Some("tea"));
        assert_eq!(node.state("a").await.1, version, "{mode:?}");
        assert_eq!(version, 2);
        assert_eq!(node.event_types("a").await.len(), 2);
        node.stop().await;
    }
}

super::place::on_every_store!(
    a_row_that_others_deleted_and_made_anew_has_nothing_of_its_life_before,
    a_row_that_others_make_after_its_person_left_has_nothing_of_its_life_before,
    one_who_registers_after_others_deleted_the_row_has_nothing_of_its_life_before,
    another_row_is_told_to_the_log_though_it_says_the_same,
    another_row_that_says_the_same_is_met_though_nobody_asks,
    who_made_a_row_is_noted_once_and_is_no_change,
);
