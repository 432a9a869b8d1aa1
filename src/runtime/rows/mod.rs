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

use super::{
    folded::Folded,
    lookups::{Lookups, lookups},
};
use crate::{
    domain::{Aggregate, Row, StateTable, StreamId, Version},
    settings::Mode,
    store::{LoadedRow, RowTrack, StateRows},
};

/// A type's state table and how its states are rows of it.
pub(super) struct Rows<A: Aggregate> {
    pub(super) mode: Mode,
    pub(super) table: Arc<StateTable>,
    pub(super) mapping: RowMapping<A>,
    pub(super) store: Arc<dyn StateRows>,
    loads: Lookups<StreamId, LoadedRow>,
}

impl<A: Aggregate> Rows<A> {
    /// Rows, and the task that loads those of aggregates that wake until they are gone.
    pub(super) fn new(
        mode: Mode,
        table: StateTable,
        mapping: RowMapping<A>,
        store: Arc<dyn StateRows>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let table = Arc::new(table);
        let reader = (Arc::clone(&store), Arc::clone(&table));
        let (loads, loading) = lookups(move |streams: Vec<StreamId>| {
            let (store, table) = reader.clone();
            Box::pin(async move {
                // Those of one table are of one type.
                let Some(aggregate_type) = streams.first().map(|it| it.aggregate_type.clone())
                else {
                    return Ok(Vec::new());
                };
                let ids: Vec<_> = streams.into_iter().map(|it| it.aggregate_id).collect();
                store.load(&aggregate_type, &table, &ids).await
            })
        });
        let rows = Self {
            mode,
            table,
            mapping,
            store,
            loads,
        };
        (rows, loading)
    }

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
