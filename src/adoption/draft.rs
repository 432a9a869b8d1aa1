//! What is to be stored of rows that have no events, before it is.

use super::{
    AdoptionError, Inner,
    adopt::Unadopted,
    append::Teller,
    mapping::{Mapped, stream},
    walk::{Page, Walk},
};
use crate::{
    domain::{AggregateId, CorrelationId, Stamp, Version, error_chain},
    store::{Commit, LoadedRow},
};

/// Makes the first commits of rows.
pub(super) struct Drafting<'a> {
    pub(super) inner: &'a Inner,
    pub(super) mapped: &'a dyn Mapped,
    /// One for all that a run stores, so that it can be looked at together.
    pub(super) correlation_id: CorrelationId,
}

/// A page of rows as it is to be stored.
#[derive(Default)]
pub(super) struct Drafts {
    pub(super) commits: Vec<Commit>,
    pub(super) tally: Tally,
}

/// How many rows a page has, and those of them that get no commit.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) had_events: u64,
    pub(super) refused: Vec<Unadopted>,
}

impl Drafting<'_> {
    /// The next page; none after the last.
    pub(super) async fn next(&self, walk: &mut Walk) -> Result<Option<Drafts>, AdoptionError> {
        // The log has nothing that could be adopted.
        let Some(Page::Rows(rows)) = walk.next().await? else {
            return Ok(None);
        };
        let mut drafts = Drafts::default();
        drafts.tally.rows = rows.len() as u64;
        for (key, loaded) in rows {
            let track = loaded.track.as_ref();
            // It has been met with events. Of others it comes out when theirs is refused.
            if track.is_some_and(|track| track.log_version > Version::ZERO) {
                drafts.tally.had_events += 1;
                continue;
            }
            match self.first_commit(&key, &loaded) {
                Ok(commit) => drafts.commits.push(commit),
                Err(reason) => drafts.tally.refused.push(Unadopted { key, reason }),
            }
        }
        Ok(Some(drafts))
    }

    pub(super) fn first_commit(&self, key: &str, loaded: &LoadedRow) -> Result<Commit, String> {
        let id = AggregateId::parse(key)
            .map_err(|error| format!("its key cannot be an aggregate's: {error}"))?;
        let readable = loaded.readable().map_err(|error| error.to_string())?;
        let Some(row) = readable else {
            return Err("it is gone".to_owned());
        };
        let told = self.mapped.adopted(row);
        let told = told.map_err(|error| error_chain(&error))?;
        let origin = self.mapped.origin(&loaded.stamps);
        let now = self.inner.clock.now();
        let teller = Teller {
            created_by: origin.created_by,
            occurred_at: origin.created_at.unwrap_or(now),
            correlation_id: self.correlation_id,
        };
        let stamp = Stamp {
            now,
            created_by: None,
        };
        let row = Some(row.clone());
        let first = Version::new(1);
        let change = Inner::change(self.mapped, loaded, row, first, &stamp);
        let stream = stream(self.mapped, id);
        let commit = self
            .inner
            .commit(stream, Version::ZERO, told, change, &teller);
        Ok(commit)
    }
}
