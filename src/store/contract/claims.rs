//! Unique values: one holder each, given up before they are taken.

use super::{Fixture, append, claim, commit, first_position, positions, stream, stream_of};
use crate::{
    domain::{Claim, StreamId},
    store::{Commit, EventStore, Loss, Verdict},
};

fn taking(stream: &StreamId, expected: u64, value: &str) -> Commit {
    Commit {
        takes: vec![claim(value)],
        ..commit(stream, expected, 1)
    }
}

fn freeing(stream: &StreamId, expected: u64, value: &str) -> Commit {
    Commit {
        frees: vec![claim(value)],
        ..commit(stream, expected, 1)
    }
}

async fn holder(store: &dyn EventStore, stream: &StreamId, claim: &Claim) -> Option<String> {
    let holder = store.claim_holder(&stream.aggregate_type, claim).await;
    holder.expect("an answer").map(|holder| holder.to_string())
}

/// Another aggregate of the type loses; another type, and another name, do not mind.
pub async fn a_claim_has_one_holder_in_its_type(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (ada, bob, role) = (stream("ada"), stream("bob"), stream_of("Role", "ada"));
    let mut other_name = commit(&bob, 0, 1);
    other_name.takes = vec![Claim::new("email", "x")];

    let batch = vec![
        taking(&ada, 0, "x"),
        taking(&bob, 0, "x"),
        taking(&role, 0, "x"),
        other_name,
    ];
    let verdicts = append(&*store, batch).await;

    let found: Vec<_> = verdicts.iter().map(first_position).collect();
    assert_eq!(found, [Some(1), None, Some(2), Some(3)]);
    let Verdict::Lost(Loss::Claim {
        claim: lost,
        holder: by,
    }) = &verdicts[1]
    else {
        panic!("not a lost claim: {:?}", verdicts[1]);
    };
    assert_eq!((lost, by.as_str()), (&claim("x"), "ada"));
    assert_eq!(
        holder(&*store, &ada, &claim("x")).await.as_deref(),
        Some("ada")
    );
    assert_eq!(
        holder(&*store, &ada, &claim("X")).await,
        None,
        "values are exact"
    );
}

/// Taking what one holds is no conflict.
pub async fn a_claim_that_is_held_may_be_taken_again_by_its_holder(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (ada, bob) = (stream("ada"), stream("bob"));
    append(&*store, vec![taking(&ada, 0, "x")]).await;

    let again = append(&*store, vec![taking(&ada, 1, "x"), taking(&bob, 0, "x")]).await;

    let found: Vec<_> = again.iter().map(first_position).collect();
    assert_eq!(found, [Some(2), None]);
    assert_eq!(
        holder(&*store, &ada, &claim("x")).await.as_deref(),
        Some("ada")
    );
}

/// What is freed is free for all, in the same commit for its holder too.
pub async fn a_freed_claim_can_be_taken(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (ada, bob) = (stream("ada"), stream("bob"));
    append(&*store, vec![taking(&ada, 0, "x")]).await;
    let renamed = Commit {
        takes: vec![claim("y"), claim("x")],
        ..freeing(&ada, 1, "x")
    };
    append(&*store, vec![renamed]).await;
    append(&*store, vec![freeing(&ada, 2, "x")]).await;

    let verdicts = append(&*store, vec![taking(&bob, 0, "x")]).await;

    assert_eq!(positions(&verdicts), [4]);
    assert_eq!(
        holder(&*store, &ada, &claim("x")).await.as_deref(),
        Some("bob")
    );
    assert_eq!(
        holder(&*store, &ada, &claim("y")).await.as_deref(),
        Some("ada")
    );
}

/// Freeing what another holds changes nothing.
pub async fn only_its_holder_frees_a_claim(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (ada, bob, role) = (stream("ada"), stream("bob"), stream_of("Role", "ada"));
    append(&*store, vec![taking(&ada, 0, "x")]).await;

    let batch = vec![
        freeing(&bob, 0, "x"),
        freeing(&role, 0, "x"),
        freeing(&bob, 1, "none"),
    ];
    let verdicts = append(&*store, batch).await;

    assert_eq!(positions(&verdicts), [2, 3, 4]);
    assert_eq!(
        holder(&*store, &ada, &claim("x")).await.as_deref(),
        Some("ada")
    );
}

/// Taken, freed, taken by another, freed and taken back: all in one batch.
pub async fn a_claim_moves_between_aggregates_inside_one_batch(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (ada, bob) = (stream("ada"), stream("bob"));
    let batch = vec![
        taking(&ada, 0, "x"),
        freeing(&ada, 1, "x"),
        taking(&bob, 0, "x"),
        taking(&ada, 2, "x"),
        freeing(&bob, 1, "x"),
        taking(&ada, 2, "x"),
    ];

    let verdicts = append(&*store, batch).await;

    let found: Vec<_> = verdicts.iter().map(first_position).collect();
    assert_eq!(found, [Some(1), Some(2), Some(3), None, Some(4), Some(5)]);
    assert_eq!(
        holder(&*store, &ada, &claim("x")).await.as_deref(),
        Some("ada")
    );
}
