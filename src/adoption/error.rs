//! Why rows cannot be adopted, verified or repaired.

use crate::{
    domain::{AggregateId, Claim, DecodeError, InvalidName, UpcasterError, Version},
    store::{AppendError, ReadError, TableError},
};

/// Why an [`Adoption`](super::Adoption) cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no place for state tables beside this log.
    #[error("this store has no state tables")]
    NoStateTables,
    /// The name of a type is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The upcasters of a type are no chain.
    #[error("the upcasters of a type are no chain")]
    Upcasters(#[from] UpcasterError),
}

/// Why a run ended before it was done, or a row was not repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptionError {
    /// The type is not mapped to rows.
    #[error("{wanted} is no type that is mapped to a table; there are: {known}")]
    UnknownType {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// The table does not fit its mapping.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    /// The store took nothing more. What was told to be done is done; the same may be run again.
    #[error("the store takes nothing more")]
    Append(#[from] AppendError),
    /// The events of an aggregate cannot be folded.
    #[error("its events cannot be folded")]
    Unfoldable(#[from] Unfoldable),
    /// There are neither a row nor events under this id.
    #[error("there are neither a row nor events of {0}")]
    Nothing(AggregateId),
    /// The row has no events that it could be rewritten from.
    #[error("{0} has no events to be repaired from: adopt it, or repair it from its row")]
    NoEvents(AggregateId),
    /// The row cannot become an event.
    #[error("the row cannot be told to the log: {0}")]
    Unmappable(String),
    /// Another aggregate holds a unique value.
    #[error("its `{}` is also that of {holder}", claim.name)]
    Claim {
        /// The value.
        claim: Claim,
        /// Who holds it.
        holder: AggregateId,
    },
    /// A unique index of the table refuses the row.
    #[error("another row has the same `{column}`")]
    Refused {
        /// The column.
        column: String,
    },
    /// Somebody else wrote the row or the log after it was looked at. Nothing was changed.
    #[error("it was changed meanwhile; look at it again")]
    Changed,
    /// Another program has stored events of it that have no position yet, and whoever only reads
    /// cannot give them one.
    #[error("the newest events of {0} have no position yet; a server that runs gives them one")]
    Unnumbered(AggregateId),
    /// A task broke off.
    #[error("a part of the work broke off: {0}")]
    BrokenOff(String),
}

/// Events that cannot be folded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfoldable {
    /// This program cannot read an event.
    #[error("version {version} cannot be read")]
    Undecodable {
        /// Which.
        version: Version,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// A version is missing.
    #[error("version {found} stands where {expected} belongs")]
    Gap {
        /// What belongs there.
        expected: Version,
        /// What stands there.
        found: Version,
    },
    /// The aggregate's `apply` panicked.
    #[error("the aggregate panicked at version {version}")]
    Panicked {
        /// At which event.
        version: Version,
    },
}
