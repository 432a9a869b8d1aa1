//! Decide: one command on the newest state, pure but for the clock and the ids it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{
    CommandError, Expected,
    ask::{Ask, CommandMeta},
    folded::Folded,
    kind::Kind,
    pending::{Decided, Decision},
    rows::{Unkept, Written, own_receipt},
};
use crate::{
    domain::{Aggregate, Claim, CommandContext, EventId, Stamp, StreamId, Version, error_chain},
    settings::RuntimeSettings,
    store::{Commit, NewEvent, NewReceipt, RowChange},
};

/// A decision, and whether the state it was made on can still be trusted.
pub(super) struct Outcome<A: Aggregate> {
    pub(super) decided: Decided<A>,
    pub(super) state: StateAfter,
}

/// What deciding did to the newest state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateAfter {
    /// It is the fold of what is decided so far.
    Sound,
    /// Events were applied that will not be stored: fold anew from what is settled.
    AheadOfDecisions,
    /// User code panicked: read everything from the store again.
    Suspect,
}

/// The newest state, durable or not, and the claims it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead<A: Aggregate> {
    pub(super) folded: Folded<A>,
    claims: Vec<Claim>,
    /// Whether another program may have stored events without taking their claims: then the next
    /// commit takes all that the state holds; what the aggregate has already it may take again.
    unsure: bool,
}

impl<A: Aggregate> Ahead<A> {
    pub(super) fn new(folded: Folded<A>, foreign_writers: bool) -> Self {
        // A panic here is met again, and caught, when the next command asks for the claims.
        let claims = catch_unwind(AssertUnwindSafe(|| folded.state.claims())).unwrap_or_default();
        Self {
            folded,
            claims,
            unsure: foreign_writers,
        }
    }

    /// Applies what is decided already and not durable yet.
    pub(super) fn catch_up(&mut self, decision: &Decision<A>) {
        let folded = &mut self.folded;
        for event in &decision.events {
            folded.state.apply(event);
            folded.version = folded.version.next();
            folded.occurred_at = folded.occurred_at.max(decision.occurred_at);
        }
        if let (Some(beside), Some(written)) = (&mut folded.beside, &decision.beside) {
            beside.stand_at(written.clone());
        }
        self.claims = folded.state.claims();
        // It has taken all, or one before it has.
        self.unsure = false;
    }
}

/// Asks the aggregate, and applies what it decides to the newest state.
pub(super) fn decide<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    ahead: &mut Ahead<A>,
    ask: &mut dyn Ask<A>,
) -> Outcome<A> {
    let answer = |outcome| Outcome {
        decided: Decided::Answer(outcome),
        state: StateAfter::Sound,
    };
    let version = ahead.folded.version;
    if !is_as_expected(ask.meta().expected, version) {
        return answer(Err(CommandError::VersionMismatch { current: version }));
    }
    let now = time_of(ask.meta(), kind.node.clock.now(), ahead.folded.occurred_at);
    let events = match catch_unwind(AssertUnwindSafe(|| asked(stream, ahead, ask, now))) {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return answer(Err(error)),
        Err(_) => return panicked(stream, ask.meta().name),
    };
    if events.is_empty() && ask.meta().key.is_none() {
        return answer(Ok(()));
    }
    match catch_unwind(AssertUnwindSafe(|| {
        write(kind, stream, ahead, ask, events, now)
    })) {
        Ok(Ok(decision)) => Outcome {
            decided: Decided::Commit(Box::new(decision)),
            state: StateAfter::Sound,
        },
        Ok(Err(error)) => Outcome {
            decided: Decided::Answer(Err(error)),
            state: StateAfter::AheadOfDecisions,
        },
        Err(_) => panicked(stream, ask.meta().name),
    }
}

/// When a command's events happen. Times never go back within an aggregate, whatever the clock or
/// the sender says; and none lies in the future, or all later events would share it.
fn time_of(meta: &CommandMeta, now: DateTime<Utc>, last: DateTime<Utc>) -> DateTime<Utc> {
    let told = meta.occurred_at.map(|told| told.trunc_subsecs(6).min(now));
    told.unwrap_or(now).max(last)
}

fn is_as_expected(expected: Expected, version: Version) -> bool {
    match expected {
        Expected::Any => true,
        Expected::Absent => version == Version::ZERO,
        Expected::At(wanted) => version == wanted,
    }
}

fn asked<A: Aggregate>(
    stream: &StreamId,
    ahead: &Ahead<A>,
    ask: &mut dyn Ask<A>,
    now: DateTime<Utc>,
) -> Result<Vec<A::Event>, CommandError> {
    let created_by = ask.meta().created_by.clone();
    let ctx = CommandContext {
        aggregate_id: &stream.aggregate_id,
        version: ahead.folded.version,
        now,
        created_by: created_by.as_ref(),
        correlation_id: ask.meta().correlation_id,
    };
    ask.decide(&ahead.folded.state, &ctx)
}

fn panicked<A: Aggregate>(stream: &StreamId, command: &str) -> Outcome<A> {
    tracing::error!(%stream, command, "user code panicked; the aggregate is read from the store again");
    Outcome {
        decided: Decided::Answer(Err(CommandError::Internal(
            "the command met a bug in the aggregate".to_owned(),
        ))),
        state: StateAfter::Suspect,
    }
}

fn write<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    ahead: &mut Ahead<A>,
    ask: &dyn Ask<A>,
    events: Vec<A::Event>,
    now: DateTime<Utc>,
) -> Result<Decision<A>, CommandError> {
    let meta = ask.meta();
    let limits = &kind.node.settings;
    check_count(limits, events.len())?;
    let mut receipt = receipt(ask)?;
    let expected = ahead.folded.version;
    let is_logged = !kind.rows_alone();
    let mut bytes = 0;
    let mut new_events = Vec::with_capacity(events.len());
    let mut written = Vec::with_capacity(events.len());
    for event in &events {
        let (event_type, data) = kind.codec.encode(event).map_err(|error| {
            tracing::error!(%stream, command = meta.name, %error, "an event cannot be written");
            CommandError::Internal(error.to_string())
        })?;
        bytes += data.get().len();
        check_bytes(limits, bytes)?;
        let id = EventId(kind.node.ids.next());
        written.push((id, event_type.name));
        if is_logged {
            new_events.push(NewEvent {
                id,
                event_type: event_type.name.into(),
                schema_version: event_type.schema_version,
                data,
            });
        }
        ahead.folded.state.apply(event);
        ahead.folded.version = ahead.folded.version.next();
    }
    ahead.folded.occurred_at = now;
    let (frees, takes) = claim_changes(ahead)?;
    let row = row_change(kind, ahead, (expected, events.len()), meta)?;
    let (row, beside) = row.unzip();
    if new_events.is_empty() && receipt.is_none() {
        receipt = Some(own_receipt(kind));
    }
    let commit = Commit {
        stream: stream.clone(),
        expected,
        events: new_events,
        occurred_at: now,
        created_by: meta.created_by.clone(),
        correlation_id: meta.correlation_id,
        causation_id: meta.causation_id,
        frees,
        takes,
        receipt,
        row: row.map(Box::new),
    };
    Ok(Decision {
        commit: Some(commit),
        events,
        written,
        occurred_at: now,
        beside,
        is_logged,
    })
}

/// What the decision does to the row beside the state, which it stands beside from now on.
fn row_change<A: Aggregate>(
    kind: &Kind<A>,
    ahead: &mut Ahead<A>,
    (expected, count): (Version, usize),
    meta: &CommandMeta,
) -> Result<Option<(RowChange, Written)>, CommandError> {
    let Some(rows) = kind.rows() else {
        return Ok(None);
    };
    let folded = &mut ahead.folded;
    let stamp = Stamp {
        now: folded.occurred_at,
        created_by: meta.created_by.as_ref(),
    };
    let versions = count as u64;
    let decided = rows.decided(
        folded.beside.as_deref(),
        &folded.state,
        (versions, expected.plus(versions)),
        &stamp,
    );
    let (change, written) = decided.map_err(|error| unkept(&error))?;
    if let Some(beside) = &mut folded.beside {
        beside.stand_at(written.clone());
    }
    Ok(Some((change, written)))
}

fn unkept(error: &Unkept) -> CommandError {
    match error {
        Unkept::NoColumn => CommandError::Rejected {
            reason: "no-column".into(),
            message: error.to_string(),
        },
        Unkept::Json(_) | Unkept::Unmappable(_) => CommandError::Internal(error_chain(error)),
    }
}

fn check_count(limits: &RuntimeSettings, events: usize) -> Result<(), CommandError> {
    let most = limits.max_command_events;
    if events > most {
        let detail = format!("{events} events; it may make {most}");
        return Err(CommandError::TooLarge(detail));
    }
    Ok(())
}

fn check_bytes(limits: &RuntimeSettings, bytes: usize) -> Result<(), CommandError> {
    let most = limits.max_command_bytes;
    if bytes > most {
        let detail = format!("more than {most} bytes of events");
        return Err(CommandError::TooLarge(detail));
    }
    Ok(())
}

fn receipt<A: Aggregate>(ask: &dyn Ask<A>) -> Result<Option<NewReceipt>, CommandError> {
    let Some(key) = ask.meta().key.clone() else {
        return Ok(None);
    };
    Ok(Some(NewReceipt {
        id: key.receipt_id,
        key: key.key,
        command_hash: key.command_hash,
        reply: ask.reply()?,
    }))
}

/// What the state holds less and more than before; it holds the new claims from now on.
fn claim_changes<A: Aggregate>(
    ahead: &mut Ahead<A>,
) -> Result<(Vec<Claim>, Vec<Claim>), CommandError> {
    let mut claims = ahead.folded.state.claims();
    claims.sort_unstable();
    claims.dedup();
    let unsure = std::mem::take(&mut ahead.unsure);
    let added = |claim: &&Claim| unsure || !ahead.claims.contains(claim);
    let takes: Vec<Claim> = claims.iter().filter(added).cloned().collect();
    for claim in &takes {
        claim
            .check()
            .map_err(|error| CommandError::Invalid(error.to_string()))?;
    }
    let before = std::mem::replace(&mut ahead.claims, claims);
    let frees = before
        .into_iter()
        .filter(|claim| !ahead.claims.contains(claim))
        .collect();
    Ok((frees, takes))
}

/// Whether the caller of a keyed command may have an answer stored, though this says no.
pub(super) fn may_have_a_receipt(meta: &CommandMeta, outcome: &Result<(), CommandError>) -> bool {
    meta.key.is_some() && matches!(outcome, Err(error) if error.may_have_a_receipt())
}
