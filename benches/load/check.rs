//! What the log must hold when a workload is over, whatever was answered.

use std::{collections::HashMap, sync::Arc};

use dormouse::{
    domain::{
        Aggregate as _, AggregateId, AggregateType, InvalidName, Position, StateRow as _, StreamId,
        Version,
    },
    store::{EventStore, ReadError},
};

use super::{account::Account, plan::Plan, table};

/// Events in one page of the log.
const PAGE: u32 = 5000;

/// Rows that are looked at together.
const ROWS: usize = 1000;

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
    #[error("the store has no rows")]
    Rowless,
    #[error("the row of account {0} is not what its last command left")]
    Row(AggregateId),
    #[error("row and track of account {id} are at version {found}, not {answered}")]
    Track {
        id: AggregateId,
        found: Version,
        answered: u64,
    },
    #[error(transparent)]
    Name(#[from] InvalidName),
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

/// Each account has its row, as its last command left it, at the version that was answered last.
///
/// # Errors
/// [`CheckError`] for the first that has not.
pub(crate) async fn rows(
    store: &dyn EventStore,
    plan: &Plan,
    ids: &[AggregateId],
) -> Result<(), CheckError> {
    let rows = store.state_rows().ok_or(CheckError::Rowless)?;
    let state_table = Arc::new(Account::table());
    let aggregate_type = AggregateType::parse(Account::TYPE)?;
    let answered = plan.last_version();
    let mut numbered = ids.iter().enumerate();
    for ids in ids.chunks(ROWS) {
        let loaded = rows.load(&aggregate_type, &state_table, ids).await?;
        for (loaded, (number, id)) in loaded.into_iter().zip(numbered.by_ref()) {
            let last = plan.last_name(number, id);
            let name = loaded.row.as_ref().and_then(table::name);
            if name.is_none_or(|name| last.is_some_and(|last| last != name)) {
                return Err(CheckError::Row(id.clone()));
            }
            let found = loaded.track.map_or(Version::ZERO, |track| track.version);
            if found.get() != answered {
                return Err(CheckError::Track {
                    id: id.clone(),
                    found,
                    answered,
                });
            }
        }
    }
    Ok(())
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
