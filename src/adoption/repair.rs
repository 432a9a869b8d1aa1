//! Making one row and its events agree, as they were looked at.

use std::sync::Arc;

use super::{
    Adoption, AdoptionError, Inner,
    append::Teller,
    compare::{ColumnDifference, Finding},
    look::{Look, NotYet},
    mapping::{Mapped, Told, Untold},
};
use crate::{
    domain::{
        AggregateId, Claim, CreatedBy, IdempotencyKey, Row, RowMarks, Stamp, StreamId, Version,
        error_chain,
    },
    store::{Commit, Loss, NewReceipt, RowAccess, Verdict},
};

/// Which of the two is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairFrom {
    /// The events: the row is written anew.
    Events,
    /// The row: an event tells the log.
    Row,
}

/// How one is repaired.
#[derive(Debug, Clone)]
pub struct Repair {
    /// Which of the two is believed.
    pub from: RepairFrom,
    /// Why; it stands in the event.
    pub reason: String,
    /// Who repairs it.
    pub created_by: Option<CreatedBy>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// Nothing: they agreed.
    Agreed,
    /// The row was written, or deleted where the events have ended it.
    RowWritten,
    /// An event was appended.
    EventAppended {
        /// Its type.
        event_type: &'static str,
        /// Its number in the aggregate.
        version: Version,
    },
}

/// A row and its events as they were when they were looked at. A repair does what is seen here, or
/// nothing.
#[derive(Debug)]
pub struct Examined {
    look: Look,
    mapped: Arc<dyn Mapped>,
}

impl Examined {
    /// The aggregate.
    #[must_use]
    pub const fn stream(&self) -> &StreamId {
        &self.look.stream
    }

    /// How they differ; nothing where they agree.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        self.look.drift().map(|drift| Finding {
            key: self.look.stream.aggregate_id.to_string(),
            version: self.look.version(),
            drift,
        })
    }

    /// Every column in which they differ.
    #[must_use]
    pub fn differences(&self) -> Vec<ColumnDifference> {
        let fold = self.look.folding.row();
        self.look.blame.differences(self.look.row(), fold.as_ref())
    }
}

impl Adoption {
    /// Looks at one aggregate and its row.
    ///
    /// # Errors
    /// [`AdoptionError`]; among others where there is neither, and where its events cannot be folded.
    pub async fn examine(
        &self,
        aggregate_type: &str,
        id: AggregateId,
    ) -> Result<Examined, AdoptionError> {
        let mapped = self.checked(aggregate_type, RowAccess::Read).await?;
        let look = Look::at(&self.inner, &*mapped, id.clone()).await?;
        let look = look.map_err(|not_yet| match not_yet {
            NotYet::Unsettled => AdoptionError::Changed,
            NotYet::Unnumbered => AdoptionError::Unnumbered(id),
        })?;
        Ok(Examined { look, mapped })
    }

    /// Makes a row and its events agree, if both still are as they were examined. History stays:
    /// either the row is written from the events, or an event tells the log what the row says.
    ///
    /// # Errors
    /// [`AdoptionError`]; nothing is changed then.
    pub async fn repair(
        &self,
        examined: Examined,
        repair: &Repair,
    ) -> Result<Repaired, AdoptionError> {
        let Examined { look, mapped } = examined;
        if look.drift().is_none() {
            return Ok(Repaired::Agreed);
        }
        self.inner
            .rows
            .check(mapped.table(), RowAccess::Write)
            .await?;
        let work = Work {
            inner: &self.inner,
            mapped: &*mapped,
            look: &look,
            repair,
        };
        match repair.from {
            RepairFrom::Events => work.write_row().await,
            RepairFrom::Row => work.tell_log().await,
        }
    }
}

struct Work<'a> {
    inner: &'a Inner,
    mapped: &'a dyn Mapped,
    look: &'a Look,
    repair: &'a Repair,
}

impl Work<'_> {
    fn teller(&self) -> Teller {
        // Times never go back within an aggregate.
        let now = self.inner.clock.now().max(self.look.occurred_at);
        Teller {
            created_by: self.repair.created_by.clone(),
            occurred_at: now,
            correlation_id: self.inner.correlation_id(),
        }
    }

    async fn write_row(&self) -> Result<Repaired, AdoptionError> {
        let (look, id) = (self.look, &self.look.stream.aggregate_id);
        if look.version() == Version::ZERO {
            return Err(AdoptionError::NoEvents(id.clone()));
        }
        let teller = self.teller();
        let stamp = Stamp {
            now: teller.occurred_at,
            created_by: teller.created_by.as_ref(),
        };
        let after = look.folding.row();
        let change = Inner::change(self.mapped, &look.loaded, after, look.version(), &stamp);
        let receipt = self.inner.ids.next();
        // A commit without events is known again by its receipt.
        let key = IdempotencyKey::reserved(receipt);
        let commit = Commit {
            stream: look.stream.clone(),
            expected: look.version(),
            events: Vec::new(),
            occurred_at: teller.occurred_at,
            created_by: teller.created_by.clone(),
            correlation_id: teller.correlation_id,
            causation_id: None,
            frees: Vec::new(),
            takes: Vec::new(),
            receipt: Some(NewReceipt {
                id: receipt,
                key,
                command_hash: [0; 32],
                reply: None,
            }),
            row: Some(Box::new(change)),
        };
        self.store(commit).await?;
        Ok(Repaired::RowWritten)
    }

    async fn tell_log(&self) -> Result<Repaired, AdoptionError> {
        let look = self.look;
        let mut teller = self.teller();
        let told = match look.row() {
            Some(row) if look.version() == Version::ZERO => {
                let origin = self.mapped.origin(&look.loaded.stamps);
                teller.created_by = origin.created_by;
                teller.occurred_at = origin.created_at.unwrap_or(teller.occurred_at);
                self.mapped.adopted(row).map(|told| (None, told))
            }
            row => self.reconciled(row),
        };
        let readable = look.loaded.readable().map_err(Untold::from);
        let told = readable.and(told);
        let told = told.map_err(|error| AdoptionError::Unmappable(error_chain(&error)));
        let (ended, mut told) = told?;
        let version = look.version().plus(1 + u64::from(ended.is_some()));
        let event_type = told.event_type.name;
        let frees = self.claims(&mut told);
        let stamp = Stamp {
            now: teller.occurred_at,
            created_by: teller.created_by.as_ref(),
        };
        let after = look.loaded.row.clone();
        let change = Inner::change(self.mapped, &look.loaded, after, version, &stamp);
        let stream = look.stream.clone();
        let mut commit = self
            .inner
            .commit(stream, look.version(), told, change, &teller);
        if let Some(ended) = ended {
            commit.events.insert(0, self.inner.event(ended));
        }
        commit.frees = frees;
        self.store(commit).await?;
        Ok(Repaired::EventAppended {
            event_type,
            version,
        })
    }

    /// What tells the log what a row says; before it, that an earlier life of the row has ended.
    fn reconciled(&self, row: Option<&Row>) -> Result<(Option<Told>, Told), Untold> {
        let (look, reason) = (self.look, &self.repair.reason);
        let track = look.loaded.track.as_ref();
        // One that has seen another log knows nothing of how this one and the row stood.
        let track = track.filter(|track| track.log_version == look.version());
        if let (Some(row), Some(track)) = (row, track) {
            let now = RowMarks::default().made(&self.mapped.origin(&look.loaded.stamps));
            let told = look.folding.came_back(track, row, &now, reason)?;
            if let Some([ended, anew]) = told {
                return Ok((Some(ended), anew));
            }
        }
        // What was done while rows alone were kept, and the row is still gone.
        let gone = track.filter(|track| track.marks.is_none());
        let gone = gone.and_then(|track| track.rowless.as_deref());
        Ok((None, look.folding.reconciled(row, gone, reason)?))
    }

    /// Leaves what is to be taken, and gives what is to be freed.
    fn claims(&self, told: &mut Told) -> Vec<Claim> {
        let held = match self.look.version() {
            Version::ZERO => Vec::new(),
            _ => self.look.folding.claims(),
        };
        let wanted = std::mem::take(&mut told.claims);
        let frees = held.iter().filter(|claim| !wanted.contains(claim));
        let frees = frees.cloned().collect();
        let takes = wanted.into_iter().filter(|claim| !held.contains(claim));
        told.claims = takes.collect();
        frees
    }

    async fn store(&self, commit: Commit) -> Result<(), AdoptionError> {
        let verdicts = self.inner.append(&Arc::from([commit])).await?;
        match verdicts.into_iter().next() {
            Some(Verdict::Committed { .. }) | None => Ok(()),
            Some(Verdict::Lost(Loss::Claim { claim, holder })) => {
                Err(AdoptionError::Claim { claim, holder })
            }
            Some(Verdict::Lost(Loss::Refused { claim })) => Err(AdoptionError::Refused {
                column: claim.name.into_owned(),
            }),
            Some(Verdict::Lost(
                Loss::Version { .. } | Loss::Row | Loss::Contested | Loss::Key(_),
            )) => Err(AdoptionError::Changed),
        }
    }
}
