//! Reading pages from the store for a subscription that is behind the tail.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::{
    EventPage, Shared, SubscriptionError, backoff::Backoff, ring::check_contiguous, tail::REREADS,
};
use crate::{
    domain::Position,
    store::{EventFilter, LogQuery, Order, ReadError, RecordedEvent},
};

/// A page on its way. Dropped, it is read no further.
#[derive(Debug)]
pub(super) struct Fetching {
    task: JoinHandle<Result<EventPage, SubscriptionError>>,
}

impl Fetching {
    /// Waits for it. May be dropped and asked for again, until it is there.
    pub(super) async fn done(&mut self) -> Result<EventPage, SubscriptionError> {
        // It ends early only with its runtime, which is when the process ends, or by a panic,
        // which is logged where it happens.
        (&mut self.task)
            .await
            .unwrap_or(Err(SubscriptionError::Closed))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to read the page after a position; it goes on while the consumer does something else.
pub(super) fn fetch(
    shared: &Arc<Shared>,
    filter: Arc<EventFilter>,
    after: Position,
    limit: u32,
) -> Fetching {
    let task = read_until_it_succeeds(Arc::clone(shared), filter, after, limit);
    Fetching {
        task: shared.runtime.spawn(task),
    }
}

async fn read_until_it_succeeds(
    shared: Arc<Shared>,
    filter: Arc<EventFilter>,
    after: Position,
    limit: u32,
) -> Result<EventPage, SubscriptionError> {
    let mut backoff = Backoff::new(shared.settings.retry_max);
    let mut corrupt = 0;
    loop {
        let read = {
            // Nobody closes the semaphore.
            let _reader = shared.readers.acquire().await;
            read(&shared, &filter, after, limit).await
        };
        match read {
            Ok(page) => return Ok(page),
            Err(ReadError::Corrupt { what }) => {
                error!(
                    what,
                    "the log holds something it should not; reading it again"
                );
                corrupt += 1;
                if corrupt > REREADS {
                    return Err(SubscriptionError::Corrupt { what });
                }
            }
            Err(ReadError::Unavailable(source)) if backoff.tries() == 0 => {
                warn!(%source, "the log cannot be read; a subscription waits");
            }
            Err(ReadError::Unavailable(_)) => {}
        }
        backoff.wait(&shared.ids).await;
    }
}

async fn read(
    shared: &Shared,
    filter: &EventFilter,
    after: Position,
    limit: u32,
) -> Result<EventPage, ReadError> {
    let corrupt = |what| ReadError::Corrupt { what };
    let (events, read_to) = if *filter == EventFilter::default() {
        let events = shared.store.read_log(after, limit).await?;
        check_contiguous(after, &events).map_err(corrupt)?;
        let read_to = events.last().map_or(after, |last| last.position);
        (events, read_to)
    } else {
        let query = LogQuery {
            filter: filter.clone(),
            order: Order::Ascending,
            after: Some(after),
            limit,
        };
        let page = shared.store.query_log(&query).await?;
        check_ascending(after, &page.events, page.read_to).map_err(corrupt)?;
        (page.events, page.read_to)
    };
    if read_to <= after {
        // The tail has seen events after this position, so what was read is older than that.
        return Err(ReadError::Unavailable(
            format!("no events after position {after}, though there are some").into(),
        ));
    }
    Ok(EventPage::of_store(events, read_to))
}

/// Whether events follow on a position in their order, up to another.
fn check_ascending(
    after: Position,
    events: &[RecordedEvent],
    read_to: Position,
) -> Result<(), String> {
    let mut before = after;
    for event in events {
        let found = event.position;
        if found <= before || found > read_to {
            return Err(format!(
                "position {found} after {before} in a page that reaches to {read_to}"
            ));
        }
        before = found;
    }
    Ok(())
}
