//! What a runtime counts. Each meter is made once, when what it counts is registered, and held by
//! whoever counts: on a command's way there is no look-up and no lock, only additions.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Answer, CommandError, foreign::ForeignMeter, rows::Mend};
use crate::metrics::{Counter, Histogram};

/// How a command ended, as its count is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    Unchanged,
    Replayed,
    Invalid,
    Rejected,
    VersionMismatch,
    ClaimTaken,
    KeyReused,
    WriteConflict,
    Overloaded,
    ShuttingDown,
    StoreUnavailable,
    TimedOut,
    Unknown,
    Unrecoverable,
    Internal,
    /// The caller dropped it.
    Abandoned,
}

impl Outcome {
    /// Each with its label, in the order of the variants.
    pub(super) const ALL: [(Self, &'static str); 17] = [
        (Self::Committed, "committed"),
        (Self::Unchanged, "unchanged"),
        (Self::Replayed, "replayed"),
        (Self::Invalid, "invalid"),
        (Self::Rejected, "rejected"),
        (Self::VersionMismatch, "version-mismatch"),
        (Self::ClaimTaken, "claim-taken"),
        (Self::KeyReused, "idempotency-key-reused"),
        (Self::WriteConflict, "write-conflict"),
        (Self::Overloaded, "overloaded"),
        (Self::ShuttingDown, "shutting-down"),
        (Self::StoreUnavailable, "store-unavailable"),
        (Self::TimedOut, "timed-out"),
        (Self::Unknown, "outcome-unknown"),
        (Self::Unrecoverable, "unrecoverable"),
        (Self::Internal, "internal"),
        (Self::Abandoned, "abandoned"),
    ];

    fn of<R>(answered: &Result<Answer<R>, CommandError>) -> Self {
        match answered {
            Ok(answer) if answer.replayed => Self::Replayed,
            Ok(answer) if !answer.changed => Self::Unchanged,
            Ok(_) => Self::Committed,
            Err(error) => match error {
                CommandError::Invalid(_)
                | CommandError::TooLarge(_)
                | CommandError::InvalidJson(_)
                | CommandError::UnknownType(_)
                | CommandError::UnknownCommand { .. } => Self::Invalid,
                CommandError::Rejected { .. } => Self::Rejected,
                CommandError::VersionMismatch { .. } => Self::VersionMismatch,
                CommandError::ClaimTaken(_) => Self::ClaimTaken,
                CommandError::KeyReused => Self::KeyReused,
                CommandError::WriteConflict => Self::WriteConflict,
                CommandError::Overloaded { .. } => Self::Overloaded,
                CommandError::ShuttingDown => Self::ShuttingDown,
                CommandError::StoreUnavailable => Self::StoreUnavailable,
                CommandError::TimedOutUnhandled => Self::TimedOut,
                CommandError::OutcomeUnknown => Self::Unknown,
                CommandError::Unrecoverable(_) => Self::Unrecoverable,
                CommandError::Internal(_) => Self::Internal,
            },
        }
    }
}

/// The commands of one name and aggregate type.
#[derive(Debug)]
pub(super) struct CommandMeter {
    pub(super) name: &'static str,
    outcomes: [Counter; Outcome::ALL.len()],
    pub(super) duration: Histogram,
}

impl CommandMeter {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            outcomes: Default::default(),
            duration: Histogram::of_durations(),
        }
    }

    /// Counts and times one command, whatever becomes of it; one that is dropped was abandoned.
    pub(super) async fn measured<R>(
        &self,
        command: impl Future<Output = Result<Answer<R>, CommandError>>,
    ) -> Result<Answer<R>, CommandError> {
        let mut measured = Measured {
            meter: self,
            started: Instant::now(),
            outcome: Outcome::Abandoned,
        };
        let answered = command.await;
        measured.outcome = Outcome::of(&answered);
        answered
    }

    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(Counter::get);
        Outcome::ALL.iter().map(|(_, label)| *label).zip(counts)
    }
}

/// A command that is being measured; it is counted when this is dropped.
struct Measured<'a> {
    meter: &'a CommandMeter,
    started: Instant,
    outcome: Outcome,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        self.meter.outcomes[self.outcome as usize].increment();
        self.meter.duration.record_duration(self.started.elapsed());
    }
}

/// Why an aggregate's actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody used it for the idle time.
    Idle,
    /// It made room for others.
    Room,
    /// It has no events: nobody asked for it to exist.
    Absent,
    /// It ended without being asked, by a bug.
    Lost,
    /// Its runtime ended.
    Shutdown,
}

impl Cause {
    /// The labels, in the order of the variants.
    const LABELS: [&'static str; 5] = ["idle", "room", "absent", "lost", "shutdown"];
}

/// Whose earlier commit an own one lost to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another writer had the version.
    Version,
    /// Another aggregate has the unique value.
    Claim,
    /// An earlier command had the idempotency key.
    Key,
    /// Another program had written the row.
    Row,
}

impl Conflict {
    /// The labels, in the order of the variants.
    const LABELS: [&'static str; 4] = ["version", "claim", "key", "row"];
}

/// The aggregates of one type.
#[derive(Debug)]
pub(super) struct KindMeter {
    pub(super) activations: Counter,
    pub(super) activation_failures: Counter,
    pub(super) activation_duration: Histogram,
    passivations: [Counter; Cause::LABELS.len()],
    conflicts: [Counter; Conflict::LABELS.len()],
    mends: [Counter; Mend::LABELS.len()],
    /// Claims that a row would hold and another aggregate does.
    pub(super) unheld_claims: Counter,
}

impl Default for KindMeter {
    fn default() -> Self {
        Self {
            activations: Counter::default(),
            activation_failures: Counter::default(),
            activation_duration: Histogram::of_durations(),
            passivations: Default::default(),
            conflicts: Default::default(),
            mends: Default::default(),
            unheld_claims: Counter::default(),
        }
    }
}

impl KindMeter {
    pub(super) fn passivated(&self, cause: Cause) {
        self.passivations[cause as usize].increment();
    }

    pub(super) fn conflicted(&self, conflict: Conflict) {
        self.conflicts[conflict as usize].increment();
    }

    pub(super) fn mended(&self, mend: Mend) {
        self.mends[mend as usize].increment();
    }

    pub(super) fn mends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.mends.iter().map(Counter::get);
        Mend::LABELS.into_iter().zip(counts)
    }

    pub(super) fn passivations(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.passivations.iter().map(Counter::get);
        Cause::LABELS.into_iter().zip(counts)
    }

    pub(super) fn conflicts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.conflicts.iter().map(Counter::get);
        Conflict::LABELS.into_iter().zip(counts)
    }
}

/// What is written to the store.
#[derive(Debug)]
pub(super) struct NodeMeter {
    pub(super) batch_commits: Histogram,
    pub(super) batch_events: Histogram,
    pub(super) flush_duration: Histogram,
    pub(super) flush_failures: Counter,
    pub(super) snapshots_written: Counter,
    /// Dropped, because too many waited.
    pub(super) snapshots_dropped: Counter,
    /// Refused by the store.
    pub(super) snapshots_refused: Counter,
    /// Of states that could not be serialized.
    pub(super) snapshots_broken: Counter,
    pub(super) foreign: Arc<ForeignMeter>,
}

impl Default for NodeMeter {
    fn default() -> Self {
        Self {
            batch_commits: Histogram::of_sizes(),
            batch_events: Histogram::of_sizes(),
            flush_duration: Histogram::of_durations(),
            flush_failures: Counter::default(),
            snapshots_written: Counter::default(),
            snapshots_dropped: Counter::default(),
            snapshots_refused: Counter::default(),
            snapshots_broken: Counter::default(),
            foreign: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_label() {
        for (index, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }

    #[tokio::test]
    async fn a_command_that_is_dropped_was_abandoned() {
        let meter = CommandMeter::new("do");

        let waiting = meter.measured(std::future::pending::<Result<Answer<()>, _>>());
        drop(tokio::time::timeout(std::time::Duration::from_millis(1), waiting).await);

        let counted: Vec<_> = meter.outcomes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("abandoned", 1)]);
        assert_eq!(meter.duration.count(), 1);
    }
}
