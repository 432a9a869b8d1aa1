//! How commits of adoption and repair are made, and written though the store may waver.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Inner,
    mapping::{Mapped, Told},
};
use crate::{
    domain::{
        CorrelationId, CreatedBy, EventId, Row, RowMarks, RowOrigin, Stamp, StreamId, Version,
    },
    store::{AppendError, Commit, LoadedRow, NewEvent, RowChange, RowTrack, Verdict, VersionedBy},
};

/// How often a batch is tried whose store is away, or whose answer was lost: for about a minute.
const MOST_TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// Who tells an event, when, and in which context.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    pub(super) created_by: Option<CreatedBy>,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) correlation_id: CorrelationId,
}

impl Inner {
    pub(super) fn correlation_id(&self) -> CorrelationId {
        CorrelationId(self.ids.next())
    }

    /// A commit with one event that was made of a row; the row stays as it is.
    pub(super) fn commit(
        &self,
        stream: StreamId,
        expected: Version,
        told: Told,
        change: RowChange,
        teller: &Teller,
    ) -> Commit {
        let takes = told.claims.clone();
        Commit {
            stream,
            expected,
            events: vec![self.event(told)],
            occurred_at: teller.occurred_at,
            created_by: teller.created_by.clone(),
            correlation_id: teller.correlation_id,
            causation_id: None,
            frees: Vec::new(),
            takes,
            receipt: None,
            row: Some(Box::new(change)),
        }
    }

    pub(super) fn event(&self, told: Told) -> NewEvent {
        NewEvent {
            id: EventId(self.ids.next()),
            event_type: told.event_type.name.into(),
            schema_version: told.event_type.schema_version,
            data: told.data,
        }
    }

    /// What is done to a row that was loaded: it becomes `after`, and agrees with a version.
    pub(super) fn change(
        mapped: &dyn Mapped,
        loaded: &LoadedRow,
        after: Option<Row>,
        log_version: Version,
        stamp: &Stamp<'_>,
    ) -> RowChange {
        let before = loaded.row.clone();
        let [on_insert, on_update] = mapped.stamps(stamp);
        let (inserts, same) = (before.is_none(), before == after);
        // A version that was shown where rows alone are kept must not come to mean another state.
        let shown = loaded
            .track
            .as_ref()
            .map_or(Version::ZERO, |track| track.version);
        let version = if same { shown } else { shown.next() };
        let made = match before {
            Some(_) => mapped.origin(&loaded.stamps),
            None => RowOrigin::default(),
        };
        let marks = after.as_ref().map(|row| RowMarks::of(row).made(&made));
        RowChange {
            table: Arc::clone(mapped.table()),
            track: RowTrack {
                version: version.max(log_version),
                log_version,
                marks: marks.clone(),
                agreed: marks,
                rowless: None,
            },
            on_insert: if inserts { on_insert } else { Vec::new() },
            on_update: if inserts || same {
                Vec::new()
            } else {
                on_update
            },
            before,
            after,
            versioned_by: VersionedBy::Log,
        }
    }

    /// Appends a batch. Appending the same commits again is how a lost answer is found out, so a
    /// store that is away for a while is waited for.
    pub(super) async fn append(&self, batch: &Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.store.append(Arc::clone(batch)).await {
                Ok(verdicts) => return Ok(verdicts),
                Err(error) => error,
            };
            let again = match &error {
                AppendError::Unavailable(_)
                | AppendError::OutcomeUnknown(_)
                | AppendError::Contended => tries < MOST_TRIES,
                AppendError::Unstorable(_) => false,
            };
            if !again {
                return Err(error);
            }
            tracing::warn!(error = %crate::domain::error_chain(&error), "a batch is appended again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
