//! What no row tells (the permissions of a role), and when it ends.
//!
//! The log knows it, and where rows alone are kept, the log stands still: another program may delete
//! the row and make it anew meanwhile, and then it is another thing of the same name. So the track
//! remembers that a row was gone, and who made the one that is there; what was known of the life
//! before is never shown for the one after it.

use serde_json::value::RawValue;

use super::{
    change::state_without_row,
    fitting::Met,
    mend::{Draft, Mend},
};
use crate::{
    domain::{Aggregate, Row, RowMarks, RowOrigin, ended_life, state_anew, state_when_gone},
    runtime::RecoveryError,
    store::RowTrack,
};

impl<A: Aggregate> Met<'_, A> {
    /// Somebody else wrote the row, where it alone is kept: that is the next version, unless it says
    /// what it said.
    pub(super) fn noting(&self, track: &RowTrack) -> Result<Draft<A>, RecoveryError> {
        let row = self.row();
        let state = self.told_state(track)?;
        let is_same = is_as_marked(track, row)
            && json(&state) == json(&self.state_beside(track.rowless.as_deref())?);
        let rowless = match row {
            None => self.without_row(&A::default())?,
            Some(_) if self.is_another(track) => self.without_row(&A::default())?,
            Some(_) => track.rowless.clone(),
        };
        let track = RowTrack {
            version: track.version.plus(u64::from(!is_same)),
            marks: self.marks(row),
            rowless,
            ..track.clone()
        };
        Ok(Draft::of_row(Mend::Noted, state, row.cloned(), track))
    }

    /// What the log must hear first, whatever else is to be told: what was done while rows alone were
    /// kept, and that another row stands in the place of the one it knows.
    pub(super) fn told_by_track(&self) -> Result<Option<Draft<A>>, RecoveryError> {
        let track = self.loaded.track.as_ref();
        let Some(track) = track.filter(|track| track.log_version == self.log.version) else {
            return Ok(None);
        };
        let gone = track.rowless.as_deref();
        if self.row().is_some() {
            let now = RowMarks::default().made(&self.origin());
            let ended = ended_life(track.marks.as_ref(), gone, &now);
            return ended.map_or(Ok(None), |ended| self.coming_back(&ended));
        }
        let Some(gone) = gone.map(state_when_gone::<A>) else {
            return Ok(None);
        };
        let is_told = json(&gone) == json(&self.log.state) || !is_as_marked(track, None);
        Ok((!is_told).then(|| self.telling(&gone, "changed while rows alone were kept")))
    }

    /// The row went and came back: what no row tells is not that of the life before.
    fn coming_back(&self, gone: &A) -> Result<Option<Draft<A>>, RecoveryError> {
        let said = self.state_of(self.row())?;
        let lives = (gone, &self.log.state);
        let Some(anew) = state_anew(self.rows.mapping.keeping, said, lives) else {
            return Ok(None);
        };
        let tell = self.rows.mapping.reconciled;
        let events = vec![
            tell(gone, "the row was gone"),
            tell(&anew, "another row was made in its place"),
        ];
        let origin = RowOrigin::default();
        Ok(Some(self.with_events(Mend::Reconciled, events, origin)))
    }

    /// The state of a row beside a track of this log: what it does not tell is the log's, or, where
    /// it was gone since, that of when it was.
    pub(super) fn told_state(&self, track: &RowTrack) -> Result<A, RecoveryError> {
        if self.is_another(track) {
            let said = self.state_of(self.row())?;
            return Ok((self.rows.mapping.keeping)(said, &A::default()));
        }
        match (self.row(), is_as_marked(track, None)) {
            // It is gone since.
            (None, false) => Ok(A::default()),
            (Some(_), _) | (None, true) => self.state_beside(track.rowless.as_deref()),
        }
    }

    /// The same, with what stands in the track of when it was gone.
    fn state_beside(&self, gone: Option<&RawValue>) -> Result<A, RecoveryError> {
        let gone = gone.map(state_when_gone);
        match (self.row(), gone) {
            (Some(row), Some(gone)) => {
                let said = self.state_of(Some(row))?;
                Ok((self.rows.mapping.keeping)(said, &gone))
            }
            (None, Some(gone)) => Ok(gone),
            (row, None) => self.kept_state_of(row),
        }
    }

    /// Whether another row than the one that was met stands in its place.
    fn is_another(&self, track: &RowTrack) -> bool {
        let met = track.marks.as_ref().filter(|_| self.row().is_some());
        met.is_some_and(|met| met.is_of_another(&RowMarks::default().made(&self.origin())))
    }

    /// Whether it is not noted yet who made the row. That is worth a write where something hangs on
    /// it: what no row tells, or a note of another maker.
    pub(super) fn has_maker_to_note(&self) -> Result<bool, RecoveryError> {
        let Some(track) = self.loaded.track.as_ref().filter(|_| self.row().is_some()) else {
            return Ok(false);
        };
        let now = RowMarks::default().made(&self.origin());
        let noted = track.marks.as_ref().and_then(RowMarks::maker);
        if now.maker().is_none() || now.maker() == noted {
            return Ok(false);
        }
        if noted.is_some() {
            return Ok(true);
        }
        let said = self.state_of(self.row())?;
        let whole = self.state_beside(track.rowless.as_deref())?;
        Ok(json(&said) != json(&whole))
    }

    /// The marks of a row that takes the place of the one that is there.
    pub(super) fn marks(&self, row: Option<&Row>) -> Option<RowMarks> {
        row.map(|row| RowMarks::of(row).made(&self.origin()))
    }

    /// Who made the row that is there.
    fn origin(&self) -> RowOrigin {
        match self.row() {
            Some(_) => (self.rows.mapping.origin)(&self.loaded.stamps),
            None => RowOrigin::default(),
        }
    }

    /// What stands in the track of a state without a row.
    pub(super) fn without_row(&self, state: &A) -> Result<Option<Box<RawValue>>, RecoveryError> {
        let had_a_life = self.log.has_events() || self.known().rowless.is_some();
        let told = state_without_row(state, had_a_life);
        told.map_err(|source| self.unserializable(&source))
    }
}

/// Whether a row is as it was last written or met.
pub(super) fn is_as_marked(track: &RowTrack, row: Option<&Row>) -> bool {
    match (&track.marks, row) {
        (None, None) => true,
        (Some(marks), Some(row)) => marks.changed(&RowMarks::of(row)).is_empty(),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn json<A: Aggregate>(state: &A) -> String {
    serde_json::to_string(state).unwrap_or_default()
}
