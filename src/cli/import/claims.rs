//! The third reading: the aggregates that this program knows take their unique values.
//!
//! Events do not say what is unique; the aggregates do, once they are folded. So between an event's
//! import and this, a command may take a value first: then the aggregate goes without, and is named.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::{
    bar,
    check::{Checked, Streams},
    source::{Lines, Source},
};
use crate::{
    cli::{CliError, portable},
    domain::{CorrelationId, StreamId},
    runtime::Runtime,
    store::{Commit, EventStore, Loss, Verdict},
};

/// Aggregates whose claims are stored together.
const BATCH: usize = 500;
/// Aggregates folded at the same time; the runtime looks them up together.
const AT_ONCE: usize = 128;

/// Takes the claims of all aggregates of the input whose types are registered; gives how many of
/// them belong to others.
pub(super) async fn take(
    source: &Source,
    store: &Arc<dyn EventStore>,
    runtime: &Runtime,
    mut checked: Checked,
) -> Result<u64, CliError> {
    if !checked.has_known {
        return Ok(0);
    }
    let bar = bar("unique values", checked.events);
    let mut lines = source.lines()?;
    let (mut without, mut commits) = (0, Vec::new());
    loop {
        let (read, batch) = next_batch(&mut lines, &mut checked.streams, runtime)?;
        // The next aggregates are folded while the claims of those before are stored.
        let (held, stored) = tokio::join!(held(runtime, batch), store_all(store, commits));
        without += stored? + held.unread;
        commits = held.commits;
        bar.inc(read);
        if read == 0 && commits.is_empty() {
            bar.finish_and_clear();
            return Ok(without);
        }
    }
}

/// The next aggregates that were not met before, and how many lines were read for them.
fn next_batch(
    lines: &mut Lines,
    streams: &mut Streams,
    runtime: &Runtime,
) -> Result<(u64, Vec<StreamId>), CliError> {
    let (mut read, mut batch) = (0, Vec::with_capacity(BATCH));
    while batch.len() < BATCH
        && let Some((number, line)) = lines.next()?
    {
        read += 1;
        let stream = portable::stream_of(line).ok_or(CliError::ImportChanged(number))?;
        if streams.meet(&stream) && runtime.knows(stream.aggregate_type.as_str()) {
            batch.push(stream);
        }
    }
    Ok((read, batch))
}

/// What aggregates hold.
struct Held {
    /// The claims of those that have any, to be taken.
    commits: Vec<Commit>,
    /// How many cannot be read.
    unread: u64,
}

async fn held(runtime: &Runtime, batch: Vec<StreamId>) -> Held {
    let folding =
        stream::iter(batch).map(async |stream| (runtime.claims_of(&stream).await, stream));
    let mut folding = std::pin::pin!(folding.buffered(AT_ONCE));
    let (mut commits, mut unread) = (Vec::new(), 0);
    while let Some((held, stream)) = folding.next().await {
        match held {
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
    Held { commits, unread }
}

/// Takes the claims; gives how many aggregates go without.
async fn store_all(store: &Arc<dyn EventStore>, commits: Vec<Commit>) -> Result<u64, CliError> {
    if commits.is_empty() {
        return Ok(0);
    }
    let commits: Arc<[Commit]> = Arc::from(commits);
    let verdicts = store.append(Arc::clone(&commits)).await;
    let verdicts = verdicts.map_err(CliError::Append)?;
    let mut without = 0;
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
