//! What the log must hold when a workload is over, whatever was answered.

use std::collections::HashMap;

use dormouse::{
    domain::{AggregateId, Position, StreamId},
    store::{EventStore, ReadError},
};

use super::plan::Plan;

/// Events in one page of the log.
const PAGE: u32 = 5000;

/// What is wrong with what was stored or answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    #[error("the log holds {found} events of this run, and {answered} were answered")]
    Count { found: usize, answered: usize },
    #[error("{stream} has version {found} after {last}, at position {position}")]
    Version {
        stream: StreamId,
        found: u64,
        last: u64,
        position: Position,
    },
    #[error("position {found} follows {last}")]
    Position { found: Position, last: Position },
    #[error("version {0} of the hot aggregate was not answered exactly once")]
    Answered(u64),
}

/// Reads all that was stored since `start`: each event once, its versions and positions in order.
///
/// # Errors
/// [`CheckError`] for the first thing that is wrong.
pub(crate) async fn log(
    store: &dyn EventStore,
    start: Position,
    plan: &Plan,
    ids: &[AggregateId],
) -> Result<(), CheckError> {
    let mut versions: HashMap<&AggregateId, u64> = ids.iter().map(|id| (id, 0)).collect();
    let mut found = 0;
    let mut after = start;
    loop {
        let page = store.read_log(after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for event in page {
            if event.position != after.next() {
                return Err(CheckError::Position {
                    found: event.position,
                    last: after,
                });
            }
            after = event.position;
            // Others may write to the same log.
            let Some(last) = versions.get_mut(&event.stream.aggregate_id) else {
                continue;
            };
            if event.version.get() != *last + 1 {
                return Err(CheckError::Version {
                    stream: event.stream,
                    found: event.version.get(),
                    last: *last,
                    position: event.position,
                });
            }
            *last += 1;
            found += 1;
        }
    }
    if found == plan.events() {
        return Ok(());
    }
    Err(CheckError::Count {
        found,
        answered: plan.events(),
    })
}

/// Each version of the hot aggregate after its create was answered to one caller.
///
/// # Errors
/// [`CheckError::Answered`].
pub(crate) fn versions(mut answered: Vec<u64>) -> Result<(), CheckError> {
    answered.sort_unstable();
    let expected = 2_u64..;
    match answered.into_iter().zip(expected).find(|(a, b)| a != b) {
        None => Ok(()),
        Some((_, expected)) => Err(CheckError::Answered(expected)),
    }
}
