//! Programs that are no dormouse, and write to the same database.

use std::sync::Arc;

use dormouse::{
    domain::{Clock as _, CorrelationId, EventId, Position, Version},
    store::{AppendError, Commit, EventStore as _, NewEvent, Verdict},
    testing::checker::{Command, Refusal, Seen, Told},
};
use serde_json::{json, value::to_raw_value};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::{
    plan::Step,
    world::{World, stream},
};

/// Appends as a program does that is no dormouse.
pub(crate) async fn foreign(world: &World, step: &Step, events: u32) {
    let store = world.store.session(u64::MAX);
    let token = step.token.as_str();
    let command = Command {
        token: token.into(),
        key: None,
        events: Some(events),
    };
    let call = world.history.borrow_mut().sent(stream(step.tally), command);
    let Ok(expected) = store.current_version(&stream(step.tally)).await else {
        world.history.borrow_mut().refused(call, Refusal::NotServed);
        return;
    };
    let commit = foreign_commit(world, step, expected, events);
    let ids: Vec<EventId> = commit.events.iter().map(|event| event.id).collect();
    let after = commit.version_after();
    let verdict = store.append(Arc::from([commit])).await;
    world.note(&format!("{call:?} {token} hears: {verdict:?}"));
    let mut history = world.history.borrow_mut();
    match verdict.map(|verdicts| verdicts.into_iter().next()) {
        Ok(Some(Verdict::Committed { first_position })) => {
            let told = Told {
                seen: Seen {
                    version: after,
                    state: None,
                },
                position: Some(Position::new(first_position.get() + u64::from(events) - 1)),
                events,
                ids,
                replayed: false,
            };
            history.answered(call, told);
        }
        Err(AppendError::OutcomeUnknown(_)) => history.unknown(call),
        Ok(_) | Err(_) => history.refused(call, Refusal::NotServed),
    }
}

fn foreign_commit(world: &World, step: &Step, expected: Version, events: u32) -> Commit {
    // An id of its own for each event, the same for the same plan.
    let id = |number: u32| {
        let hash = Sha256::digest(format!("{} {number}", step.token));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Ulid::from_bytes(bytes)
    };
    let data = to_raw_value(&json!({ "token": step.token })).expect("JSON");
    let new_event = |number| NewEvent {
        id: EventId(id(number)),
        event_type: "TallyMarkedEvent".into(),
        schema_version: 1,
        data: data.clone(),
    };
    Commit {
        stream: stream(step.tally),
        expected,
        events: (0..events).map(new_event).collect(),
        occurred_at: world.clock.now(),
        created_by: None,
        correlation_id: CorrelationId(id(events)),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}
