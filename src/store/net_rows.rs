//! What the commits of one statement do to each row, as one change: a row is written once, however
//! many commits of its aggregate are in the batch.

use std::collections::{BTreeSet, HashMap};

use super::{Commit, RowChange, RowTrack, VersionedBy, row_text::is_carried};
use crate::domain::{Row, RowValue, StateTable, StreamId, Version};

/// What becomes of one row and its track.
#[derive(Debug)]
pub(super) struct NetChange<'a> {
    /// The aggregate.
    pub(super) stream: &'a StreamId,
    /// The table.
    pub(super) table: &'a StateTable,
    /// The row that the first commit was decided on.
    pub(super) before: Option<&'a Row>,
    /// The row after the last commit.
    pub(super) after: Option<&'a Row>,
    /// The stamps to write with the row, in the order of their names.
    pub(super) stamps: Vec<(&'static str, &'a RowValue)>,
    /// The track after the last commit.
    pub(super) track: &'a RowTrack,
    /// Whether the last commit's event tells all of it.
    pub(super) is_carried: bool,
    /// Where the track has to be, where it is what versions the aggregate.
    pub(super) expected: Option<Version>,
}

/// What is to be done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Write {
    /// Nothing: it has to be absent.
    Absent,
    /// Nothing: it has to be as it was decided on.
    Keep,
    /// It is made.
    Insert,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
}

/// The changes of the rows that some commits write, in the order of the first of each. The commits
/// are such as [`one_statement`](super::admission::one_statement) allows.
pub(super) fn net_changes<'a>(commits: &[&'a Commit]) -> Vec<NetChange<'a>> {
    let mut places: HashMap<&StreamId, usize> = HashMap::new();
    let mut changes: Vec<NetChange<'a>> = Vec::new();
    for commit in commits {
        let Some(change) = &commit.row else { continue };
        let place = *places.entry(&commit.stream).or_insert_with(|| {
            changes.push(NetChange::before(commit, change));
            changes.len() - 1
        });
        changes[place].add(commit, change);
    }
    changes
}

impl<'a> NetChange<'a> {
    /// No change yet, before the first.
    fn before(commit: &'a Commit, first: &'a RowChange) -> Self {
        Self {
            stream: &commit.stream,
            table: &first.table,
            before: first.before.as_ref(),
            after: first.before.as_ref(),
            stamps: Vec::new(),
            track: &first.track,
            is_carried: false,
            expected: (first.versioned_by == VersionedBy::Track).then_some(commit.expected),
        }
    }

    fn add(&mut self, commit: &Commit, change: &'a RowChange) {
        self.track = &change.track;
        self.is_carried = is_carried(commit);
        if change.before == change.after {
            return;
        }
        match (&change.before, &change.after) {
            (None, _) => self.stamps = change.on_insert.iter().map(borrowed).collect(),
            (_, None) => self.stamps.clear(),
            (Some(_), Some(_)) => {
                for (name, value) in &change.on_update {
                    self.stamps.retain(|(stamp, _)| stamp != name);
                    self.stamps.push((name, value));
                }
            }
        }
        self.stamps.sort_by_key(|(name, _)| *name);
        self.after = change.after.as_ref();
    }

    /// What is to be done to the row.
    pub(super) fn write(&self) -> Write {
        match (self.before, self.after) {
            (None, None) => Write::Absent,
            (None, Some(_)) => Write::Insert,
            (Some(_), None) => Write::Delete,
            // Changed and changed back it was written all the same, as its stamps tell.
            (Some(before), Some(after)) if before == after && self.stamps.is_empty() => Write::Keep,
            (Some(_), Some(_)) => Write::Update,
        }
    }

    /// The members of a link table that go.
    pub(super) fn links_lost(&self, link: &str) -> impl Iterator<Item = &'a str> {
        difference(members(self.before, link), members(self.after, link))
    }

    /// The members of a link table that come.
    pub(super) fn links_gained(&self, link: &str) -> impl Iterator<Item = &'a str> {
        difference(members(self.after, link), members(self.before, link))
    }
}

fn borrowed<'a>((name, value): &'a (&'static str, RowValue)) -> (&'static str, &'a RowValue) {
    (name, value)
}

/// The members of a link table that a row has.
pub(super) fn members<'a>(row: Option<&'a Row>, link: &str) -> Option<&'a BTreeSet<String>> {
    row.and_then(|row| row.links.get(link))
}

fn difference<'a>(
    of: Option<&'a BTreeSet<String>>,
    without: Option<&'a BTreeSet<String>>,
) -> impl Iterator<Item = &'a str> {
    let missing = move |member: &&String| without.is_none_or(|without| !without.contains(*member));
    of.into_iter().flatten().filter(missing).map(String::as_str)
}
