//! An aggregate's history step by step: each event, and the state that it led to.

use serde_json::value::RawValue;

use super::{
    StateError,
    folded::Folded,
    kind::Kind,
    past::{At, fold, folded_at, page, shown},
};
use crate::{
    domain::{Aggregate, AggregateId, Version, redact_raw},
    store::RecordedEvent,
};

/// A part of an aggregate's history.
#[derive(Debug)]
pub struct Steps {
    /// The state before the first step, without its secrets.
    pub before: Box<RawValue>,
    /// The steps, ascending.
    pub steps: Vec<Step>,
}

/// An event and the state after it.
#[derive(Debug)]
pub struct Step {
    /// The event as it is stored, without its secrets.
    pub event: RecordedEvent,
    /// The state after it, without its secrets.
    pub state: Box<RawValue>,
}

/// What `limit` events after a version led to; nothing where the aggregate has no such version,
/// or no events.
pub(super) async fn steps<A: Aggregate>(
    kind: &Kind<A>,
    id: &AggregateId,
    after: Version,
    limit: u32,
) -> Result<Option<Steps>, StateError> {
    let mut folded = Folded::<A>::default();
    if after > Version::ZERO {
        let Some(found) = folded_at(kind, id, At::Version(after)).await? else {
            return Ok(None);
        };
        folded = found;
    }
    let stream = kind.stream(id);
    let before = shown(&folded.state)?;
    let mut steps = Vec::new();
    while steps.len() < limit as usize {
        let left = u64::from(limit) - steps.len() as u64;
        let events = page(kind, &stream, folded.version.next(), left).await?;
        if events.is_empty() {
            break;
        }
        for event in events {
            fold(kind, &stream, &mut folded, &event)?;
            steps.push(Step {
                state: shown(&folded.state)?,
                event: RecordedEvent {
                    data: redact_raw(event.data),
                    ..event
                },
            });
        }
    }
    Ok((folded.version > Version::ZERO).then_some(Steps { before, steps }))
}
