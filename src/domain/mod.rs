//! What a user writes: aggregates, their commands and events, and the words they need.
//!
//! Everything here is pure: no I/O, no actor, no store, and no macro of ours. An
//! [`Aggregate`] is a plain type with [`Aggregate::apply`]; each command it takes is one
//! [`Handle`] impl. This module knows no other module of the crate.

mod aggregate;
mod claim;
mod clock;
mod codec;
mod error_chain;
mod event;
mod ids;
mod life;
mod row;
mod row_marks;
mod secret;
mod snapshot;
mod state_row;
mod upcaster;

pub use aggregate::{Aggregate, CommandContext, Decision, Handle, Rejection};
pub use claim::{Claim, InvalidClaim};
pub use clock::{Clock, SystemClock};
pub use codec::{DecodeError, EncodeError, EventCodec};
pub use error_chain::error_chain;
pub use event::{Event, EventType};
pub use ids::{
    AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, IdGenerator,
    IdempotencyKey, InvalidName, Position, StreamId, Version,
};
pub(crate) use life::{ended_life, state_anew, state_when_gone};
pub use row::{Column, ColumnKind, LinkTable, Row, RowValue, StateTable};
pub use row_marks::RowMarks;
pub(crate) use row_marks::is_another;
pub use secret::{Secret, redact, redact_raw, redacted};
pub use snapshot::{Fingerprint, SnapshotShape};
pub use state_row::{RowOrigin, Stamp, StateRow, UnmappableRow};
pub use upcaster::{Upcaster, UpcasterError, Upcasters};
