//! A snapshot and the events after it make the same state as all events; and an event is its JSON.

use serde_json::{Value, value::RawValue};

use super::node::Past;
use crate::{
    domain::{Aggregate, SnapshotShape as _},
    testing::given_when_then::codec,
};

/// Checks the states of a past that nothing disturbed.
pub(super) fn check<A: Aggregate>(past: &Past<A>) -> Result<(), String> {
    check_events(past)?;
    let states = past.states();
    let whole = json(&states[states.len() - 1])?;
    if whole != past.state {
        let shown = &past.state;
        return Err(format!(
            "its events make {whole}, and its state is shown as {shown}"
        ));
    }
    for (version, state) in states.iter().enumerate() {
        let mut state = through_a_snapshot(state)
            .map_err(|broken| format!("its state at version {version} {broken}"))?;
        for event in &past.events[version..] {
            state.apply(event);
        }
        let folded = json(&state)?;
        if folded != whole {
            return Err(format!(
                "a snapshot at version {version} and the events after it make {folded}, \
                 all events make {whole}"
            ));
        }
        if state.claims() != states[states.len() - 1].claims() {
            return Err(format!(
                "after a snapshot at version {version} its state has other claims"
            ));
        }
    }
    Ok(())
}

/// What is read from an event's JSON is written as the same JSON again.
fn check_events<A: Aggregate>(past: &Past<A>) -> Result<(), String> {
    let codec = codec::<A>();
    for (event, recorded) in past.events.iter().zip(&past.recorded) {
        let (name, again) = codec.encode(event).map_err(|error| error.to_string())?;
        if value(&again)? != value(&recorded.data)? {
            let (stored, again, name) = (recorded.data.get(), again.get(), name.name);
            return Err(format!(
                "a {name} is stored as {stored}; read and written again it is {again}"
            ));
        }
    }
    Ok(())
}

fn through_a_snapshot<A: Aggregate>(state: &A) -> Result<A, String> {
    let snapshot = state.to_snapshot();
    let snapshot = snapshot.map_err(|error| format!("cannot be written: {error}"))?;
    A::from_snapshot(&snapshot, &A::fingerprint())
        .ok_or_else(|| format!("is written as {snapshot} and cannot be read"))
}

fn json<A: Aggregate>(state: &A) -> Result<Value, String> {
    serde_json::to_value(state).map_err(|error| format!("its state is no JSON: {error}"))
}

fn value(raw: &RawValue) -> Result<Value, String> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}
