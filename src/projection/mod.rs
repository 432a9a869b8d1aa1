//! The read side: subscriptions, which follow the log, and projections, which keep read models
//! up to date with it.
//!
//! A user writes a [`Projection`] and starts it with [`Projections`]; the server and any reader
//! asks the same handle for a snapshot of a read model, with the position it reflects.
//!
//! Invariants: rows and checkpoint of a read model commit together, so each event is applied once
//! and none is passed; of all processes one runs a generation, and one whose lease is over can
//! write nothing; what cannot be applied stops its projection or is parked, and is told.

mod applied;
mod batch;
mod inline;
mod model;
mod poison;
mod projections;
mod read;
mod rebuild;
mod runner;
mod status;
pub mod subscription;
mod supervisor;
mod switch;

pub use model::{Build, Projection, Unapplicable};
pub use projections::{Projections, ProjectionsBuilder, StartError};
pub use read::{Answer, ModelRow, NotServed, ReadModel, ReadRequest, ReadSnapshot};
pub use rebuild::{Rebuild, RebuildError, rebuild};
pub use status::{ProjectionState, ProjectionStatus, status};
pub use subscription::{
    EventPage, Reading, Subscription, SubscriptionError, SubscriptionSnapshot, Subscriptions,
    SubscriptionsSnapshot,
};
