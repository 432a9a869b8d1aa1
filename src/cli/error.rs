//! Why a command of the shell failed.

use crate::{
    adoption::{self, AdoptionError},
    auth::{CreateKeyError, InvalidRight},
    domain::{AggregateId, Position, Version},
    projection::{self, RebuildError, SubscriptionError},
    runtime::{StartError, StateError},
    store::{AppendError, OpenError, ReadError, models::ModelError},
};

/// Why a command failed; its text is for whoever typed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The settings name a store that lives in a process.
    #[error(
        "memory:// holds nothing that another process could read; name a database in store.url"
    )]
    NothingToRead,
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Open(#[from] OpenError),
    /// The registered aggregates and the settings contradict each other.
    #[error("the aggregates cannot be read")]
    Start(#[from] StartError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    /// A subscription ended.
    #[error("the log cannot be followed")]
    Follow(#[from] SubscriptionError),
    /// An aggregate cannot be recovered.
    #[error("the aggregate cannot be read")]
    State(#[from] StateError),
    /// There is no such aggregate.
    #[error("{aggregate_type}/{id} has no events{when}")]
    NotFound {
        /// Its type.
        aggregate_type: String,
        /// Its id.
        id: AggregateId,
        /// As of when, where that was asked.
        when: String,
    },
    /// The type of the aggregate is not registered.
    #[error("there is no aggregate type {wanted}; there are: {known}")]
    UnknownType {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// The end of a range lies before its beginning.
    #[error("--to {to} lies before --from {from}")]
    Backwards {
        /// The beginning.
        from: Version,
        /// The end.
        to: Version,
    },
    /// The read models cannot be reached.
    #[error("the read models cannot be reached")]
    Models(#[from] ModelError),
    /// The projections cannot be opened.
    #[error("the projections cannot be opened")]
    Projections(#[from] projection::StartError),
    /// The mapped types cannot be put together.
    #[error("rows cannot be adopted")]
    Adoption(#[from] adoption::StartError),
    /// Rows cannot be adopted, verified or repaired.
    #[error(transparent)]
    Adopt(#[from] AdoptionError),
    /// A rebuild was not begun.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The generation that was waited for is not there any more.
    #[error("the new generation of {0} is gone: another has taken its place")]
    RebuildGone(String),
    /// The generation that was waited for stands still.
    #[error("{name} stopped before position {position}: {error}")]
    RebuildStopped {
        /// The projection.
        name: String,
        /// Before which position.
        position: Position,
        /// Why.
        error: String,
    },
    /// The projection did not stop at an event.
    #[error("the projection {0} stands still before no event")]
    NotStopped(String),
    /// Events cannot be stored.
    #[error("the events cannot be stored; what is stored stays, begin the import again")]
    Append(#[source] AppendError),
    /// The input of an import is wrong, as was told line by line.
    #[error("nothing was imported: {0} lines are wrong")]
    ImportRefused(u64),
    /// The input of an import is not what it was when it was checked.
    #[error("line {0} is not what it was when the input was checked; begin the import again")]
    ImportChanged(u64),
    /// Some of what was to be imported belongs to others, as was told.
    #[error("{events} events and {claims} unique values were not taken; all others are stored")]
    ImportIncomplete {
        /// Events that follow on what the store does not have.
        events: u64,
        /// Unique values of other aggregates.
        claims: u64,
    },
    /// There is no such key that could be revoked.
    #[error("there is no key {0} that is not revoked")]
    NoSuchKey(String),
    /// A key that may do nothing is of no use.
    #[error("--rights names no right")]
    NoRights,
    /// What is to be granted is no right.
    #[error(transparent)]
    Right(#[from] InvalidRight),
    /// A key was not made.
    #[error(transparent)]
    CreateKey(#[from] CreateKeyError),
    /// Stdout cannot be written.
    #[error("the input cannot be read, or the output written")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// Whether what was asked for is not there, though all went well.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoSuchKey(_))
    }

    /// Whether the input was refused, and nothing was done.
    #[must_use]
    pub const fn is_refused_input(&self) -> bool {
        matches!(self, Self::ImportRefused(_))
    }

    /// Whether all was done but for what was told.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, Self::ImportIncomplete { .. })
    }
}
