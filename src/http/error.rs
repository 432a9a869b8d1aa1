//! The one place where errors of the runtime become problems: words for the client, the chain for the log.

use std::error::Error as _;

use super::problem::{Code, Problem};
use crate::{
    domain::{DecodeError, InvalidName, UnmappableRow},
    runtime::{CommandError, RecoveryError, StateError},
    store::ReadError,
};

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Invalid(_) => Self::new(Code::InvalidCommand, detail),
            CommandError::InvalidJson(_) => Self::new(Code::InvalidJson, detail),
            CommandError::UnknownType(_) => Self::new(Code::UnknownAggregateType, detail),
            CommandError::UnknownCommand { .. } => Self::new(Code::UnknownCommand, detail),
            CommandError::Rejected { reason, message } => {
                Self::new(Code::CommandRejected, message).with("reason", reason)
            }
            CommandError::VersionMismatch { current } => {
                Self::new(Code::VersionMismatch, detail).with("current_version", current.get())
            }
            CommandError::ClaimTaken(claim) => Self::new(Code::ClaimTaken, detail)
                .with("claim", claim.name)
                .with("value", claim.value),
            CommandError::TooLarge(_) => Self::new(Code::PayloadTooLarge, detail),
            CommandError::KeyReused => Self::new(Code::IdempotencyKeyReused, detail),
            CommandError::WriteConflict => Self::new(Code::WriteConflict, detail),
            CommandError::Overloaded { .. } | CommandError::ShuttingDown => {
                Self::new(Code::Overloaded, detail)
            }
            CommandError::StoreUnavailable => Self::new(Code::StoreUnavailable, detail),
            CommandError::TimedOutUnhandled => {
                Self::new(Code::CommandTimeout, detail).with("handled", false)
            }
            CommandError::OutcomeUnknown => Self::new(
                Code::CommandTimeout,
                "the outcome is not known yet; ask again with the same Idempotency-Key",
            )
            .with("handled", true),
            CommandError::Unrecoverable(error) => unrecoverable(&error),
            CommandError::Internal(_) => internal(&detail),
        }
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        let detail = error.to_string();
        match error {
            StateError::UnknownType(_) => Self::new(Code::UnknownAggregateType, detail),
            StateError::Overloaded { .. } | StateError::ShuttingDown => {
                Self::new(Code::Overloaded, detail)
            }
            StateError::StoreUnavailable => Self::new(Code::StoreUnavailable, detail),
            StateError::TimedOut => Self::new(Code::CommandTimeout, detail).with("handled", false),
            StateError::Unrecoverable(error) => unrecoverable(&error),
            StateError::Internal(_) => internal(&detail),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Unavailable(source) => {
                tracing::warn!(%source, "the store could not be read");
                Self::new(Code::StoreUnavailable, error.to_string())
            }
            ReadError::Corrupt { what } => internal(what),
        }
    }
}

impl From<InvalidName> for Problem {
    fn from(error: InvalidName) -> Self {
        Self::new(Code::InvalidRequest, error.to_string())
    }
}

/// What stands in the way is no secret: the aggregate, the version, the position, the event's type.
fn unrecoverable(error: &RecoveryError) -> Problem {
    let mut detail = error.to_string();
    // serde's words may quote the data, so of the reason only what is ours is said.
    if let Some(reason) = error.source().and_then(|source| source.downcast_ref()) {
        match reason {
            DecodeError::UnknownType(_) | DecodeError::NewerSchema { .. } => {
                detail = format!("{detail}: {reason}");
            }
            DecodeError::Json(_) | DecodeError::Misfit(_) => {}
        }
    }
    if let Some(unmappable) = error
        .source()
        .and_then(|source| source.downcast_ref::<UnmappableRow>())
    {
        detail = format!("{detail}: {unmappable}");
    }
    Problem::new(Code::Internal, detail)
}

fn internal(logged: &str) -> Problem {
    tracing::error!(error = logged, "a request met a bug");
    Problem::new(
        Code::Internal,
        "a bug here; the log of the server says more",
    )
}
