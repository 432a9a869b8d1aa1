//! When the life of a row ends: it was gone, or another was made in its place. What no row tells (the
//! permissions of a role) is of one life, and whoever tells a log of a row must not carry it over.

use serde_json::value::RawValue;

use super::{Aggregate, RowMarks};

/// The state in which an earlier life ended; none where the row that is there still lives it.
///
/// `met` are the marks of the row as it was last met, `gone` is the serialized state of when it was
/// gone, and `now` tells who made the row that is there.
pub(crate) fn ended_life<A: Aggregate>(
    met: Option<&RowMarks>,
    gone: Option<&RawValue>,
    now: &RowMarks,
) -> Option<A> {
    if met.is_some_and(|met| met.is_of_another(now)) {
        return Some(A::default());
    }
    gone.map(state_when_gone)
}

/// The state that a row begins after a life that ended in `gone`; none where it is the one that
/// follows from what is `known` as well, so that nothing tells the two apart.
pub(crate) fn state_anew<A: Aggregate>(
    keeping: fn(A, &A) -> A,
    said: A,
    (gone, known): (&A, &A),
) -> Option<A> {
    let as_before = keeping(said.clone(), known);
    let anew = keeping(said, gone);
    (json(&anew) != json(&as_before)).then_some(anew)
}

/// The state of an aggregate when its row was gone. What does not fit this program tells nothing:
/// then what no row tells is lost, and never that of an earlier life.
pub(crate) fn state_when_gone<A: Aggregate>(told: &RawValue) -> A {
    serde_json::from_str(told.get()).unwrap_or_else(|error| {
        tracing::warn!(
            aggregate_type = A::TYPE, %error,
            "a state that has no row does not fit this program and is ignored"
        );
        A::default()
    })
}

fn json<A: Aggregate>(state: &A) -> String {
    serde_json::to_string(state).unwrap_or_default()
}
