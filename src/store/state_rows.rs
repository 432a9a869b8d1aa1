//! State tables beside the log: what a commit does to one, and how their rows are read.
//!
//! Of each row that dormouse has met it keeps a *track*: which version of the log the row agreed with,
//! and marks of its columns. By it a row that somebody else has changed is told from one that is
//! merely behind the log. It is what the last event carries of the row, or a row of `aggregate_rows`
//! beside the log (docs/decisions/0082); which of both is the store's own affair.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use chrono::SecondsFormat;
use serde_json::value::RawValue;

use super::{Loss, ReadError};
use crate::domain::{
    AggregateId, AggregateType, Claim, Row, RowMarks, RowValue, StateTable, UnmappableRow, Version,
};

/// What a commit does to its aggregate's row, in the transaction that stores the rest of it.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// The table.
    pub table: Arc<StateTable>,
    /// The row as it was decided on; the commit loses with [`Loss::Row`](super::Loss::Row) where it
    /// is another by now.
    pub before: Option<Row>,
    /// The row from then on; none deletes it. The same as `before` only writes the track.
    pub after: Option<Row>,
    /// The stamps, where the row is inserted.
    pub on_insert: Vec<(&'static str, RowValue)>,
    /// The stamps, where it is changed.
    pub on_update: Vec<(&'static str, RowValue)>,
    /// The track from then on.
    pub track: RowTrack,
    /// Which version the commit's `expected` is compared with.
    pub versioned_by: VersionedBy,
}

impl RowChange {
    /// Whether one write of the row does for both, where `earlier` is the change of it before this.
    pub(super) fn follows(&self, earlier: &Self) -> bool {
        // A row that is deleted and inserted again is another one, in the columns not mapped too.
        let inserted_again =
            earlier.before.is_some() && earlier.after.is_none() && self.after.is_some();
        earlier.after == self.before && !inserted_again
    }
}

/// Where an aggregate's version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionedBy {
    /// In the log: it is that of the last event.
    Log,
    /// In the track: rows alone are kept, and a commit has no events.
    Track,
}

/// What is known of a row beside it.
#[derive(Debug, Clone)]
pub struct RowTrack {
    /// The version that callers see where rows alone are kept; never before `log_version`. It never
    /// goes back: a commit versioned by the log that says less leaves a later one as it is.
    pub version: Version,
    /// The version of the log that the row last agreed with; zero where it never did.
    pub log_version: Version,
    /// The row as it was last written or met; none where there was none.
    pub marks: Option<RowMarks>,
    /// The row as it was when it last agreed with the log; none where there was none, or it never did.
    pub agreed: Option<RowMarks>,
    /// The serialized state, secrets and all, of when the row was last gone since it agreed with the
    /// log. Where there is still none it is the state (a deleted user); where one has come back,
    /// what it does not tell is from here, because the log knows an earlier life.
    pub rowless: Option<Box<RawValue>>,
}

/// A row as it stands, with its track, of one view.
#[derive(Debug, Clone, Default)]
pub struct LoadedRow {
    /// The row; none where there is none.
    pub row: Option<Row>,
    /// The values of its stamps.
    pub stamps: Vec<(&'static str, RowValue)>,
    /// The track; none where dormouse has never met it.
    pub track: Option<RowTrack>,
    /// What of the row is no value of its column, where a store lets programs write such: the row
    /// has it in SQL's words, and is no state.
    pub unreadable: Option<UnmappableRow>,
}

impl LoadedRow {
    /// The row, where there is one and all of it can be read.
    ///
    /// # Errors
    /// The column whose value is none.
    pub fn readable(&self) -> Result<Option<&Row>, UnmappableRow> {
        match &self.unreadable {
            Some(unreadable) => Err(unreadable.clone()),
            None => Ok(self.row.as_ref()),
        }
    }
}

/// Rows read at once where they are counted.
const COUNTED_AT_ONCE: u32 = 1000;

/// The refusal of a row by a unique index over some of its columns, as one claim: a value that
/// nobody may be shown is left out.
pub(super) fn refused(columns: &[&str], row: &Row) -> Loss {
    let value = |column: &&str| match row.values.get(*column) {
        Some(RowValue::Text(text)) => text.clone(),
        Some(RowValue::Int(number)) => number.to_string(),
        Some(RowValue::Bool(value)) => value.to_string(),
        Some(RowValue::Time(time)) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        Some(RowValue::Json(value)) => value.to_string(),
        Some(RowValue::Secret(_) | RowValue::Null) | None => String::new(),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Loss::Refused {
        claim: Claim::new(columns.join(","), values.join(",")),
    }
}

/// Reads state tables.
#[async_trait]
pub trait StateRows: Debug + Send + Sync + 'static {
    /// Checks that a table can be used as it is mapped: it is there, with its key unique, each
    /// mapped column and link table, and no column that must be given and is not; and that who
    /// asks may do with it what `access` says.
    ///
    /// # Errors
    /// [`TableError`].
    async fn check(&self, table: &StateTable, access: RowAccess) -> Result<(), TableError>;

    /// The rows of some aggregates, in the order of their ids, of one view.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError>;

    /// The rows of a table after a key, `limit` at most, in the order in which the table's own index
    /// has its keys (on PostgreSQL that of the column's collation, not always that of bytes); a key
    /// is given as it stands, though it may be no valid id. Each has its track in the log of this
    /// aggregate type; without a type none is looked up. Tracks without a row are not among them.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError>;

    /// How many rows a table has, as of about now: they may be counted one page after another.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn count(&self, table: &Arc<StateTable>) -> Result<u64, ReadError> {
        let (mut count, mut after) = (0, None::<String>);
        loop {
            let page = self
                .page(None, table, after.as_deref(), COUNTED_AT_ONCE)
                .await?;
            count += page.len() as u64;
            after = match page.into_iter().next_back() {
                Some((last, _)) => Some(last),
                None => return Ok(count),
            };
        }
    }
}

/// What is done with the rows of a state table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAccess {
    /// They are read.
    Read,
    /// They are read, inserted, changed and deleted, and locked where they stay.
    Write,
}

/// A state table that cannot be used as it is mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It is not there, or something of it is missing or in the way.
    #[error("the state table `{table}` {problem}")]
    Unfit {
        /// The table.
        table: String,
        /// What is wrong, naming the column.
        problem: String,
    },
    /// Its owner has not granted what is needed. It can be granted at any time, and then it works.
    #[error(
        "the role `{role}` lacks rights on the state table `{table}` ({missing}); its owner can run: \
         {grant}"
    )]
    Forbidden {
        /// The table.
        table: String,
        /// Who asks.
        role: String,
        /// The rights that are missing on it.
        missing: String,
        /// The statements that grant them, on its link tables too.
        grant: String,
    },
    /// It could not be looked at; a retry may help.
    #[error("the state table cannot be looked at")]
    Unread(#[from] ReadError),
}
