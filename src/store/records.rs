//! What goes into a store and what comes out.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use ulid::Ulid;

use super::{RowChange, VersionedBy};
use crate::domain::{
    AggregateId, CausationId, Claim, CorrelationId, CreatedBy, EventId, Fingerprint,
    IdempotencyKey, Position, StreamId, Version,
};

/// All that one command stores: its events, claims and receipt; whole or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The stream it appends to.
    pub stream: StreamId,
    /// The stream's version before it, or the track's ([`RowChange::versioned_by`]); it loses where
    /// that is another.
    pub expected: Version,
    /// The events, at versions `expected + 1` and on. May be empty where there is a receipt.
    pub events: Vec<NewEvent>,
    /// The time of its events, in whole microseconds.
    pub occurred_at: DateTime<Utc>,
    /// Who sent the command.
    pub created_by: Option<CreatedBy>,
    /// The correlation of its events.
    pub correlation_id: CorrelationId,
    /// What caused the command.
    pub causation_id: Option<CausationId>,
    /// Unique values the aggregate gives up; they are freed before any is taken.
    pub frees: Vec<Claim>,
    /// Unique values the aggregate takes; it loses where another holds one.
    pub takes: Vec<Claim>,
    /// The receipt of a keyed command; it loses where the stream has one under the key.
    pub receipt: Option<NewReceipt>,
    /// What it does to the aggregate's row, where its type has a state table. Boxed, because most
    /// types have none.
    pub row: Option<Box<RowChange>>,
}

impl Commit {
    /// The version after it, of the stream or of the track, as it is versioned.
    #[must_use]
    pub fn version_after(&self) -> Version {
        match &self.row {
            Some(row) if row.versioned_by == VersionedBy::Track => row.track.version,
            Some(_) | None => self.expected.plus(self.events.len() as u64),
        }
    }

    /// What its `expected` is compared with.
    #[must_use]
    pub fn versioned_by(&self) -> VersionedBy {
        let row = self.row.as_ref();
        row.map_or(VersionedBy::Log, |row| row.versioned_by)
    }

    /// About how many bytes it adds to a batch.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        // 200 bytes stand for the columns beside the data.
        self.events
            .iter()
            .map(|event| event.data.get().len() + 200)
            .sum::<usize>()
            + 200
    }
}

/// An event that is to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its identity.
    pub id: EventId,
    /// Its type.
    pub event_type: Cow<'static, str>,
    /// The schema version of its data.
    pub schema_version: u32,
    /// Its data.
    pub data: Box<RawValue>,
}

/// The receipt that is to be stored with a commit.
#[derive(Debug, Clone)]
pub struct NewReceipt {
    /// Its identity: a commit without events is known by it when it is appended again.
    pub id: Ulid,
    /// The caller's key.
    pub key: IdempotencyKey,
    /// A hash of the command's name and body.
    pub command_hash: [u8; 32],
    /// The reply, where the command has one.
    pub reply: Option<Box<RawValue>>,
}

/// What a keyed command answered.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Its identity.
    pub id: Ulid,
    /// A hash of the command's name and body.
    pub command_hash: [u8; 32],
    /// The version of its first event, or that of the next event where it had none.
    pub first_version: Version,
    /// How many events it stored; with [`Self::WITHOUT_EVENTS`] in it, how many versions it led on
    /// where rows alone are kept.
    pub event_count: u32,
    /// The reply, where the command had one.
    pub reply: Option<Box<RawValue>>,
    /// The correlation it answered.
    pub correlation_id: CorrelationId,
}

impl Receipt {
    /// A bit of [`Self::event_count`]: its versions have no events. It is one that no count reaches
    /// and that SQL's signed integer holds.
    pub const WITHOUT_EVENTS: u32 = 1 << 30;

    /// The receipt of a commit, as it reads once the commit is stored.
    #[must_use]
    pub fn of(commit: &Commit, receipt: &NewReceipt) -> Self {
        let versions = commit.version_after().get() - commit.expected.get();
        let versions = u32::try_from(versions).unwrap_or(Self::WITHOUT_EVENTS - 1);
        let flag = match commit.versioned_by() {
            VersionedBy::Log => 0,
            VersionedBy::Track => Self::WITHOUT_EVENTS,
        };
        Self {
            id: receipt.id,
            command_hash: receipt.command_hash,
            first_version: commit.expected.next(),
            event_count: versions | flag,
            reply: receipt.reply.clone(),
            correlation_id: commit.correlation_id,
        }
    }

    /// The aggregate's version after the command, among the versions that were its own then.
    #[must_use]
    pub fn version_after(&self) -> Version {
        Version::new(self.first_version.get() - 1 + u64::from(self.versions()))
    }

    /// How many versions the command led on.
    #[must_use]
    pub const fn versions(&self) -> u32 {
        self.event_count & !Self::WITHOUT_EVENTS
    }

    /// Whether each of its versions is an event in the log.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        self.event_count & Self::WITHOUT_EVENTS == 0
    }
}

/// What became of a commit.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is stored, durable and visible.
    Committed {
        /// The position of its first event, the others follow; zero where it has none.
        first_position: Position,
    },
    /// It left nothing.
    Lost(Loss),
}

/// Why a commit lost.
#[derive(Debug, Clone)]
pub enum Loss {
    /// The stream is at another version.
    Version {
        /// The version it is at.
        current: Version,
    },
    /// Another aggregate holds a unique value.
    Claim {
        /// The value.
        claim: Claim,
        /// Who holds it.
        holder: AggregateId,
    },
    /// The stream has a receipt under the key.
    Key(Box<Receipt>),
    /// Somebody else has written, made or deleted the aggregate's row.
    Row,
    /// A unique index of the state table refuses the row.
    Refused {
        /// The column, and the value that another row has; the value is empty where it is a secret.
        claim: Claim,
    },
    /// A program that is not dormouse has stored what is in the way, in a transaction that is
    /// open still: the commit may succeed, or lose, once that ends.
    Contested,
}

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// Its identity.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its type.
    pub event_type: String,
    /// The schema version of its data.
    pub schema_version: u32,
    /// Its data, secrets and all.
    pub data: Box<RawValue>,
    /// Its number in the stream.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Who sent its command.
    pub created_by: Option<CreatedBy>,
    /// Its correlation.
    pub correlation_id: CorrelationId,
    /// What caused its command.
    pub causation_id: Option<CausationId>,
}

/// A stream to recover.
#[derive(Debug, Clone)]
pub struct RecoveryRequest {
    /// Which.
    pub stream: StreamId,
    /// Snapshots with another fingerprint are passed over; none is read where there is none.
    pub fingerprint: Option<Fingerprint>,
    /// What is known already: only events after this version are read.
    pub after: Version,
}

/// What a stream is recovered from.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The newest snapshot that fits, if any.
    pub snapshot: Option<StoredSnapshot>,
    /// The first page of events after it.
    pub events: Vec<RecordedEvent>,
    /// Whether events were left out that another program has stored and that have no position yet.
    pub is_cut: bool,
}

/// A state at a version.
#[derive(Debug, Clone)]
pub struct StoredSnapshot {
    /// Its identity.
    pub id: Ulid,
    /// The stream.
    pub stream: StreamId,
    /// The version of the last event in it.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// The time of that event.
    pub occurred_at: DateTime<Utc>,
    /// What the state must fit.
    pub fingerprint: Fingerprint,
    /// The serialized state, secrets and all.
    pub data: Box<RawValue>,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
}

/// Which snapshots of a stream stay when further ones are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotRetention {
    /// So many of the newest, from which the aggregate is recovered.
    pub newest: u32,
    /// And of each span of so many versions the first, for states as they were; only those with
    /// the fingerprint of the snapshot just saved. Zero keeps none.
    pub history_every: u32,
}

impl SnapshotRetention {
    /// The newest ones alone.
    #[must_use]
    pub const fn newest(newest: u32) -> Self {
        Self {
            newest,
            history_every: 0,
        }
    }
}

/// One aggregate in the list of its type's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateHead {
    /// Its id.
    pub aggregate_id: AggregateId,
    /// The version of its last event.
    pub version: Version,
    /// The time of that event.
    pub updated_at: DateTime<Utc>,
}
