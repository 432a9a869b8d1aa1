//! Whether an aggregate may be decided on and shown as it was read, and what is to be done first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    Beside, Rows,
    assess::{Changes, Finding, Seen, assess, merged},
    change::{agreed_at, beyond_row},
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
        if let Some(draft) = self.told_by_track() {
            return self.unfit(draft);
        }
        let row = self.row();
        let draft = match self.finding(fold.as_ref()) {
            Finding::Absent => return Ok(Fitting::Fits(self.as_folded(unmet()))),
            Finding::Agrees { noted: true } => {
                return Ok(Fitting::Fits(self.as_folded(self.known())));
            }
            Finding::ReadTooEarly => return Ok(Fitting::ReadAgain),
            Finding::Agrees { noted: false } => self.agreeing(Mend::Noted, row.cloned()),
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
            if is_as_marked(track, row) {
                return Ok(Fitting::Fits(self.of_row(self.told_state(track)?, track)));
            }
            return self.unfit(self.noting_change(track)?);
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
        let rowless = beyond_row(&state, after.as_ref());
        let track = RowTrack {
            version,
            log_version: log,
            marks: after.as_ref().map(RowMarks::of),
            agreed: fold.as_ref().map(RowMarks::of),
            rowless: rowless.map_err(|source| self.unserializable(&source))?,
        };
        self.unfit(Draft::of_row(mend, state, after, track))
    }

    /// Somebody else wrote the row, where it alone is kept: that is the next version.
    fn noting_change(&self, track: &RowTrack) -> Result<Draft<A>, RecoveryError> {
        let row = self.row();
        let track = RowTrack {
            version: track.version.next(),
            marks: row.map(RowMarks::of),
            rowless: None,
            ..track.clone()
        };
        Ok(Draft::of_row(
            Mend::Noted,
            self.kept_state_of(row)?,
            row.cloned(),
            track,
        ))
    }

    /// A state without a row that is in the track and in no event: what was done while rows alone
    /// were kept.
    fn told_by_track(&self) -> Option<Draft<A>> {
        let track = self.loaded.track.as_ref()?;
        let is_newest = track.log_version == self.log.version && is_as_marked(track, self.row());
        let state = self.rowless_state(track).filter(|_| is_newest)?;
        let json = |state: &A| serde_json::to_string(state).unwrap_or_default();
        let is_known = json(&state) == json(&self.log.state);
        (!is_known).then(|| self.telling(&state, "changed while rows alone were kept"))
    }

    /// The first event of a row.
    fn adopting(&self, state: &A) -> Draft<A> {
        let event = (self.rows.mapping.adopted)(state);
        let origin = (self.rows.mapping.origin)(&self.loaded.stamps);
        self.with_event(Mend::Adopted, event, origin)
    }

    /// An event that tells the log what somebody else wrote.
    fn telling(&self, state: &A, reason: &str) -> Draft<A> {
        let event = (self.rows.mapping.reconciled)(state, reason);
        self.with_event(Mend::Reconciled, event, RowOrigin::default())
    }

    fn with_event(&self, mend: Mend, event: A::Event, origin: RowOrigin) -> Draft<A> {
        let mut state = self.log.state.clone();
        state.apply(&event);
        let after = (self.rows.mapping.to_row)(&state);
        let log = self.log.version.next();
        Draft {
            track: agreed_at(log, self.known().version.next(), after.as_ref()),
            mend,
            state,
            events: vec![event],
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
        let track = agreed_at(self.log.version, version, after.as_ref());
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
    fn state_of(&self, row: Option<&Row>) -> Result<A, RecoveryError> {
        let Some(row) = row else {
            return Ok(A::default());
        };
        (self.rows.mapping.from_row)(row).map_err(|source| RecoveryError::Unmappable {
            stream: self.stream.clone(),
            table: self.table(),
            source,
        })
    }

    /// The same, with what a row does not tell from the log.
    fn kept_state_of(&self, row: Option<&Row>) -> Result<A, RecoveryError> {
        let said = self.state_of(row)?;
        Ok(match row {
            Some(_) => (self.rows.mapping.keeping)(said, &self.log.state),
            None => said,
        })
    }

    /// The state of a row that is as its track says.
    fn told_state(&self, track: &RowTrack) -> Result<A, RecoveryError> {
        match self.rowless_state(track) {
            Some(state) => Ok(state),
            None => self.kept_state_of(self.row()),
        }
    }

    /// The state in the track of an aggregate that has no row.
    fn rowless_state(&self, track: &RowTrack) -> Option<A> {
        let told = track.rowless.as_ref().filter(|_| self.row().is_none())?;
        let state = serde_json::from_str(told.get()).map_err(|error| {
            tracing::warn!(
                stream = %self.stream, %error,
                "a state that has no row does not fit this program and is ignored"
            );
        });
        state.ok()
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

/// Whether a row is as it was last written or met.
fn is_as_marked(track: &RowTrack, row: Option<&Row>) -> bool {
    match (&track.marks, row) {
        (None, None) => true,
        (Some(marks), Some(row)) => marks.changed(&RowMarks::of(row)).is_empty(),
        (None, Some(_)) | (Some(_), None) => false,
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
