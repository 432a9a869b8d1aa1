//! The third reading: the aggregates that this program knows take their unique values.
//!
//! Events do not say what is unique; the aggregates do, once they are folded. So between an event's
//! import and this, a command may take a value first: then the aggregate goes without, and is named.

use std::{collections::HashSet, sync::Arc};

use super::{bar, check::Checked, source::Source};
use crate::{
    cli::{CliError, portable},
    domain::{CorrelationId, StreamId},
    runtime::Runtime,
    store::{Commit, EventStore, Loss, Verdict},
};

/// Aggregates folded and stored together.
const BATCH: usize = 500;

/// Takes the claims of all aggregates of the input whose types are registered; gives how many of
/// them belong to others.
pub(super) async fn take(
    source: &Source,
    store: &Arc<dyn EventStore>,
    runtime: &Runtime,
    checked: &Checked,
) -> Result<u64, CliError> {
    let bar = bar("unique values", checked.events);
    let mut lines = source.lines()?;
    let mut seen: HashSet<u128> = HashSet::new();
    let mut batch: Vec<StreamId> = Vec::with_capacity(BATCH);
    let mut lost = 0;
    while let Some((number, line)) = lines.next()? {
        bar.inc(1);
        let read = portable::read(line).map_err(|_| CliError::ImportChanged(number))?;
        let stream = read.commit.stream;
        if !runtime.knows(stream.aggregate_type.as_str()) {
            continue;
        }
        if seen.insert(checked.streams.key(&stream)) {
            batch.push(stream);
        }
        if batch.len() >= BATCH {
            lost += take_of(&mut batch, store, runtime).await?;
        }
    }
    lost += take_of(&mut batch, store, runtime).await?;
    bar.finish_and_clear();
    Ok(lost)
}

async fn take_of(
    batch: &mut Vec<StreamId>,
    store: &Arc<dyn EventStore>,
    runtime: &Runtime,
) -> Result<u64, CliError> {
    let mut commits = Vec::with_capacity(batch.len());
    let mut unread = 0;
    for stream in batch.drain(..) {
        match runtime.claims_of(&stream).await {
            Ok((_, _, claims)) if claims.is_empty() => {}
            Ok((version, occurred_at, takes)) => commits.push(Commit {
                stream,
                expected: version,
                events: Vec::new(),
                occurred_at,
                created_by: None,
                correlation_id: CorrelationId(runtime.new_id()),
                causation_id: None,
                frees: Vec::new(),
                takes,
                receipt: None,
                row: None,
            }),
            Err(error) => {
                unread += 1;
                eprintln!("{stream} cannot be read, so its unique values are not taken: {error}");
            }
        }
    }
    if commits.is_empty() {
        return Ok(unread);
    }
    let commits: Arc<[Commit]> = Arc::from(commits);
    let verdicts = store.append(Arc::clone(&commits)).await;
    let verdicts = verdicts.map_err(CliError::Append)?;
    let mut without = unread;
    for (commit, verdict) in commits.iter().zip(verdicts) {
        let stream = &commit.stream;
        match verdict {
            // Where somebody has written to it, that commit has seen to the claims.
            Verdict::Committed { .. } | Verdict::Lost(Loss::Version { .. }) => {}
            Verdict::Lost(Loss::Claim { claim, holder }) => {
                without += 1;
                eprintln!("the {} of {stream} is that of {holder}", claim.name);
            }
            Verdict::Lost(loss) => {
                without += 1;
                eprintln!("the unique values of {stream} are not taken: {loss:?}");
            }
        }
    }
    Ok(without)
}
