//! How an SQL adapter appends: try the batch in one statement, and only where an index objects look closer.
//!
//! Nearly every batch is stored by its first statement. Where one commit cannot be, the
//! statement stores nothing, the facts are looked up, the losers are told, and the others are
//! tried again: so one bad commit costs its neighbours a round, never their place in the log.

use std::future::Future;

use super::{
    AppendError, Commit, Loss, RecordedEvent, Verdict,
    admission::{Admission, Facts, admit_first, one_statement},
    state_rows::refused,
};
use crate::domain::Position;

/// Rounds without one verdict after which a batch is given back as contended: each of them met
/// another writer's commit in the short time between look-up and statement.
const MAX_FRUITLESS_ROUNDS: usize = 32;

/// Why a statement stored nothing.
#[derive(Debug)]
pub(super) enum InsertError {
    /// A version, a key, a claim or an id is in the way.
    Conflict,
    /// A unique index of a state table, over these columns, is in the way.
    Refused(Vec<String>),
    /// What another program has stored and not committed is in the way, and may yet be undone.
    Blocked,
    /// Something else.
    Failed(AppendError),
}

/// What an adapter's writing connection can do.
pub(super) trait AppendConnection: Send {
    /// Stores all of these commits or none, in one transaction, and gives the position of the
    /// first event (of what would be the first event, where there is none).
    ///
    /// It must object with [`InsertError::Conflict`] unless each stream is at the version its
    /// first commit here expects, no claim taken is held by another aggregate (its own it may
    /// take again), and no key or event id is stored already. The commits are such as
    /// [`one_statement`] allows.
    fn insert(
        &mut self,
        commits: &[&Commit],
    ) -> impl Future<Output = Result<Position, InsertError>> + Send;

    /// Looks up all that [`admit_first`] needs to judge these commits.
    fn facts(
        &mut self,
        commits: &[&Commit],
    ) -> impl Future<Output = Result<Facts, AppendError>> + Send;
}

/// The events of commits as they are stored, from a position on.
pub(super) fn recorded(commits: &[&Commit], first: Position) -> Vec<RecordedEvent> {
    let mut position = first;
    let mut events = Vec::new();
    for commit in commits {
        let mut version = commit.expected;
        for event in &commit.events {
            version = version.next();
            events.push(RecordedEvent {
                id: event.id,
                stream: commit.stream.clone(),
                event_type: event.event_type.to_string(),
                schema_version: event.schema_version,
                data: event.data.clone(),
                version,
                position,
                occurred_at: commit.occurred_at,
                created_by: commit.created_by.clone(),
                correlation_id: commit.correlation_id,
                causation_id: commit.causation_id,
            });
            position = position.next();
        }
    }
    events
}

/// Appends a batch as [`super::EventStore::append`] promises.
pub(super) async fn append_in_rounds<C: AppendConnection>(
    connection: &mut C,
    batch: &[&Commit],
) -> Result<Vec<Verdict>, AppendError> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; batch.len()];
    let mut fruitless = 0;
    // Halved as long as something blocks or refuses, to find the commit that is at fault.
    let mut most = batch.len();
    loop {
        let open: Vec<usize> = (0..batch.len())
            .filter(|index| verdicts[*index].is_none())
            .collect();
        let commits: Vec<&Commit> = open.iter().map(|index| batch[*index]).collect();
        let size = one_statement(&commits).min(most);
        if size == 0 {
            return Ok(verdicts.into_iter().flatten().collect());
        }
        let outcome = if fruitless > MAX_FRUITLESS_ROUNDS {
            Err(AppendError::Contended.into())
        } else {
            round(connection, &commits, size).await
        };
        let judged = match outcome {
            Ok(judged) => {
                most = most.saturating_mul(2);
                judged
            }
            Err(Unjudged::Blocked | Unjudged::Refused) if size > 1 => {
                most = size / 2;
                continue;
            }
            // One that is refused alone has its verdict.
            Err(Unjudged::Blocked | Unjudged::Refused) => contested(&commits),
            // An earlier round of this batch may have stored something.
            Err(Unjudged::Failed(error)) if verdicts.iter().flatten().any(is_committed) => {
                return Err(AppendError::OutcomeUnknown(error.into()));
            }
            Err(Unjudged::Failed(error)) => return Err(error),
        };
        let fruitful = judged.iter().any(Option::is_some);
        fruitless = if fruitful { 0 } else { fruitless + 1 };
        for (index, verdict) in open.into_iter().zip(judged) {
            verdicts[index] = verdict;
        }
    }
}

const fn is_committed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Committed { .. })
}

/// Why a round has no verdict.
enum Unjudged {
    Blocked,
    /// A unique index of a state table refuses the row of a commit, and does not say of which.
    Refused,
    Failed(AppendError),
}

impl From<AppendError> for Unjudged {
    fn from(error: AppendError) -> Self {
        Self::Failed(error)
    }
}

/// The verdict on the first commit, which is blocked, and on those that follow it.
fn contested(commits: &[&Commit]) -> Vec<Option<Verdict>> {
    let blocked = commits.first().map(|commit| &commit.stream);
    let verdict = |commit: &&Commit| {
        (Some(&commit.stream) == blocked).then_some(Verdict::Lost(Loss::Contested))
    };
    commits.iter().map(verdict).collect()
}

/// One statement for the first `size` commits, and where it objects, the verdict on those that
/// stood in the way and on all that was decided on top of them.
async fn round<C: AppendConnection>(
    connection: &mut C,
    commits: &[&Commit],
    size: usize,
) -> Result<Vec<Option<Verdict>>, Unjudged> {
    let columns = match connection.insert(&commits[..size]).await {
        Ok(first_position) => return Ok(committed(&commits[..size], first_position)),
        Err(InsertError::Failed(error)) => return Err(error.into()),
        Err(InsertError::Blocked) => return Err(Unjudged::Blocked),
        Err(InsertError::Conflict) => None,
        Err(InsertError::Refused(columns)) => Some(columns),
    };
    let facts = connection.facts(&commits[..size]).await?;
    let refusal = columns
        .as_ref()
        .filter(|_| size == 1)
        .map(|columns| refusal(commits[0], columns))
        .transpose()?;
    let judged = admit_first(size, commits, facts, refusal).into_iter();
    let verdicts: Vec<_> = judged.map(|admission| admission.and_then(told)).collect();
    // What else stands in the way is told first.
    if columns.is_some() && verdicts.iter().all(Option::is_none) {
        return Err(Unjudged::Refused);
    }
    Ok(verdicts)
}

/// What a commit loses with whose row a unique index over some columns refuses.
fn refusal(commit: &Commit, columns: &[String]) -> Result<Loss, AppendError> {
    let row = commit.row.as_ref().and_then(|change| change.after.as_ref());
    let row = row.ok_or_else(|| {
        // Of a row that goes nothing can be taken: it is a trigger's doing.
        AppendError::Unstorable("a unique index refuses a commit without a row".into())
    })?;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut mapped = columns.clone();
    mapped.retain(|column| row.values.contains_key(column));
    let told = if mapped.is_empty() { columns } else { mapped };
    Ok(refused(&told, row))
}

/// What a caller can be told already.
fn told(admission: Admission) -> Option<Verdict> {
    match admission {
        // The next round stores it, beside the others that are left.
        Admission::Store => None,
        Admission::Stored { first_position } => Some(Verdict::Committed { first_position }),
        Admission::Lost(loss) => Some(Verdict::Lost(loss)),
    }
}

fn committed(commits: &[&Commit], first_position: Position) -> Vec<Option<Verdict>> {
    let mut next = first_position;
    commits
        .iter()
        .map(|commit| {
            let first_position = if commit.events.is_empty() {
                Position::ZERO
            } else {
                next
            };
            next = next.plus(commit.events.len() as u64);
            Some(Verdict::Committed { first_position })
        })
        .collect()
}
