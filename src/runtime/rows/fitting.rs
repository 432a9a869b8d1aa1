//! Whether an aggregate may be decided on and shown as it was read, and what is to be done first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    Beside, Rows,
    assess::{Changes, Finding, Seen, assess, merged},
    change::agreed_at,
    lives::is_as_marked,
    mend::{Draft, Mend},
    unmet,
};
use crate::{
    domain::{Aggregate, Row, RowMarks, RowOrigin, StreamId, Version},
    runtime::{RecoveryError, folded::Folded, kind::Kind},
    store::{Commit, LoadedRow, RowTrack},
};

/// An aggregate as it was read.
pub(super) struct Met<'a, A: Aggregate> {
    pub(super) kind: &'a Kind<A>,
    pub(super) rows: &'a Rows<A>,
    pub(super) stream: &'a StreamId,
    pub(super) loaded: &'a LoadedRow,
    /// The fold of its log.
    pub(super) log: &'a Folded<A>,
}

/// What is to be done with it.
pub(super) enum Fitting<A> {
    /// Nothing: this is its state.
    Fits(Folded<A>),
    /// It must be read again.
    ReadAgain,
    /// This must be stored first.
    Unfit(Box<Unfit>),
}

/// What mends an aggregate, and how that is called.
#[derive(Debug)]
pub(in crate::runtime) struct Unfit {
    pub(super) mend: Mend,
    pub(super) commit: Commit,
}

impl<A: Aggregate> Met<'_, A> {
    pub(super) fn fitting(&self) -> Result<Fitting<A>, RecoveryError> {
        let fitting = catch_unwind(AssertUnwindSafe(|| {
            if self.rows.alone() {
                self.alone()
            } else {
                self.dual()
            }
        }));
        fitting.unwrap_or_else(|_| {
            Err(RecoveryError::MappingPanicked {
                stream: self.stream.clone(),
                table: self.table(),
            })
        })
    }

    /// Where events and row are both kept.
    fn dual(&self) -> Result<Fitting<A>, RecoveryError> {
        let fold = self.rows.mapping.row_of_fold(self.log);
        if let Some(draft) = self.told_by_track()? {
            return self.unfit(draft);
        }
        let row = self.row();
        let draft = match self.finding(fold.as_ref()) {
            Finding::Absent => return Ok(Fitting::Fits(self.as_folded(unmet()))),
            Finding::Agrees { noted: true } if !self.has_maker_to_note()? => {
                return Ok(Fitting::Fits(self.as_folded(self.known())));
            }
            Finding::ReadTooEarly => return Ok(Fitting::ReadAgain),
            Finding::Agrees { .. } => self.agreeing(Mend::Noted, row.cloned()),
            Finding::Behind => self.agreeing(Mend::Rewritten, fold),
            Finding::Unmet => self.adopting(&self.state_of(row)?),
            Finding::Changed(changes) => {
                let merged = merged(row, fold.as_ref(), &changes);
                self.telling(&self.state_of(merged.as_ref())?, &reason(&changes))
            }
        };
        self.unfit(draft)
    }

    /// Where the row alone is kept.
    fn alone(&self) -> Result<Fitting<A>, RecoveryError> {
        let (log, row) = (self.log.version, self.row());
        if let Some(track) = self.loaded.track.as_ref()
            && track.log_version == log
        {
            if is_as_marked(track, row) && !self.has_maker_to_note()? {
                return Ok(Fitting::Fits(self.of_row(self.told_state(track)?, track)));
            }
            return self.unfit(self.noting(track)?);
        }
        let fold = self.rows.mapping.row_of_fold(self.log);
        // Versions go on: one that was shown with another state is never given again.
        let met_before = self.loaded.track.is_some();
        let version = |differs: bool| {
            let after_known = self.known().version.plus(u64::from(met_before));
            after_known.max(log.plus(u64::from(differs)))
        };
        let (mend, state, after, version) = match self.finding(fold.as_ref()) {
            Finding::Absent => return Ok(Fitting::Fits(self.of_row(A::default(), &unmet()))),
            Finding::ReadTooEarly => return Ok(Fitting::ReadAgain),
            Finding::Agrees { .. } => {
                let state = self.log.state.clone();
                (Mend::Noted, state, row.cloned(), version(false))
            }
            Finding::Behind => {
                let state = self.log.state.clone();
                (Mend::Rewritten, state, fold.clone(), version(false))
            }
            Finding::Unmet => (
                Mend::Noted,
                self.state_of(row)?,
                row.cloned(),
                version(true),
            ),
            Finding::Changed(changes) => {
                let merged = merged(row, fold.as_ref(), &changes);
                let is_rewritten = merged.as_ref() != row;
                let mend = if is_rewritten {
                    Mend::Rewritten
                } else {
                    Mend::Noted
                };
                let state = self.kept_state_of(merged.as_ref())?;
                (mend, state, merged, version(true))
            }
        };
        let track = RowTrack {
            version,
            log_version: log,
            marks: self.marks(after.as_ref()),
            agreed: fold.as_ref().map(RowMarks::of),
            rowless: match &after {
                Some(_) => None,
                None => self.without_row(&state)?,
            },
        };
        self.unfit(Draft::of_row(mend, state, after, track))
    }

    /// The first event of a row.
    fn adopting(&self, state: &A) -> Draft<A> {
        let event = (self.rows.mapping.adopted)(state);
        let origin = (self.rows.mapping.origin)(&self.loaded.stamps);
        self.with_events(Mend::Adopted, vec![event], origin)
    }

    /// An event that tells the log what somebody else wrote.
    pub(super) fn telling(&self, state: &A, reason: &str) -> Draft<A> {
        let event = (self.rows.mapping.reconciled)(state, reason);
        self.with_events(Mend::Reconciled, vec![event], RowOrigin::default())
    }

    pub(super) fn with_events(
        &self,
        mend: Mend,
        events: Vec<A::Event>,
        origin: RowOrigin,
    ) -> Draft<A> {
        let mut state = self.log.state.clone();
        for event in &events {
            state.apply(event);
        }
        let after = (self.rows.mapping.to_row)(&state);
        let versions = events.len() as u64;
        let log = self.log.version.plus(versions);
        let version = self.known().version.plus(versions);
        Draft {
            track: agreed_at(log, version, self.marks(after.as_ref())),
            mend,
            state,
            events,
            after,
            origin,
        }
    }

    /// The row, written or only noted, that agrees with the log.
    fn agreeing(&self, mend: Mend, after: Option<Row>) -> Draft<A> {
        let known = self.known().version;
        let version = if after.as_ref() == self.row() {
            known
        } else {
            known.next()
        };
        let marks = self.marks(after.as_ref());
        let track = agreed_at(self.log.version, version, marks);
        Draft::of_row(mend, self.log.state.clone(), after, track)
    }

    fn unfit(&self, draft: Draft<A>) -> Result<Fitting<A>, RecoveryError> {
        let mend = draft.mend;
        let commit = self.commit(draft)?;
        Ok(Fitting::Unfit(Box::new(Unfit { mend, commit })))
    }

    fn finding(&self, fold: Option<&Row>) -> Finding {
        assess(Seen {
            row: self.row(),
            track: self.loaded.track.as_ref(),
            fold,
            log: self.log.version,
        })
    }

    pub(super) fn row(&self) -> Option<&Row> {
        self.loaded.row.as_ref()
    }

    pub(super) fn known(&self) -> RowTrack {
        self.loaded.track.clone().unwrap_or_else(unmet)
    }

    pub(super) fn table(&self) -> String {
        self.rows.table.name.to_string()
    }

    /// The state that a row says.
    pub(super) fn state_of(&self, row: Option<&Row>) -> Result<A, RecoveryError> {
        let Some(row) = row else {
            return Ok(A::default());
        };
        let readable = self.loaded.readable();
        let state = readable.and_then(|_| (self.rows.mapping.from_row)(row));
        state.map_err(|source| RecoveryError::Unmappable {
            stream: self.stream.clone(),
            table: self.table(),
            source,
        })
    }

    /// The same, with what a row does not tell from the log.
    pub(super) fn kept_state_of(&self, row: Option<&Row>) -> Result<A, RecoveryError> {
        let said = self.state_of(row)?;
        Ok(match row {
            Some(_) => (self.rows.mapping.keeping)(said, &self.log.state),
            None => said,
        })
    }

    /// The fold as the state.
    fn as_folded(&self, track: RowTrack) -> Folded<A> {
        Folded {
            beside: Some(Box::new(Beside {
                row: self.loaded.row.clone().map(Arc::new),
                track,
                log: None,
            })),
            ..self.log.clone()
        }
    }

    /// The row's state.
    fn of_row(&self, state: A, track: &RowTrack) -> Folded<A> {
        Folded {
            state,
            version: track.version,
            position: self.log.position,
            occurred_at: self.log.occurred_at,
            snapshot_version: Version::ZERO,
            beside: Some(Box::new(Beside {
                row: self.loaded.row.clone().map(Arc::new),
                track: track.clone(),
                log: Some(Arc::new(self.log.clone())),
            })),
        }
    }
}

fn reason(changes: &Changes) -> String {
    match changes {
        Changes::All => "made, deleted or not yet met: the row is right".to_owned(),
        Changes::Columns(columns) => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            format!("written by another program: {}", columns.join(", "))
        }
    }
}
