//! What callers of the runtime can hear, by operation.

use std::{borrow::Cow, sync::Arc};

use crate::{
    domain::{
        Claim, DecodeError, InvalidName, Position, StreamId, UnmappableRow, UpcasterError, Version,
    },
    store::{NotReady, ReadError, TableError},
};

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command or what came with it is malformed; nothing was stored, a retry does not help.
    #[error("{0}")]
    Invalid(String),
    /// The body is not JSON; nothing was stored.
    #[error("the body is not JSON: {0}")]
    InvalidJson(String),
    /// No such aggregate type is registered.
    #[error("there is no aggregate type `{0}`")]
    UnknownType(String),
    /// The aggregate type takes no such command.
    #[error("`{aggregate_type}` takes no command `{command}`")]
    UnknownCommand {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// The name that was asked for.
        command: String,
    },
    /// The aggregate said no; nothing was stored.
    #[error("{message}")]
    Rejected {
        /// The domain's own slug.
        reason: Cow<'static, str>,
        /// The domain's own words.
        message: String,
    },
    /// The command makes more events, or larger ones, than one may; nothing was stored.
    #[error("the command makes {0}")]
    TooLarge(String),
    /// The aggregate is not at the version the caller asked for; nothing was stored.
    #[error("the aggregate is at version {current}")]
    VersionMismatch {
        /// The version it is at; zero where it does not exist.
        current: Version,
    },
    /// A unique value belongs to another aggregate; nothing was stored.
    #[error("the {} `{}` is taken", .0.name, .0.value)]
    ClaimTaken(Claim),
    /// The idempotency key was used for another command or body.
    #[error("the idempotency key was used for another command or body")]
    KeyReused,
    /// Other writers kept winning; nothing was stored, a retry may help.
    #[error("other writers kept winning")]
    WriteConflict,
    /// A bound on unanswered commands is reached; nothing was handled, a retry may help.
    #[error("{what} has too many unanswered commands")]
    Overloaded {
        /// Whose bound it is.
        what: &'static str,
    },
    /// The runtime is ending; nothing was handled.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The store cannot be reached; nothing was stored, a retry may help.
    #[error("the store cannot be reached, nothing was stored")]
    StoreUnavailable,
    /// The deadline passed before the command was handled: certainly nothing was stored.
    #[error("the deadline passed before the command was handled")]
    TimedOutUnhandled,
    /// The command was handled and its outcome is not known (yet): ask again under the same key.
    #[error("the outcome is not known yet")]
    OutcomeUnknown,
    /// The aggregate's history cannot be read; nothing was stored.
    #[error("the aggregate cannot be recovered")]
    Unrecoverable(#[source] Arc<RecoveryError>),
    /// A bug: user code panicked, or an event could not be written. Nothing was stored.
    #[error("{0}")]
    Internal(String),
}

impl CommandError {
    /// Whether sending the same command again may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::WriteConflict
                | Self::Overloaded { .. }
                | Self::ShuttingDown
                | Self::StoreUnavailable
                | Self::TimedOutUnhandled
                | Self::OutcomeUnknown
        )
    }

    /// Whether it is certain that the command stored nothing.
    #[must_use]
    pub const fn is_outcome_known(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown)
    }

    /// Whether an earlier command under the same key may have succeeded all the same.
    pub(super) const fn may_have_a_receipt(&self) -> bool {
        matches!(
            self,
            Self::Rejected { .. } | Self::VersionMismatch { .. } | Self::Invalid(_)
        )
    }
}

/// Why a state was not read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No such aggregate type is registered.
    #[error("there is no aggregate type `{0}`")]
    UnknownType(String),
    /// A bound on unanswered commands is reached; a retry may help.
    #[error("{what} has too many unanswered commands")]
    Overloaded {
        /// Whose bound it is.
        what: &'static str,
    },
    /// The runtime is ending.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The store cannot be reached; a retry may help.
    #[error("the store cannot be reached")]
    StoreUnavailable,
    /// The deadline passed.
    #[error("the deadline passed before the state was read")]
    TimedOut,
    /// The aggregate's history cannot be read.
    #[error("the aggregate cannot be recovered")]
    Unrecoverable(#[source] Arc<RecoveryError>),
    /// A bug: the state could not be serialized.
    #[error("{0}")]
    Internal(String),
}

/// Why an aggregate could not be recovered from the store. It is never skipped over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The store failed.
    #[error("{stream} cannot be read from the store")]
    Store {
        /// The aggregate.
        stream: StreamId,
        /// Why.
        source: Arc<ReadError>,
    },
    /// An event is none this program can read.
    #[error("{stream}: the event at version {version} (position {position}) cannot be read")]
    Undecodable {
        /// The aggregate.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// The event's position in the log.
        position: Position,
        /// Why.
        source: DecodeError,
    },
    /// The versions of the stored events have a gap or a repeat.
    #[error("{stream}: version {expected} is missing, {found} (position {position}) follows")]
    VersionGap {
        /// The aggregate.
        stream: StreamId,
        /// The version that should follow.
        expected: Version,
        /// The version that does.
        found: Version,
        /// Its position in the log.
        position: Position,
    },
    /// Folding an event panicked.
    #[error("{stream}: applying the event at version {version} (position {position}) panicked")]
    ApplyPanicked {
        /// The aggregate.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// The event's position in the log.
        position: Position,
    },
    /// A row that somebody else wrote is no state; it heals when the row is mended.
    #[error("{stream}: its row in `{table}` is no state of it")]
    Unmappable {
        /// The aggregate.
        stream: StreamId,
        /// Its state table.
        table: String,
        /// The column, and what is wrong with it.
        source: UnmappableRow,
    },
    /// The mapping to a row panicked.
    #[error("{stream}: the mapping to its row in `{table}` panicked")]
    MappingPanicked {
        /// The aggregate.
        stream: StreamId,
        /// Its state table.
        table: String,
    },
    /// What tells the log of a row cannot be written.
    #[error("{stream}: what its row says cannot be written to the log")]
    Unwritable {
        /// The aggregate.
        stream: StreamId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The row is behind the log, and a unique index refuses what the log says.
    #[error("{stream}: another row of `{table}` has its value of `{column}`")]
    RowRefused {
        /// The aggregate.
        stream: StreamId,
        /// Its state table.
        table: String,
        /// The column.
        column: String,
    },
    /// The row is behind the log, and its table cannot hold what the log says.
    #[error("{stream}: `{table}` cannot hold its row")]
    RowUnstorable {
        /// The aggregate.
        stream: StreamId,
        /// Its state table.
        table: String,
    },
    /// Others kept writing the row; a retry may help.
    #[error("{stream}: others kept writing its row in `{table}`")]
    RowContended {
        /// The aggregate.
        stream: StreamId,
        /// Its state table.
        table: String,
    },
}

impl RecoveryError {
    /// Whether the same recovery may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_retryable(),
            Self::RowContended { .. } => true,
            Self::Undecodable { .. }
            | Self::VersionGap { .. }
            | Self::ApplyPanicked { .. }
            | Self::Unmappable { .. }
            | Self::MappingPanicked { .. }
            | Self::Unwritable { .. }
            | Self::RowRefused { .. }
            | Self::RowUnstorable { .. } => false,
        }
    }
}

/// Why commands cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unready {
    /// This process is ending.
    #[error("this process is shutting down")]
    Ending,
    /// The store cannot serve.
    #[error(transparent)]
    Store(#[from] NotReady),
}

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An aggregate's type is no valid name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Two aggregates have the same type.
    #[error("the aggregate type `{0}` is registered twice")]
    TypeTwice(&'static str),
    /// Two commands of an aggregate have the same name, or a command has two names.
    #[error("`{aggregate_type}` has the command `{command}` twice")]
    CommandTwice {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// The command's name.
        command: &'static str,
    },
    /// A schema is told of a command or an event that the aggregate does not have.
    #[error("`{aggregate_type}` has no command or event `{name}` to tell the schema of")]
    SchemaOfNothing {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// What it does not have.
        name: &'static str,
    },
    /// An aggregate's upcasters do not lead every old event to today's schema.
    #[error("the upcasters of `{aggregate_type}` are not whole")]
    Upcasters {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// What is wrong.
        source: UpcasterError,
    },
    /// The settings name an aggregate type that is not registered.
    #[error("the settings name the aggregate type `{0}`, which is not registered")]
    UnknownTypeInSettings(String),
    /// A mode needs a row, and the type is not mapped to one.
    #[error(
        "`aggregates.{aggregate_type}.mode` is \"{mode}\", but the program maps `{aggregate_type}` to no table"
    )]
    NoMapping {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// The mode.
        mode: &'static str,
    },
    /// A mode needs a row, and the store has no state tables.
    #[error("`aggregates.{aggregate_type}.mode` is \"{mode}\", but the store has no state tables")]
    NoStateTables {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// The mode.
        mode: &'static str,
    },
    /// A state table does not fit the mapping, or cannot be looked at.
    #[error("`{aggregate_type}` cannot be kept in its state table")]
    StateTable {
        /// The aggregate type.
        aggregate_type: &'static str,
        /// Why, naming table and column.
        source: TableError,
    },
    /// A thread could not be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}
