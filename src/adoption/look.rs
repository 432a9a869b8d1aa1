//! One row and its events as of one moment.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    AdoptionError, Inner,
    compare::{Blame, Drift},
    mapping::{Folding, Mapped, Untold, stream},
    verify::PAGE,
};
use crate::{
    domain::{AggregateId, Row, StreamId, Version, error_chain},
    store::LoadedRow,
};

/// How often one that is written meanwhile is looked at anew.
const MOST_LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// A row and the fold of its events, of one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) stream: StreamId,
    pub(super) folding: Box<dyn Folding>,
    pub(super) blame: Blame,
    pub(super) loaded: LoadedRow,
    /// Of the last event.
    pub(super) occurred_at: DateTime<Utc>,
    /// Why a row without events could not be adopted.
    not_adoptable: Option<String>,
}

/// Why a row and a fold of one moment could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotYet {
    /// They kept changing.
    Unsettled,
    /// The log has events that are not shown, for they have no position.
    Unnumbered,
}

impl Look {
    /// Looks until both are of one moment.
    pub(super) async fn at(
        inner: &Inner,
        mapped: &dyn Mapped,
        id: AggregateId,
    ) -> Result<Result<Self, NotYet>, AdoptionError> {
        let stream = stream(mapped, id.clone());
        let (mut before, mut moves) = (None, false);
        for _ in 0..MOST_LOOKS {
            let (folding, blame, occurred_at) = folded(inner, mapped, &stream).await?;
            let (aggregate_type, table) = (mapped.aggregate_type(), mapped.table());
            let loaded = inner
                .rows
                .load(aggregate_type, table, std::slice::from_ref(&id));
            let loaded = loaded.await?.into_iter().next().unwrap_or_default();
            // The row was read between two looks at the log: where the log has not moved, the row
            // stands beside these events.
            let versions = (
                folding.version(),
                inner.store.current_version(&stream).await?,
            );
            if versions.0 != versions.1 {
                moves |= before.replace(versions).is_some_and(|it| it != versions);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if loaded.row.is_none() && folding.version() == Version::ZERO {
                return Err(AdoptionError::Nothing(id));
            }
            let row = loaded.row.as_ref();
            let fresh = row.filter(|_| folding.version() == Version::ZERO);
            let readable = loaded.readable().map_err(Untold::from);
            let problem = fresh.and_then(|row| readable.and_then(|_| mapped.adopted(row)).err());
            return Ok(Ok(Self {
                stream,
                folding,
                blame,
                loaded,
                occurred_at,
                not_adoptable: problem.map(|error| error_chain(&error)),
            }));
        }
        Ok(Err(if moves {
            NotYet::Unsettled
        } else {
            NotYet::Unnumbered
        }))
    }

    pub(super) fn version(&self) -> Version {
        self.folding.version()
    }

    pub(super) const fn row(&self) -> Option<&Row> {
        self.loaded.row.as_ref()
    }

    pub(super) fn drift(&self) -> Option<Drift> {
        if self.version() > Version::ZERO {
            let fold = self.folding.row();
            return self.blame.drift(self.row(), fold.as_ref());
        }
        Some(match &self.not_adoptable {
            Some(problem) => Drift::NotAdoptable {
                problem: problem.clone(),
            },
            None => Drift::NoEvents,
        })
    }
}

/// The fold of all events of an aggregate, what each of them set, and the time of the last.
async fn folded(
    inner: &Inner,
    mapped: &dyn Mapped,
    stream: &StreamId,
) -> Result<(Box<dyn Folding>, Blame, DateTime<Utc>), AdoptionError> {
    let (mut folding, mut blame) = (mapped.folding(), Blame::default());
    let mut occurred_at = DateTime::UNIX_EPOCH;
    loop {
        let next = folding.version().next();
        let events = inner.store.events(stream, next, PAGE).await?;
        for event in &events {
            blame.fold(&mut *folding, event)?;
            occurred_at = occurred_at.max(event.occurred_at);
        }
        if events.len() < PAGE as usize {
            return Ok((folding, blame, occurred_at));
        }
    }
}
