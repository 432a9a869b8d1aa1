//! What a decision does to the row beside it.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{Beside, Rows, unmet};
use crate::{
    domain::{Aggregate, Row, RowMarks, Stamp, UnmappableRow, Version},
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
        let log = beside.and_then(|beside| beside.log.as_deref());
        let log = log.map(|log| &log.state);
        let track = if self.alone() {
            RowTrack {
                version,
                marks: row.as_ref().map(RowMarks::of),
                rowless: self.rowless(state, row.as_ref(), log)?,
                ..known
            }
        } else {
            agreed_at(version, known.version.plus(versions), row.as_ref())
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

    /// What stands for a state in the track where rows alone are kept: nothing where there is a
    /// row, which must say it all but what the log knows.
    fn rowless(
        &self,
        state: &A,
        row: Option<&Row>,
        log: Option<&A>,
    ) -> Result<Option<Box<RawValue>>, Unkept> {
        let Some(row) = row else {
            return Ok(beyond_row(state, None)?);
        };
        let said = (self.mapping.from_row)(row)?;
        let said = match log {
            Some(log) => (self.mapping.keeping)(said, log),
            None => said,
        };
        if to_raw_value(&said)?.get() == to_raw_value(state)?.get() {
            Ok(None)
        } else {
            Err(Unkept::NoColumn)
        }
    }
}

/// The serialized state of an aggregate that has no row and is not absent either.
pub(super) fn beyond_row<A: Aggregate>(
    state: &A,
    row: Option<&Row>,
) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    if row.is_some() {
        return Ok(None);
    }
    let state = to_raw_value(state)?;
    let is_absent = to_raw_value(&A::default())?.get() == state.get();
    Ok((!is_absent).then_some(state))
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
pub(super) fn agreed_at(log: Version, version: Version, row: Option<&Row>) -> RowTrack {
    let marks = row.map(RowMarks::of);
    RowTrack {
        version: version.max(log),
        log_version: log,
        marks: marks.clone(),
        agreed: marks,
        rowless: None,
    }
}
