//! State tables: what is done for a type whose state is also, or only, a row of its owner's table.
//!
//! Other programs write the same rows. So an aggregate is met before it is decided on or shown
//! ([`load`]): row, track and log are compared (`assess`), what does not fit is mended by a commit
//! of its own (`mend`), and every commit expects the row it was decided on.

mod assess;
mod change;
mod fitting;
mod holders;
mod lives;
mod load;
mod mapping;
mod mend;
mod old_receipts;
mod probe;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

pub(super) use change::{Unkept, Written};
pub(super) use holders::look_at_holder;
pub(super) use load::load;
pub(super) use mapping::RowMapping;
pub(super) use mend::{Mend, own_receipt};
pub(super) use old_receipts::forget_old;
pub(super) use probe::Standing;
pub(super) use walk::reconcile;

use super::folded::Folded;
use crate::{
    domain::{Aggregate, Row, StateTable, Version},
    settings::Mode,
    store::{RowTrack, StateRows},
};

/// A type's state table and how its states are rows of it.
pub(super) struct Rows<A: Aggregate> {
    pub(super) mode: Mode,
    pub(super) table: Arc<StateTable>,
    pub(super) mapping: RowMapping<A>,
    pub(super) store: Arc<dyn StateRows>,
}

impl<A: Aggregate> Rows<A> {
    /// Whether rows alone are kept.
    pub(super) fn alone(&self) -> bool {
        self.mode == Mode::StateOnly
    }
}

/// What stands beside the state of an aggregate that has, or may have, a row.
#[derive(Debug, Clone)]
pub(super) struct Beside<A> {
    /// The row, shared, because every answer that stores nothing is held against it.
    pub(super) row: Option<Arc<Row>>,
    pub(super) track: RowTrack,
    /// The fold of the log, where the state is not that: where rows alone are kept.
    pub(super) log: Option<Arc<Folded<A>>>,
}

/// The track of a row that was never met.
const fn unmet() -> RowTrack {
    RowTrack {
        version: Version::ZERO,
        log_version: Version::ZERO,
        marks: None,
        agreed: None,
        rowless: None,
    }
}
