//! A state and where in its history it stands.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};

use super::{RecoveryError, rows::Beside};
use crate::{
    domain::{Aggregate, EventCodec, Position, SnapshotShape as _, StreamId, Version},
    store::{RecordedEvent, StoredSnapshot},
};

/// The fold of an aggregate's events up to a version.
#[derive(Debug, Clone)]
pub(super) struct Folded<A> {
    pub(super) state: A,
    pub(super) version: Version,
    /// The position of the last event; zero where there is none.
    pub(super) position: Position,
    /// The time of the last event: times never go back within an aggregate.
    pub(super) occurred_at: DateTime<Utc>,
    /// The version of its newest snapshot that fits; zero where there is none.
    pub(super) snapshot_version: Version,
    /// What stands beside it, where its type has rows.
    pub(super) beside: Option<Box<Beside<A>>>,
}

impl<A: Aggregate> Default for Folded<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            version: Version::ZERO,
            position: Position::ZERO,
            occurred_at: DateTime::UNIX_EPOCH,
            snapshot_version: Version::ZERO,
            beside: None,
        }
    }
}

impl<A: Aggregate> Folded<A> {
    /// The state in a snapshot, unless it does not fit.
    pub(super) fn from_snapshot(snapshot: &StoredSnapshot) -> Option<Self> {
        Some(Self {
            state: A::from_snapshot(&snapshot.data, &snapshot.fingerprint)?,
            version: snapshot.version,
            position: snapshot.position,
            occurred_at: snapshot.occurred_at,
            snapshot_version: snapshot.version,
            beside: None,
        })
    }

    /// Whether it is the fold of anything.
    pub(super) fn has_events(&self) -> bool {
        self.version > Version::ZERO
    }

    /// The same state for whoever asked for it, without what stands beside it.
    pub(super) fn shown(&self) -> Self {
        Self {
            state: self.state.clone(),
            beside: None,
            ..*self
        }
    }

    /// Folds one stored event.
    pub(super) fn fold(
        &mut self,
        stream: &StreamId,
        codec: &EventCodec<A::Event>,
        recorded: &RecordedEvent,
    ) -> Result<(), RecoveryError> {
        let (version, position) = (recorded.version, recorded.position);
        if version != self.version.next() {
            return Err(RecoveryError::VersionGap {
                stream: stream.clone(),
                expected: self.version.next(),
                found: version,
                position,
            });
        }
        let event = codec
            .decode(
                &recorded.event_type,
                recorded.schema_version,
                &recorded.data,
            )
            .map_err(|source| RecoveryError::Undecodable {
                stream: stream.clone(),
                version,
                position,
                source,
            })?;
        // The state is given up where this panics: the caller starts from the store again.
        catch_unwind(AssertUnwindSafe(|| self.state.apply(&event))).map_err(|_| {
            RecoveryError::ApplyPanicked {
                stream: stream.clone(),
                version,
                position,
            }
        })?;
        self.stand_at(version, position, recorded.occurred_at);
        Ok(())
    }

    /// Notes where the state stands now.
    pub(super) fn stand_at(
        &mut self,
        version: Version,
        position: Position,
        occurred_at: DateTime<Utc>,
    ) {
        self.version = version;
        self.position = position;
        self.occurred_at = self.occurred_at.max(occurred_at);
    }
}
