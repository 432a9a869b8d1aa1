//! Which commits of a batch may be stored, given what the store holds: one pure rule for every adapter.
//!
//! The SQL adapters first try a whole batch in one statement and let the unique indexes object;
//! only then do they look up the [`Facts`] and ask [`admit`]. The memory store asks always.

use std::collections::{HashMap, HashSet};

use ulid::Ulid;

use super::{Commit, Loss, Receipt};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, IdempotencyKey, Position, StreamId, Version,
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
/// it, then its key is looked at, then its version, then its claims: a retried command is
/// answered from its receipt whatever has happened since.
#[must_use]
pub fn admit(batch: &[&Commit], facts: Facts) -> Vec<Admission> {
    let judged = admit_first(batch.len(), batch, facts);
    judged.into_iter().flatten().collect()
}

/// Judges the first `count` commits, and of the others those that lose with one of them.
pub(super) fn admit_first(
    count: usize,
    batch: &[&Commit],
    mut facts: Facts,
) -> Vec<Option<Admission>> {
    let mut losers = Losers::default();
    let mut admissions = Vec::with_capacity(batch.len());
    for (index, commit) in batch.iter().enumerate() {
        let admission = if let Some(first_position) = stored_at(commit, &facts) {
            Some(Admission::Stored { first_position })
        } else if losers.are_followed_by(commit) {
            let current = version_of(&commit.stream, &facts);
            Some(Admission::Lost(Loss::Version { current }))
        } else {
            (index < count).then(|| judge(commit, &facts))
        };
        losers.note(commit, matches!(admission, Some(Admission::Lost(_))));
        if matches!(admission, Some(Admission::Store)) {
            take_effect(commit, &mut facts);
        }
        admissions.push(admission);
    }
    admissions
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

fn version_of(stream: &StreamId, facts: &Facts) -> Version {
    facts.versions.get(stream).copied().unwrap_or(Version::ZERO)
}

fn judge(commit: &Commit, facts: &Facts) -> Admission {
    if let Some(receipt) = &commit.receipt {
        let key = (commit.stream.clone(), receipt.key.clone());
        if let Some(found) = facts.receipts.get(&key) {
            return Admission::Lost(Loss::Key(Box::new(found.clone())));
        }
    }
    let current = version_of(&commit.stream, facts);
    if current != commit.expected {
        return Admission::Lost(Loss::Version { current });
    }
    for claim in &commit.takes {
        let key = (commit.stream.aggregate_type.clone(), claim.clone());
        match facts.holders.get(&key) {
            Some(holder) if *holder != commit.stream.aggregate_id => {
                return Admission::Lost(Loss::Claim {
                    claim: claim.clone(),
                    holder: holder.clone(),
                });
            }
            Some(_) | None => {}
        }
    }
    Admission::Store
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
    facts
        .versions
        .insert(commit.stream.clone(), commit.version_after());
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
    Receipt {
        id: receipt.id,
        command_hash: receipt.command_hash,
        first_version: commit.expected.next(),
        event_count: u32::try_from(commit.events.len()).unwrap_or(u32::MAX),
        reply: receipt.reply.clone(),
        correlation_id: commit.correlation_id,
    }
}

/// How many commits from the front fit one statement.
///
/// A statement frees every claim before it takes any and names each stream's version once, so
/// it ends before a commit that touches a claim taken in it, or that does not follow on its
/// stream's last commit in it.
#[must_use]
pub fn one_statement(batch: &[&Commit]) -> usize {
    let mut versions: HashMap<&StreamId, Version> = HashMap::new();
    let mut taken: HashSet<(&AggregateType, &Claim)> = HashSet::new();
    for (index, commit) in batch.iter().enumerate() {
        let follows = versions
            .get(&commit.stream)
            .is_none_or(|version| *version == commit.expected);
        let aggregate_type = &commit.stream.aggregate_type;
        let mut touched = commit.frees.iter().chain(&commit.takes);
        if !follows || touched.any(|claim| taken.contains(&(aggregate_type, claim))) {
            // Never zero: the first commit meets empty sets.
            return index;
        }
        versions.insert(&commit.stream, commit.version_after());
        taken.extend(commit.takes.iter().map(|claim| (aggregate_type, claim)));
    }
    batch.len()
}
