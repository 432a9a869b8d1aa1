//! An aggregate as a row of its owner's state table, and back.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::{Aggregate, CreatedBy, Row, RowValue, StateTable};

/// An aggregate whose state is also, or only, a row of a table that others own and may write.
///
/// It is written once for each type; the modes `state-only` and `dual-write` need it. A state and
/// its row must say the same: `from_row(to_row(state))` gives a state with the same row.
pub trait StateRow: Aggregate {
    /// The table and its mapped columns. Its name may be set in the settings instead.
    fn table() -> StateTable;

    /// The row of this state; none where it has none, because it is absent or deleted.
    fn to_row(&self) -> Option<Row>;

    /// The state of a row that somebody else has written.
    ///
    /// # Errors
    /// [`UnmappableRow`] names the column whose value no state can have.
    fn from_row(row: &Row) -> Result<Self, UnmappableRow>;

    /// This state of a row, with what a row does not tell taken from what was known before: the
    /// permissions of a role, whose table has no column for them.
    ///
    /// By default the row tells everything. Where it does not, such a part lives in the events
    /// alone, and ends with the row: one that was gone and comes back is another thing.
    #[must_use]
    fn keeping(self, _known: &Self) -> Self {
        self
    }

    /// The values of the table's stamps when a row is inserted.
    fn stamps_on_insert(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)>;

    /// The values of the table's stamps when a row is changed; those not named stay.
    fn stamps_on_update(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)>;

    /// Who made a row, and when, as its stamps tell: the same as long as the row lives. By it a row
    /// that somebody has deleted and made anew is told from one that was changed.
    fn origin(stamps: &[(&'static str, RowValue)]) -> RowOrigin;

    /// The first event of an aggregate whose row was there before its history: it leads from
    /// nothing to this state.
    fn adopted(&self) -> Self::Event;

    /// The event that leads from any state to this one, because somebody else has written the row
    /// (or nothing at all, where this is the default: the row is gone).
    fn reconciled(&self, reason: &str) -> Self::Event;
}

/// Who writes a row, and when.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The time of the command.
    pub now: DateTime<Utc>,
    /// Who sent it.
    pub created_by: Option<&'a CreatedBy>,
}

/// Who made a row, and when; nothing where it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowOrigin {
    /// Who.
    pub created_by: Option<CreatedBy>,
    /// When.
    pub created_at: Option<DateTime<Utc>>,
}

/// A row that is no state of its aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` {problem}")]
pub struct UnmappableRow {
    /// The column at fault.
    pub column: &'static str,
    /// What is wrong with it, without its value.
    pub problem: Cow<'static, str>,
}
