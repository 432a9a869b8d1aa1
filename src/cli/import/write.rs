//! The second reading: batches in the order of the input, the next one read while one is appended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};

use super::{
    BATCH_BYTES, Sums, bar,
    check::Checked,
    source::{Lines, Source},
};
use crate::{
    cli::{CliError, portable},
    domain::Position,
    store::{AppendError, Commit, EventStore, Loss, RecordedEvent, Verdict},
};

/// An append whose answer was lost, or that waits for another program, is tried so often.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// So many refused aggregates are told one by one.
const MAX_TOLD: usize = 100;

/// Events read at once where some are stored already.
const KNOWN_PAGE: u32 = 1000;

type Appending = JoinHandle<Result<(Arc<[Commit]>, Vec<Verdict>), AppendError>>;

/// Appends the whole input.
pub(super) async fn write(
    source: &Source,
    store: &Arc<dyn EventStore>,
    checked: &Checked,
    batch: u32,
) -> Result<Sums, CliError> {
    let bar = bar("importing", checked.events);
    let mut lines = source.lines()?;
    let mut outcome = Outcome::default();
    let mut appending: Option<Appending> = None;
    loop {
        let mut batch = next_batch(&mut lines, batch as usize)?;
        if let Some(appending) = appending.take() {
            let (commits, verdicts) = appending
                .await
                .map_err(|error| CliError::Append(AppendError::OutcomeUnknown(error.into())))?
                .map_err(CliError::Append)?;
            bar.inc(commits.len() as u64);
            outcome.note(store, checked, &commits, &verdicts).await?;
        }
        if batch.read == 0 {
            bar.finish_and_clear();
            return Ok(outcome.sums);
        }
        // Only now: what follows on an event that is refused is so too, whatever version that led to.
        let refused = &outcome.refused;
        if !refused.is_empty() {
            let stands = |commit: &Commit| !refused.contains(&checked.streams.key(&commit.stream));
            batch.commits.retain(stands);
        }
        outcome.sums.refused += (batch.read - batch.commits.len()) as u64;
        if !batch.commits.is_empty() {
            let store = Arc::clone(store);
            let commits: Arc<[Commit]> = Arc::from(batch.commits);
            appending = Some(tokio::spawn(append(store, commits)));
        }
    }
}

struct Batch {
    read: usize,
    commits: Vec<Commit>,
}

fn next_batch(lines: &mut Lines, most: usize) -> Result<Batch, CliError> {
    let mut batch = Batch {
        read: 0,
        commits: Vec::with_capacity(most),
    };
    let mut bytes = 0;
    while batch.read < most && bytes < BATCH_BYTES {
        let Some((number, line)) = lines.next()? else {
            break;
        };
        // It was read before, so it is not the file it was.
        let changed = |_| CliError::ImportChanged(number);
        let commit = portable::read(line).map_err(changed)?.commit;
        batch.read += 1;
        bytes += commit.size_bytes();
        batch.commits.push(commit);
    }
    Ok(batch)
}

/// Appends until every commit has a verdict that stands.
async fn append(
    store: Arc<dyn EventStore>,
    commits: Arc<[Commit]>,
) -> Result<(Arc<[Commit]>, Vec<Verdict>), AppendError> {
    let mut tries = 0;
    loop {
        let appended = store.append(Arc::clone(&commits)).await;
        tries += 1;
        let contested = |verdict: &Verdict| matches!(verdict, Verdict::Lost(Loss::Contested));
        match appended {
            Ok(verdicts) if tries >= TRIES || !verdicts.iter().any(contested) => {
                return Ok((commits, verdicts));
            }
            Err(error @ AppendError::Unstorable(_)) => return Err(error),
            Err(error) if tries >= TRIES => return Err(error),
            // What is stored already is known when it is appended again.
            Ok(_) | Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

#[derive(Default)]
struct Outcome {
    sums: Sums,
    /// Streams with an event that could not be stored: nothing that follows it is.
    refused: HashSet<u128>,
}

impl Outcome {
    async fn note(
        &mut self,
        store: &Arc<dyn EventStore>,
        checked: &Checked,
        commits: &[Commit],
        verdicts: &[Verdict],
    ) -> Result<(), CliError> {
        let known = known(store, checked, verdicts).await?;
        for (commit, verdict) in commits.iter().zip(verdicts) {
            match verdict {
                Verdict::Committed { first_position } if *first_position > checked.before => {
                    self.sums.stored += 1;
                }
                Verdict::Committed { first_position } => {
                    if is_same(known.get(first_position), commit) {
                        self.sums.already += 1;
                    } else {
                        let id = commit.events[0].id;
                        self.refuse(
                            checked,
                            commit,
                            &format!("event {id} is stored as another's"),
                        );
                    }
                }
                Verdict::Lost(loss) => {
                    self.refuse(checked, commit, &why(loss));
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, checked: &Checked, commit: &Commit, why: &str) {
        self.sums.refused += 1;
        let new = self.refused.insert(checked.streams.key(&commit.stream));
        if new && self.refused.len() <= MAX_TOLD {
            eprintln!(
                "{} is not taken from version {} on: {why}",
                commit.stream,
                commit.version_after()
            );
        }
    }
}

/// What is stored at the positions of events that the store knew already. An import that goes on
/// meets them as they lie in the log, so they are a few reads.
async fn known(
    store: &Arc<dyn EventStore>,
    checked: &Checked,
    verdicts: &[Verdict],
) -> Result<HashMap<Position, RecordedEvent>, CliError> {
    let mut positions: Vec<Position> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Committed { first_position } if *first_position <= checked.before => {
                Some(*first_position)
            }
            Verdict::Committed { .. } | Verdict::Lost(_) => None,
        })
        .collect();
    positions.sort_unstable();
    let mut known = HashMap::with_capacity(positions.len());
    let mut read_to = Position::ZERO;
    for position in positions {
        if position > read_to {
            let after = Position::new(position.get().saturating_sub(1));
            let page = store.read_log(after, KNOWN_PAGE).await?;
            read_to = page.last().map_or(position, |event| event.position);
            known.extend(page.into_iter().map(|event| (event.position, event)));
        }
    }
    Ok(known)
}

/// Whether an id that the store knows is that of the very event.
fn is_same(stored: Option<&RecordedEvent>, commit: &Commit) -> bool {
    stored.is_some_and(|event| {
        event.id == commit.events[0].id
            && event.stream == commit.stream
            && event.version == commit.version_after()
    })
}

fn why(loss: &Loss) -> String {
    match loss {
        Loss::Version { current } => format!("the store has it at version {current}"),
        Loss::Contested => "another program is writing to it".to_owned(),
        Loss::Claim { .. } | Loss::Key(_) | Loss::Row | Loss::Refused { .. } => {
            "something of it is another's".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::memory::MemoryStore;

    /// An event of the invoice `i1`; `id` makes it another's.
    fn line(id: u32, version: u32) -> String {
        format!(
            r#"{{"id":"01J{id:023}","aggregate_id":"i1","aggregate_type":"Invoice","event_type":"InvoiceNotedEvent","event_data":{{}},"version":{version},"schema_version":1,"occurred_at":"2026-09-21T14:13:20Z","created_by":"them","correlation_id":"01J{id:023}","causation_id":null}}"#
        )
    }

    #[tokio::test]
    async fn what_follows_on_a_refused_event_is_refused_though_its_version_fits() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for version in 1..=4 {
            writeln!(file, "{}", line(version, version)).unwrap();
        }
        let source = Source::open(file.path()).unwrap();
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
        let checked = Checked {
            events: 4,
            ..Checked::default()
        };
        // Somebody else's, since the input was checked: as many as the first batch has.
        let theirs = [1, 2].map(|version| portable::read(&line(90 + version, version)).unwrap());
        let theirs = theirs.map(|read| read.commit);
        store.append(Arc::from(theirs)).await.unwrap();

        let sums = write(&source, &store, &checked, 2).await.unwrap();

        assert_eq!((sums.stored, sums.already, sums.refused), (0, 0, 4));
        assert_eq!(store.last_position().await.unwrap(), Position::new(2));
    }
}
