//! Events that other programs have stored without a position, and what came of numbering them.

use crate::domain::Position;

/// What one look for unnumbered events found.
#[derive(Debug, Clone, Default)]
pub struct Numbering {
    /// How many events got a position.
    pub numbered: u64,
    /// The last position that was given, if any was.
    pub last: Option<Position>,
    /// The events that were met and cannot get one as they are.
    pub refused: Vec<RefusedEvent>,
    /// Whether there are more to look at: the next call goes on behind this one.
    pub more: bool,
}

/// An event of another program that has no position, and why. It is no part of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefusedEvent {
    /// Its id, which may be anything.
    pub id: String,
    /// Its aggregate, as type and id, which may be anything.
    pub aggregate: (String, String),
    /// Its version.
    pub version: i64,
    /// What keeps it from getting a position.
    pub obstacle: String,
}

impl std::fmt::Display for RefusedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What another program wrote is quoted, so that it cannot pass for a line of the log.
        let (aggregate_type, aggregate_id) = &self.aggregate;
        write!(
            f,
            "event {:?} of {aggregate_type:?} {aggregate_id:?} at version {}: {}",
            self.id, self.version, self.obstacle
        )
    }
}
