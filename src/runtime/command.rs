//! What goes with a command, and what comes back.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};

use crate::domain::{
    CausationId, CorrelationId, CreatedBy, EventId, IdempotencyKey, Position, Version,
};

/// The version a caller wants the aggregate to be at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Any.
    #[default]
    Any,
    /// It must not exist yet.
    Absent,
    /// Exactly this one.
    At(Version),
}

/// What a caller may say beside the command itself.
#[derive(Debug, Clone)]
pub struct CommandOptions {
    /// A retry under the same key has no second effect and answers the first receipt.
    pub key: Option<IdempotencyKey>,
    /// The version the aggregate must be at.
    pub expected: Expected,
    /// The correlation of the command's events; made where it is absent.
    pub correlation_id: Option<CorrelationId>,
    /// What caused the command.
    pub causation_id: Option<CausationId>,
    /// On whose behalf it is sent.
    pub created_by: Option<CreatedBy>,
    /// When it happened, for what is brought in from another system; the clock's time where it is
    /// absent. It is never before the aggregate's last event, nor in the future.
    pub occurred_at: Option<DateTime<Utc>>,
    /// How long the caller waits; a command still unhandled then is dropped.
    pub timeout: Duration,
}

impl Default for CommandOptions {
    fn default() -> Self {
        Self {
            key: None,
            expected: Expected::Any,
            correlation_id: None,
            causation_id: None,
            created_by: None,
            occurred_at: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What a command did: its events are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<R> {
    /// The aggregate's version after the command.
    pub version: Version,
    /// The position of its last event, or of the aggregate's last event where it has none.
    pub position: Position,
    /// The correlation its events carry.
    pub correlation_id: CorrelationId,
    /// Its events, in order; none where it changed nothing.
    pub events: Vec<AnsweredEvent>,
    /// Whether it changed the aggregate. Where rows alone are kept it may have without an event.
    pub changed: bool,
    /// Whether it made the aggregate.
    pub created: bool,
    /// Whether this is the answer of an earlier command under the same key.
    pub replayed: bool,
    /// The command's own reply.
    pub reply: R,
}

/// An event in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredEvent {
    /// Its identity.
    pub id: EventId,
    /// Its type.
    pub event_type: Cow<'static, str>,
    /// Its number in the aggregate.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
}

impl<R> Answer<R> {
    /// The same answer with another reply.
    pub(super) fn with_reply<Q>(self, reply: Q) -> Answer<Q> {
        Answer {
            version: self.version,
            position: self.position,
            correlation_id: self.correlation_id,
            events: self.events,
            changed: self.changed,
            created: self.created,
            replayed: self.replayed,
            reply,
        }
    }
}
