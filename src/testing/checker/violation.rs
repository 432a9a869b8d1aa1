//! What can be wrong, each by its name.

use super::Token;
use crate::domain::{EventId, IdempotencyKey, Position, StreamId, Version};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A position is missing from the log, or is there twice.
    #[error("position {found} follows {after}")]
    PositionGap {
        /// The position before.
        after: Position,
        /// The position found.
        found: Position,
    },
    /// The store's last position is not that of the log's last event.
    #[error("the store says its last position is {head}, the log ends at {last}")]
    HeadDiffers {
        /// What the store says.
        head: Position,
        /// Where the log ends.
        last: Position,
    },
    /// A version is missing from a stream, or is there twice.
    #[error("{stream}: version {found} follows {after}")]
    VersionGap {
        /// The stream.
        stream: StreamId,
        /// The version before.
        after: Version,
        /// The version found.
        found: Version,
    },
    /// An event is in the log twice.
    #[error("the event {id} is there again at position {position}")]
    IdTwice {
        /// Its id.
        id: EventId,
        /// The second place.
        position: Position,
    },
    /// An acknowledged command is not stored.
    #[error("`{token}` was acknowledged and is not stored")]
    Lost {
        /// The command.
        token: Token,
    },
    /// A command had more than one effect.
    #[error("`{token}` is stored with {stored} events, it has {told}")]
    Doubled {
        /// The command.
        token: Token,
        /// How many of its events are stored.
        stored: usize,
        /// How many it has.
        told: usize,
    },
    /// A command is stored in part, or its events are not next to each other.
    #[error("the events of `{token}` are not whole and adjacent")]
    Torn {
        /// The command.
        token: Token,
    },
    /// An event is stored that nobody sent.
    #[error("the event at position {position} is of no command that was sent")]
    Invented {
        /// Its place.
        position: Position,
    },
    /// A command is stored though each of its callers was told that nothing was.
    #[error("`{token}` was refused and is stored")]
    RefusedButStored {
        /// The command.
        token: Token,
    },
    /// A command is not stored where its caller was told.
    #[error(
        "`{token}` was told to be at version {told}, it is at {stored}, or its positions or ids differ"
    )]
    Misplaced {
        /// The command.
        token: Token,
        /// The last version that was told.
        told: Version,
        /// The last version that is stored.
        stored: Version,
    },
    /// Two tries of a command were told different things.
    #[error("two tries of `{token}` were answered differently")]
    AnswersDiffer {
        /// The command.
        token: Token,
    },
    /// Two tries of a command were both told to be the first.
    #[error("two tries of `{token}` were both handled")]
    HandledTwice {
        /// The command.
        token: Token,
    },
    /// A command that had succeeded under its key was decided again.
    #[error("`{token}` had succeeded under its key and was then refused")]
    ReceiptForgotten {
        /// The command.
        token: Token,
    },
    /// The receipt that is stored is not what the command did, or is missing.
    #[error("the receipt of `{token}` under `{key}` does not fit what is stored")]
    ReceiptDiffers {
        /// The command.
        token: Token,
        /// Its key.
        key: IdempotencyKey,
    },
    /// A command was stored before something that had been answered when it was sent.
    #[error("`{token}` was sent when version {known} was known, and is stored at {stored}")]
    OutOfOrder {
        /// The command.
        token: Token,
        /// What was known.
        known: Version,
        /// The version of its first event.
        stored: Version,
    },
    /// Somebody was shown a state older than one that was known when they asked.
    #[error("{stream}: version {seen} was shown to one who asked when {known} was known")]
    Stale {
        /// The stream.
        stream: StreamId,
        /// The version shown.
        seen: Version,
        /// The version known.
        known: Version,
    },
    /// Somebody was shown a version that was never stored.
    #[error("{stream}: version {seen} was shown and is not stored")]
    NotStored {
        /// The stream.
        stream: StreamId,
        /// The version shown.
        seen: Version,
    },
    /// Somebody was shown a version before its command had been sent.
    #[error("{stream}: version {seen} was shown before its command was sent")]
    BeforeItsTime {
        /// The stream.
        stream: StreamId,
        /// The version shown.
        seen: Version,
    },
    /// The state that was shown is not the fold of the events up to its version.
    #[error(
        "{stream}: the state shown at version {version} is {seen}, the events fold to {folded}"
    )]
    WrongState {
        /// The stream.
        stream: StreamId,
        /// The version.
        version: Version,
        /// The state shown.
        seen: String,
        /// The state that the events make.
        folded: String,
    },
    /// A row is of another version than the stream's last, or is missing.
    #[error("{stream}: the row is at version {row}, the stream at {stored}")]
    RowBehind {
        /// The stream.
        stream: StreamId,
        /// The row's version.
        row: Version,
        /// The stream's.
        stored: Version,
    },
    /// A subscriber did not see an event.
    #[error("`{subscriber}` did not see position {position}")]
    Skipped {
        /// Who.
        subscriber: String,
        /// Which.
        position: Position,
    },
    /// A subscriber saw an event again, or later than one after it.
    #[error("`{subscriber}` saw position {position} again or out of order")]
    Repeated {
        /// Who.
        subscriber: String,
        /// Which.
        position: Position,
    },
    /// A subscriber saw another event than the log has at this position.
    #[error("`{subscriber}` saw at position {position} what the log does not hold there")]
    Other {
        /// Who.
        subscriber: String,
        /// Where.
        position: Position,
    },
    /// The history itself cannot be: a call was ended twice, or a token was used for two commands.
    #[error("the history is no history: {what}")]
    Unsound {
        /// What is wrong with it.
        what: String,
    },
}

/// Where more than this many are found, the rest is not told: one bug breaks many promises.
const MOST: usize = 100;

/// The violations found so far.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    pub(super) fn add(&mut self, violation: Violation) {
        if self.0.len() < MOST {
            self.0.push(violation);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}
