//! Programs that are no dormouse, and write to the same database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dormouse::{
    domain::{Clock as _, CorrelationId, EventId, Position, Version},
    store::{AppendError, Commit, EventStore as _, NewEvent, Verdict},
    testing::checker::{Call, Command, Refusal, Seen, Told},
};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{json, value::to_raw_value};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use ulid::Ulid;

use crate::{
    drawing::{duration, pick},
    judging::told_token,
    plan::{Action, Step},
    row::{as_it_stands, write_note},
    tally::TallyEvent,
    world::{Finding, World, id, stream},
};

/// What another program writes in one transaction of its own.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    /// So many events, without a position.
    pub(crate) events: u32,
    /// Whether it writes the row, which must be there where it writes events, too.
    pub(crate) row: bool,
    /// How long the transaction stays open.
    pub(crate) open: Duration,
    pub(crate) end: End,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    /// It is committed, and the program does not hear so.
    Unheard,
    Rollback,
}

impl World {
    /// Another program writes a tally's events or its row.
    pub(crate) fn touch(&self, tally: &'static str) {
        self.touched.borrow_mut().insert(tally);
    }

    pub(crate) fn is_touched(&self, tally: &str) -> bool {
        self.touched.borrow().contains(tally)
    }

    /// Another program writes a note into a tally's row.
    pub(crate) fn write_note(&self, tally: &'static str, note: &str) {
        self.look_at_note(tally);
        write_note(&self.memory, &id(tally), note);
        let mut written = self.written.borrow_mut();
        written.insert(tally, note.to_owned());
    }

    /// The note in a row is what another program wrote there last: no command changes it.
    pub(crate) fn look_at_note(&self, tally: &str) {
        let written = self.written.borrow().get(tally).cloned();
        let note = as_it_stands(&self.memory, &id(tally)).and_then(|row| row.note);
        if note != written {
            let text = format!("{tally}: {written:?} is {note:?}");
            self.find(Finding::new("RowWriteLost", text));
        }
    }

    /// Of each write to a row the runtime may tell once, and nobody hears whether it did.
    pub(crate) fn expect_tellings(&self) {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for step in self.plan.clients.iter().flatten() {
            if !matches!(&step.action, Action::Outside(outside) if outside.row) {
                continue;
            }
            let time = times.entry(step.tally).or_default();
            *time += 1;
            let command = Command {
                token: told_token(step.tally, *time),
                key: None,
                events: Some(1),
            };
            let mut history = self.history.borrow_mut();
            let call = history.sent(stream(step.tally), command);
            history.unknown(call);
        }
    }
}

pub(crate) fn draw_outside(random: &mut StdRng, has_rows: bool) -> Outside {
    let (events, row) = if has_rows {
        *pick(
            random,
            &[
                (1, false),
                (0, true),
                (0, true),
                (0, true),
                (1, true),
                (2, true),
            ],
        )
    } else {
        (random.random_range(1..=3), false)
    };
    Outside {
        events,
        row,
        open: duration(random).min(Duration::from_secs(2)),
        end: *pick(
            random,
            &[End::Commit, End::Commit, End::Unheard, End::Rollback],
        ),
    }
}

/// Writes as a program does that knows nothing of positions.
pub(crate) async fn write(world: &World, step: &Step, outside: &Outside) {
    let (tally, token) = (step.tally, step.token.as_str());
    let command = Command {
        token: token.into(),
        key: None,
        events: Some(outside.events.max(1)),
    };
    let call = world.history.borrow_mut().sent(stream(tally), command);
    world.note(&format!(
        "{call:?} {token} from outside to {tally}: {outside:?}"
    ));
    let transaction = (outside.events > 0).then(|| world.memory.begin_elsewhere(&stream(tally)));
    sleep(outside.open).await;
    if transaction.as_ref().is_some_and(Option::is_none) || outside.end == End::Rollback {
        drop(transaction);
        world.note(&format!("{call:?} {token} is rolled back"));
        world.history.borrow_mut().refused(call, Refusal::NotServed);
        return;
    }
    world.touch(tally);
    let Some(transaction) = transaction.flatten() else {
        world.write_note(tally, token);
        // Whether it gets into the log depends on who writes the row after it.
        world.history.borrow_mut().unknown(call);
        return;
    };
    let row = as_it_stands(&world.memory, &id(tally)).filter(|_| outside.row);
    let mut commit = commit(world, step, transaction.version(), outside.events);
    if let (Some(mut state), Some(last)) = (row, commit.events.last_mut()) {
        state.note = Some(token.to_owned());
        let told = TallyEvent::Kept {
            state,
            token: Some(token.to_owned()),
        };
        let tagged = serde_json::to_value(told).expect("JSON");
        last.event_type = "TallyKeptEvent".into();
        last.data = to_raw_value(&tagged["TallyKeptEvent"]).expect("JSON");
        world.write_note(tally, token);
    }
    let told = told(&commit, None);
    world.note(&format!(
        "{call:?} {token} is committed at {}",
        told.seen.version
    ));
    transaction.commit(commit);
    let mut history = world.history.borrow_mut();
    match outside.end {
        End::Commit => history.answered(call, told),
        End::Unheard | End::Rollback => history.unknown(call),
    }
}

/// Appends as a node does that is not one of ours: with positions, and without rows.
pub(crate) async fn append(world: &World, step: &Step, events: u32) {
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
    world.touch(step.tally);
    let commit = commit(world, step, expected, events);
    let verdict = store.append(Arc::from([commit.clone()])).await;
    world.note(&format!("{call:?} {token} hears: {verdict:?}"));
    end(world, call, &commit, verdict);
}

fn end(world: &World, call: Call, commit: &Commit, verdict: Result<Vec<Verdict>, AppendError>) {
    let mut history = world.history.borrow_mut();
    match verdict.map(|verdicts| verdicts.into_iter().next()) {
        Ok(Some(Verdict::Committed { first_position })) => {
            history.answered(call, told(commit, Some(first_position)));
        }
        Err(AppendError::OutcomeUnknown(_)) => history.unknown(call),
        Ok(_) | Err(_) => history.refused(call, Refusal::NotServed),
    }
}

fn told<S>(commit: &Commit, first_position: Option<Position>) -> Told<S> {
    let events = commit.events.len();
    let last = |first: Position| Position::new(first.get() + events as u64 - 1);
    Told {
        seen: Seen {
            version: commit.version_after(),
            state: None,
        },
        position: first_position.map(last),
        events: u32::try_from(events).expect("few events"),
        ids: commit.events.iter().map(|event| event.id).collect(),
        replayed: false,
    }
}

fn commit(world: &World, step: &Step, expected: Version, events: u32) -> Commit {
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
