//! Which commits of a batch may be stored, given what the store holds: one pure rule for every adapter.
//!
//! The SQL adapters first try a whole batch in one statement and let the unique indexes object;
//! only then do they look up the [`Facts`] and ask [`admit`]. The memory store asks always.

use std::collections::{HashMap, HashSet};

use ulid::Ulid;

use super::{Commit, Loss, Receipt, RowChange, VersionedBy};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, IdempotencyKey, Position, Row, StreamId, Version,
};

/// A unique value among the aggregates of a type.
pub type ClaimKey = (AggregateType, Claim);
/// A caller's key on a stream.
pub type ReceiptKey = (StreamId, IdempotencyKey);

/// What a store holds of all that a batch touches.
#[derive(Debug, Default)]
pub struct Facts {
    /// The version of each stream; zero where it is absent.
    pub versions: HashMap<StreamId, Version>,
    /// The events of the batch that are stored already, with their positions.
    pub stored: HashMap<EventId, Position>,
    /// Who holds each claim.
    pub holders: HashMap<ClaimKey, AggregateId>,
    /// The receipts under the batch's keys.
    pub receipts: HashMap<ReceiptKey, Receipt>,
    /// The version of each track that a commit is versioned by; zero where it is absent.
    pub tracks: HashMap<StreamId, Version>,
    /// The commits, by their place in the batch, whose rows are not what they were decided on.
    pub other_rows: HashSet<usize>,
}

/// What to do with a commit.
#[derive(Debug)]
pub enum Admission {
    /// Nothing objects: store it.
    Store,
    /// It is stored already: an earlier append's answer was lost.
    Stored {
        /// The position of its first event; zero where it has none.
        first_position: Position,
    },
    /// It lost.
    Lost(Loss),
}

/// Judges the commits in their order, each as if those admitted before it were stored.
///
/// A commit that is stored already is known first, then one that follows a loser loses with
/// it, then its key is looked at, then its version, then its row, then its claims: a retried
/// command is answered from its receipt whatever has happened since.
#[must_use]
pub fn admit(batch: &[&Commit], facts: Facts) -> Vec<Admission> {
    let judged = admit_first(batch.len(), batch, facts, None);
    judged.into_iter().flatten().collect()
}

/// Judges the first `count` commits, and of the others those that lose with one of them. A refusal
/// is what the first that nothing else objects to loses with.
pub(super) fn admit_first(
    count: usize,
    batch: &[&Commit],
    facts: Facts,
    mut refusal: Option<Loss>,
) -> Vec<Option<Admission>> {
    let mut judge = Judge::new(facts);
    let judged = batch.iter().enumerate().map(|(index, commit)| {
        if index < count {
            Some(judge.admit(commit, |_| refusal.take()))
        } else {
            judge.known(commit)
        }
    });
    judged.collect()
}

/// Judges commits one after another.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    facts: Facts,
    losers: Losers<'a>,
    /// The rows of those that were admitted, as they are from then on.
    rows: HashMap<&'a StreamId, Option<&'a Row>>,
    /// How many were judged.
    judged: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            facts,
            losers: Losers::default(),
            rows: HashMap::new(),
            judged: 0,
        }
    }

    /// Judges the next commit; `refusal` is asked last, of one that nothing else objects to.
    pub(super) fn admit(
        &mut self,
        commit: &'a Commit,
        refusal: impl FnOnce(&Commit) -> Option<Loss>,
    ) -> Admission {
        if let Some(known) = self.known(commit) {
            return known;
        }
        let loss = self.objection(commit).or_else(|| refusal(commit));
        self.losers.note(commit, loss.is_some());
        if let Some(loss) = loss {
            return Admission::Lost(loss);
        }
        self.take_effect(commit);
        Admission::Store
    }

    /// The verdict on a commit that is stored already, or that follows one that lost.
    fn known(&mut self, commit: &'a Commit) -> Option<Admission> {
        self.judged += 1;
        let known = if let Some(first_position) = stored_at(commit, &self.facts) {
            Admission::Stored { first_position }
        } else if self.losers.are_followed_by(commit) {
            let current = version_of(commit, &self.facts);
            Admission::Lost(Loss::Version { current })
        } else {
            // What follows on another of its stream forgets what that one was.
            self.losers.note(commit, false);
            return None;
        };
        self.losers
            .note(commit, matches!(known, Admission::Lost(_)));
        Some(known)
    }

    fn objection(&self, commit: &Commit) -> Option<Loss> {
        if let Some(receipt) = &commit.receipt {
            let key = (commit.stream.clone(), receipt.key.clone());
            if let Some(found) = self.facts.receipts.get(&key) {
                return Some(Loss::Key(Box::new(found.clone())));
            }
        }
        let current = version_of(commit, &self.facts);
        if current != commit.expected {
            return Some(Loss::Version { current });
        }
        if !self.row_stands(commit) {
            return Some(Loss::Row);
        }
        claim_of_another(commit, &self.facts)
    }

    /// Whether the row is what the commit now judged was decided on.
    fn row_stands(&self, commit: &Commit) -> bool {
        let Some(change) = &commit.row else {
            return true;
        };
        match self.rows.get(&commit.stream) {
            Some(row) => *row == change.before.as_ref(),
            None => !self.facts.other_rows.contains(&(self.judged - 1)),
        }
    }

    fn take_effect(&mut self, commit: &'a Commit) {
        if let Some(change) = &commit.row {
            self.rows.insert(&commit.stream, change.after.as_ref());
        }
        take_effect(commit, &mut self.facts);
    }
}

/// The streams whose last commit lost, and the version it would have led to.
///
/// The commit decided on top of it expects that version. Another writer's events may lead
/// there too, and are not what it was decided on: the version alone would admit it.
#[derive(Debug, Default)]
struct Losers<'a>(HashMap<&'a StreamId, Version>);

impl<'a> Losers<'a> {
    fn are_followed_by(&self, commit: &Commit) -> bool {
        self.0.get(&commit.stream) == Some(&commit.expected)
    }

    fn note(&mut self, commit: &'a Commit, lost: bool) {
        if lost {
            self.0.insert(&commit.stream, commit.version_after());
        } else {
            self.0.remove(&commit.stream);
        }
    }
}

fn version_of(commit: &Commit, facts: &Facts) -> Version {
    let versions = match commit.versioned_by() {
        VersionedBy::Log => &facts.versions,
        VersionedBy::Track => &facts.tracks,
    };
    let version = versions.get(&commit.stream).copied();
    version.unwrap_or(Version::ZERO)
}

fn claim_of_another(commit: &Commit, facts: &Facts) -> Option<Loss> {
    commit.takes.iter().find_map(|claim| {
        let key = (commit.stream.aggregate_type.clone(), claim.clone());
        let holder = facts.holders.get(&key)?;
        (*holder != commit.stream.aggregate_id).then(|| Loss::Claim {
            claim: claim.clone(),
            holder: holder.clone(),
        })
    })
}

fn stored_at(commit: &Commit, facts: &Facts) -> Option<Position> {
    if let Some(first) = commit.events.first() {
        return facts.stored.get(&first.id).copied();
    }
    let receipt = commit.receipt.as_ref()?;
    let key = (commit.stream.clone(), receipt.key.clone());
    let found: Option<Ulid> = facts.receipts.get(&key).map(|found| found.id);
    (found == Some(receipt.id)).then_some(Position::ZERO)
}

fn take_effect(commit: &Commit, facts: &mut Facts) {
    let versions = match commit.versioned_by() {
        VersionedBy::Log => &mut facts.versions,
        VersionedBy::Track => &mut facts.tracks,
    };
    versions.insert(commit.stream.clone(), commit.version_after());
    for claim in &commit.frees {
        let key = (commit.stream.aggregate_type.clone(), claim.clone());
        if facts.holders.get(&key) == Some(&commit.stream.aggregate_id) {
            facts.holders.remove(&key);
        }
    }
    for claim in &commit.takes {
        let key = (commit.stream.aggregate_type.clone(), claim.clone());
        facts
            .holders
            .insert(key, commit.stream.aggregate_id.clone());
    }
    if let Some(receipt) = &commit.receipt {
        let key = (commit.stream.clone(), receipt.key.clone());
        facts.receipts.insert(key, receipt_of(commit, receipt));
    }
}

/// The receipt as it reads once the commit is stored.
#[must_use]
pub fn receipt_of(commit: &Commit, receipt: &super::NewReceipt) -> Receipt {
    Receipt::of(commit, receipt)
}

/// How many commits from the front fit one statement.
///
/// A statement frees every claim before it takes any, names each stream's version once and writes
/// each row once, so it ends before a commit that touches a claim taken in it, or that does not
/// follow on its stream's last commit in it.
#[must_use]
pub fn one_statement(batch: &[&Commit]) -> usize {
    let mut last: HashMap<&StreamId, &Commit> = HashMap::new();
    let mut rows: HashMap<&StreamId, &RowChange> = HashMap::new();
    let mut taken: HashSet<(&AggregateType, &Claim)> = HashSet::new();
    for (index, commit) in batch.iter().enumerate() {
        let stream = &commit.stream;
        let follows = last.get(stream).is_none_or(|last| {
            last.version_after() == commit.expected && last.versioned_by() == commit.versioned_by()
        });
        let writes_on = commit.row.as_ref().is_none_or(|change| {
            let written = rows.insert(stream, change);
            written.is_none_or(|written| change.follows(written))
        });
        let mut touched = commit.frees.iter().chain(&commit.takes);
        let takes_on = touched.all(|claim| !taken.contains(&(&stream.aggregate_type, claim)));
        if !(follows && writes_on && takes_on) {
            // Never zero: the first commit meets empty sets.
            return index;
        }
        last.insert(stream, commit);
        let claims = commit.takes.iter();
        taken.extend(claims.map(|claim| (&stream.aggregate_type, claim)));
    }
    batch.len()
}
