//! What a decision does to the row beside it.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{Beside, Folded, Rows, unmet};
use crate::{
    domain::{Aggregate, Row, RowMarks, Stamp, UnmappableRow, Version, state_when_gone},
    store::{RowChange, RowTrack, VersionedBy},
};

/// What is beside the state once a decision is durable.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Written {
    pub(in crate::runtime) row: Option<Arc<Row>>,
    pub(in crate::runtime) track: RowTrack,
}

impl<A> Beside<A> {
    /// Stands where a decision led to.
    pub(in crate::runtime) fn stand_at(&mut self, written: Written) {
        self.row = written.row;
        self.track = written.track;
    }
}

impl<A: Aggregate> Rows<A> {
    /// What a decision that leads from what is beside to a state does to the row. `versions` says
    /// how far it leads, and `version` where to.
    pub(in crate::runtime) fn decided(
        &self,
        beside: Option<&Beside<A>>,
        state: &A,
        (versions, version): (u64, Version),
        stamp: &Stamp<'_>,
    ) -> Result<(RowChange, Written), Unkept> {
        let before = beside.and_then(|beside| beside.row.clone());
        let known = beside.map_or_else(unmet, |beside| beside.track.clone());
        if versions == 0 {
            // The row that is there stays, though the state may say the same in another way.
            let (row, track) = (before, known);
            let change = self.change(row.as_deref(), row.as_deref(), track.clone(), stamp);
            return Ok((change, Written { row, track }));
        }
        let row = (self.mapping.to_row)(state);
        // Only a row that is not made here was made as it was.
        let made = known.marks.as_ref().filter(|_| before.is_some());
        let marks = row.as_ref().map(|row| RowMarks::of(row).made_as(made));
        let track = if self.alone() {
            RowTrack {
                version,
                marks,
                rowless: self.rowless(state, row.as_ref(), beside)?,
                ..known
            }
        } else {
            agreed_at(version, known.version.plus(versions), marks)
        };
        let change = self.change(before.as_deref(), row.as_ref(), track.clone(), stamp);
        let row = row.map(Arc::new);
        Ok((change, Written { row, track }))
    }

    /// The change from one row to another, or of the track alone.
    pub(super) fn change(
        &self,
        before: Option<&Row>,
        after: Option<&Row>,
        track: RowTrack,
        stamp: &Stamp<'_>,
    ) -> RowChange {
        let is_new = before.is_none() && after.is_some();
        RowChange {
            table: Arc::clone(&self.table),
            before: before.cloned(),
            after: after.cloned(),
            on_insert: if is_new {
                (self.mapping.stamps_on_insert)(stamp)
            } else {
                Vec::new()
            },
            on_update: if is_new || before == after {
                Vec::new()
            } else {
                (self.mapping.stamps_on_update)(stamp)
            },
            track,
            versioned_by: if self.alone() {
                VersionedBy::Track
            } else {
                VersionedBy::Log
            },
        }
    }

    /// What stands in the track beside a state where rows alone are kept. Where there is a row, it
    /// must say it all but what was known before.
    fn rowless(
        &self,
        state: &A,
        row: Option<&Row>,
        beside: Option<&Beside<A>>,
    ) -> Result<Option<Box<RawValue>>, Unkept> {
        let log = beside.and_then(|beside| beside.log.as_deref());
        let gone = beside.and_then(|beside| beside.track.rowless.as_ref());
        let Some(row) = row else {
            let had_a_life = gone.is_some() || log.is_some_and(Folded::has_events);
            return Ok(state_without_row(state, had_a_life)?);
        };
        let said = (self.mapping.from_row)(row)?;
        let said = match (gone, log) {
            (Some(gone), _) => (self.mapping.keeping)(said, &state_when_gone(gone)),
            (None, Some(log)) => (self.mapping.keeping)(said, &log.state),
            (None, None) => said,
        };
        if to_raw_value(&said)?.get() == to_raw_value(state)?.get() {
            Ok(gone.cloned())
        } else {
            Err(Unkept::NoColumn)
        }
    }
}

/// The serialized state of an aggregate that has no row. One that is absent needs none, unless it
/// was something before: a row that comes back must not be taken for what the log knows.
pub(super) fn state_without_row<A: Aggregate>(
    state: &A,
    had_a_life: bool,
) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let state = to_raw_value(state)?;
    let is_absent = to_raw_value(&A::default())?.get() == state.get();
    Ok((had_a_life || !is_absent).then_some(state))
}

/// Why a decision cannot be kept in a row.
#[derive(Debug, thiserror::Error)]
pub(in crate::runtime) enum Unkept {
    /// The state is no JSON.
    #[error("the state is no JSON")]
    Json(#[from] serde_json::Error),
    /// Rows alone are kept, and no column tells what was decided.
    #[error("its table has no column for what this command changes, and rows alone are kept")]
    NoColumn,
    /// The row of the state is none that the mapping can read.
    #[error("the row of a state is no state")]
    Unmappable(#[from] UnmappableRow),
}

/// The track of a row that agrees with the log. Its own version leads on beside the log's, so that
/// where rows alone are kept later a version does not mean two states.
pub(super) fn agreed_at(log: Version, version: Version, marks: Option<RowMarks>) -> RowTrack {
    RowTrack {
        version: version.max(log),
        log_version: log,
        marks: marks.clone(),
        agreed: marks,
        rowless: None,
    }
}
