//! A command or a read on its way: what the actor works on, with the way back to its caller.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use ulid::Ulid;

use super::{
    Answer, CommandError, Expected, StateError, folded::Folded, load::Ticket, spans::Stages,
};
use crate::domain::{
    Aggregate, CausationId, CommandContext, CorrelationId, CreatedBy, Handle, IdempotencyKey,
};

/// Who had the command first: the actor, or the caller who gave up on it.
///
/// It makes `TimedOutUnhandled` certain: the actor drops what was abandoned.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover(Arc<AtomicU8>);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const ABANDONED: u8 = 2;

impl Handover {
    /// The actor takes it up; not where the caller has given up.
    pub(super) fn take(&self) -> bool {
        self.settle(TAKEN)
    }

    /// The caller gives up; not where the actor has taken it up.
    pub(super) fn abandon(&self) -> bool {
        self.settle(ABANDONED)
    }

    fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    fn settle(&self, to: u8) -> bool {
        self.0
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// What came with a command, resolved.
#[derive(Debug, Clone)]
pub(super) struct CommandMeta {
    pub(super) name: &'static str,
    pub(super) expected: Expected,
    pub(super) correlation_id: CorrelationId,
    pub(super) causation_id: Option<CausationId>,
    pub(super) created_by: Option<CreatedBy>,
    /// When it happened, where its sender says.
    pub(super) occurred_at: Option<DateTime<Utc>>,
    pub(super) key: Option<KeyMeta>,
    pub(super) stages: Stages,
}

/// What a keyed command leaves in its receipt.
#[derive(Debug, Clone)]
pub(super) struct KeyMeta {
    pub(super) key: IdempotencyKey,
    pub(super) receipt_id: Ulid,
    pub(super) command_hash: [u8; 32],
}

/// What a settled command answers, its reply still serialized where it comes from a receipt.
pub(super) type Settled = Answer<Option<Box<RawValue>>>;

/// A command of any type, for an aggregate of type `A`.
pub(super) trait Ask<A: Aggregate>: Send {
    fn meta(&self) -> &CommandMeta;

    /// Where it is on its way, to be told where it is next.
    fn stages(&mut self) -> &mut Stages;

    fn handover(&self) -> &Handover;

    /// Asks the aggregate; may be called again on newer state.
    fn decide(
        &mut self,
        state: &A,
        ctx: &CommandContext<'_>,
    ) -> Result<Vec<A::Event>, CommandError>;

    /// The reply of the last decision, as its receipt keeps it.
    fn reply(&self) -> Result<Option<Box<RawValue>>, CommandError>;

    /// Answers the caller, if it still listens.
    fn answer(self: Box<Self>, outcome: Result<Settled, CommandError>);
}

/// A command of type `C` and the caller who waits for it.
pub(super) struct CommandAsk<A: Handle<C>, C> {
    pub(super) meta: CommandMeta,
    pub(super) handover: Handover,
    pub(super) command: C,
    pub(super) decided: Option<A::Reply>,
    pub(super) caller: oneshot::Sender<Result<Answer<A::Reply>, CommandError>>,
}

impl<A: Handle<C>, C: Send> Ask<A> for CommandAsk<A, C> {
    fn meta(&self) -> &CommandMeta {
        &self.meta
    }

    fn stages(&mut self) -> &mut Stages {
        &mut self.meta.stages
    }

    fn handover(&self) -> &Handover {
        &self.handover
    }

    fn decide(
        &mut self,
        state: &A,
        ctx: &CommandContext<'_>,
    ) -> Result<Vec<A::Event>, CommandError> {
        use crate::domain::Rejection as _;
        let decision =
            state
                .handle(&self.command, ctx)
                .map_err(|rejection| CommandError::Rejected {
                    reason: rejection.reason(),
                    message: rejection.to_string(),
                })?;
        let (events, reply) = decision.into_parts();
        self.decided = Some(reply);
        Ok(events)
    }

    fn reply(&self) -> Result<Option<Box<RawValue>>, CommandError> {
        let reply = serde_json::value::to_raw_value(&self.decided)
            .map_err(|error| CommandError::Internal(format!("a reply is no JSON: {error}")))?;
        Ok((reply.get() != "null").then_some(reply))
    }

    fn answer(self: Box<Self>, outcome: Result<Settled, CommandError>) {
        let Self {
            decided, caller, ..
        } = *self;
        let answer = outcome.and_then(|settled| {
            let stored = settled.reply.as_deref().unwrap_or(RawValue::NULL);
            let reply = match decided {
                Some(reply) if !settled.replayed => reply,
                _ => serde_json::from_str(stored.get()).map_err(|error| {
                    CommandError::Internal(format!("a stored reply cannot be read: {error}"))
                })?,
            };
            Ok(settled.with_reply(reply))
        });
        // A caller who has gone does not care.
        let _ = caller.send(answer);
    }
}

/// A read of the state and the caller who waits for it.
pub(super) struct ReadAsk<A> {
    pub(super) caller: oneshot::Sender<Result<Folded<A>, StateError>>,
}

/// Work for an actor.
pub(super) enum Work<A: Aggregate> {
    Command(Box<dyn Ask<A>>),
    Read(ReadAsk<A>),
}

impl<A: Aggregate> Work<A> {
    /// Whether its caller has given up already.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Command(ask) => ask.handover().is_abandoned(),
            Self::Read(read) => read.caller.is_closed(),
        }
    }

    /// The span in which the state is read that it needs.
    pub(super) fn recovery(&self) -> Option<tracing::Span> {
        match self {
            Self::Command(ask) => Some(ask.meta().stages.recovery()),
            Self::Read(_) => None,
        }
    }

    /// Takes the work up; not where its caller has given up, who has then been told.
    pub(super) fn take_up(&self) -> bool {
        match self {
            Self::Command(ask) => ask.handover().take(),
            Self::Read(read) => !read.caller.is_closed(),
        }
    }

    /// Answers with an error. The place is given back first, so that a caller who sends
    /// again at once is not refused for its own last command.
    pub(super) fn fail(self, ticket: Ticket, error: CommandError) {
        drop(ticket);
        match self {
            Self::Command(ask) => ask.answer(Err(error)),
            Self::Read(read) => {
                // A caller who has gone does not care.
                let _ = read.caller.send(Err(as_state_error(error)));
            }
        }
    }
}

fn as_state_error(error: CommandError) -> StateError {
    match error {
        CommandError::StoreUnavailable
        | CommandError::OutcomeUnknown
        | CommandError::WriteConflict => StateError::StoreUnavailable,
        CommandError::Unrecoverable(source) => StateError::Unrecoverable(source),
        CommandError::ShuttingDown => StateError::ShuttingDown,
        CommandError::Overloaded { what } => StateError::Overloaded { what },
        CommandError::UnknownType(name) => StateError::UnknownType(name),
        CommandError::TimedOutUnhandled => StateError::TimedOut,
        CommandError::Invalid(_)
        | CommandError::TooLarge(_)
        | CommandError::InvalidJson(_)
        | CommandError::UnknownCommand { .. }
        | CommandError::Rejected { .. }
        | CommandError::VersionMismatch { .. }
        | CommandError::ClaimTaken(_)
        | CommandError::KeyReused
        | CommandError::Internal(_) => StateError::Internal(error.to_string()),
    }
}
