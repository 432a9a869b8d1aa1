//! The runtime and the server under fire: load, crashes, outages, lost answers and rivals.
//!
//! What must hold afterwards is always the same, and `support::checker` says it. Sizes grow with
//! `DORMOUSE_TEST_SCALE`, which is 1 where it is not set.

mod behind_balancers;
mod bounds;
mod conflicts;
mod crashes;
mod dropped;
mod dual_write;
mod figures;
mod hot;
mod load;
mod lost_answers;
mod node;
mod nodes;
mod outages;
mod promises;
mod recovery;
mod rigged;
mod shutdown;
mod sleep;
mod snapshots;

/// What the small sizes are multiplied by.
fn scale() -> usize {
    let scale = std::env::var("DORMOUSE_TEST_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().expect("a whole number"))
}
