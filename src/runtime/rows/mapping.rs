//! A [`StateRow`] as functions, so that no other aggregate needs to be one.

use crate::domain::{
    Aggregate, Row, RowOrigin, RowValue, Stamp, StateRow, StateTable, UnmappableRow,
};

/// How the states of a type are rows.
pub(in crate::runtime) struct RowMapping<A: Aggregate> {
    pub(in crate::runtime) table: fn() -> StateTable,
    pub(in crate::runtime) to_row: fn(&A) -> Option<Row>,
    pub(in crate::runtime) from_row: fn(&Row) -> Result<A, UnmappableRow>,
    pub(in crate::runtime) keeping: fn(A, &A) -> A,
    pub(in crate::runtime) stamps_on_insert: fn(&Stamp<'_>) -> Vec<(&'static str, RowValue)>,
    pub(in crate::runtime) stamps_on_update: fn(&Stamp<'_>) -> Vec<(&'static str, RowValue)>,
    pub(in crate::runtime) origin: fn(&[(&'static str, RowValue)]) -> RowOrigin,
    pub(in crate::runtime) adopted: fn(&A) -> A::Event,
    pub(in crate::runtime) reconciled: fn(&A, &str) -> A::Event,
}

impl<A: StateRow> RowMapping<A> {
    pub(in crate::runtime) fn new() -> Self {
        Self {
            table: A::table,
            to_row: A::to_row,
            from_row: A::from_row,
            keeping: A::keeping,
            stamps_on_insert: A::stamps_on_insert,
            stamps_on_update: A::stamps_on_update,
            origin: A::origin,
            adopted: A::adopted,
            reconciled: A::reconciled,
        }
    }
}

impl<A: Aggregate> RowMapping<A> {
    /// The row of the fold of a log; an aggregate without events has none, whatever its state.
    pub(in crate::runtime) fn row_of_fold(&self, folded: &super::Folded<A>) -> Option<Row> {
        if folded.version.get() == 0 {
            return None;
        }
        (self.to_row)(&folded.state)
    }
}

#[expect(
    clippy::expl_impl_clone_on_copy,
    reason = "a derived one would bound the aggregate"
)]
impl<A: Aggregate> Clone for RowMapping<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Aggregate> Copy for RowMapping<A> {}
