//! Subscriptions: events from any position, first what is stored, then live, without a gap, a
//! repeat or an order fault.
//!
//! All subscriptions of a process share one reader at the log's end (the *tail*), which keeps the
//! newest events in a bounded ring. A subscription whose next event is in the ring takes it from
//! there; one that is further back reads pages from the store until it is in the ring's reach.
//! The hand-over is a comparison of positions: a cursor is either before the ring's first event or
//! not. A slow consumer falls out of the ring and back to the store, so it holds no memory and
//! nobody waits for it, least of all an append.
//!
//! Invariants: a cursor only grows, and passes no event that its filter means; the pages without a
//! filter are contiguous, and a hole in the log is reported and read again, never passed.

mod backoff;
mod catch_up;
mod page;
mod registry;
mod ring;
mod tail;

use std::{fmt, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

pub use page::EventPage;
pub use registry::{SubscriptionSnapshot, SubscriptionsSnapshot};

use self::{
    catch_up::Fetching,
    page::PageSizer,
    registry::{Registered, Registry},
    ring::{Look, Ring},
};
use crate::{
    domain::{IdGenerator, Position, SystemClock},
    settings::StreamSettings,
    store::{EventFilter, EventStore},
};

/// Why a subscription ends: everything else is tried again until it passes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The store holds what it should not, and went on doing so; an operator is needed.
    #[error("the store holds something it should not: {what}")]
    Corrupt {
        /// What and where.
        what: String,
    },
    /// The subscriptions were closed: the process is ending.
    #[error("subscriptions are closed")]
    Closed,
}

/// How one subscription reads while it catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The most events in a page.
    pub page: u32,
    /// About how many bytes a page may have.
    pub page_bytes: usize,
    /// Whether the next page is read while the consumer works on one.
    pub ahead: bool,
}

/// The subscriptions of a process to one store. Clones are the same.
#[derive(Clone)]
pub struct Subscriptions {
    shared: Arc<Shared>,
}

/// What all subscriptions have in common.
struct Shared {
    store: Arc<dyn EventStore>,
    settings: StreamSettings,
    /// What pauses are drawn from.
    ids: IdGenerator,
    /// Where the tail and the readers of pages run.
    runtime: Handle,
    ring: Ring,
    registry: Registry,
    /// Who catches up reads from the store with one of these.
    readers: Arc<Semaphore>,
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl Subscriptions {
    /// Subscriptions to a store. Nothing is read until someone subscribes.
    ///
    /// # Panics
    /// Outside a tokio runtime: what reads the store runs on the one that this is called in.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, settings: StreamSettings) -> Self {
        Self::with_ids(store, settings, IdGenerator::new(Arc::new(SystemClock)))
    }

    /// As [`Self::new`], with the generator that pauses are drawn from: where it is seeded, they are
    /// the same in every run.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_ids(
        store: Arc<dyn EventStore>,
        settings: StreamSettings,
        ids: IdGenerator,
    ) -> Self {
        let shared = Shared {
            store,
            ids,
            runtime: Handle::current(),
            ring: Ring::new(settings.tail_events, settings.tail_bytes),
            registry: Registry::default(),
            readers: Arc::new(Semaphore::new(settings.readers)),
            settings,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Follows the events after a position that a filter means.
    #[must_use]
    pub fn subscribe(&self, filter: EventFilter, after: Position) -> Subscription {
        let settings = &self.shared.settings;
        let reading = Reading {
            page: settings.page,
            page_bytes: settings.page_bytes,
            ahead: true,
        };
        self.subscribe_with(filter, after, reading)
    }

    /// As [`Self::subscribe`], reading in another way than the settings say.
    #[must_use]
    pub fn subscribe_with(
        &self,
        filter: EventFilter,
        after: Position,
        reading: Reading,
    ) -> Subscription {
        let shared = Arc::clone(&self.shared);
        Subscription {
            changed: shared.ring.watch(),
            registered: registry::register(&shared, after),
            filter: Arc::new(filter),
            cursor: after,
            sizer: PageSizer::new(reading.page, reading.page_bytes),
            ahead: reading.ahead,
            fetching: None,
            shared,
        }
    }

    /// Ends all subscriptions, those to come too.
    pub fn close(&self) {
        self.shared.ring.close();
    }

    /// Waits until they are closed.
    pub async fn closed(&self) {
        self.shared.ring.until_closed().await;
    }

    /// What is read and by whom, at this moment.
    #[must_use]
    pub fn snapshot(&self) -> SubscriptionsSnapshot {
        let (head, tail_events, tail_bytes) = self.shared.ring.size();
        SubscriptionsSnapshot {
            head,
            tail_events,
            tail_bytes,
            subscriptions: self.shared.registry.snapshot(head),
        }
    }
}

/// A place in the log that moves on. Dropped, it leaves nothing behind.
pub struct Subscription {
    shared: Arc<Shared>,
    registered: Registered,
    filter: Arc<EventFilter>,
    /// All that is meant up to here has been handed out.
    cursor: Position,
    /// Wakes when the ring is another.
    changed: watch::Receiver<u64>,
    sizer: PageSizer,
    ahead: bool,
    /// The page after the cursor, on its way from the store.
    fetching: Option<Fetching>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("filter", &self.filter)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next events, once there are some; or none, where events that are not meant were
    /// passed: [`EventPage::read_to`] tells how far it has got.
    ///
    /// The future may be dropped and asked for again: nothing is lost by it. While the store
    /// cannot be reached, it waits.
    ///
    /// # Errors
    /// [`SubscriptionError`]: the subscription has ended, and says the same again.
    pub async fn next_page(&mut self) -> Result<EventPage, SubscriptionError> {
        loop {
            // Marked as seen before the look, so that no change in between is missed.
            self.changed.mark_unchanged();
            if self.shared.ring.is_closed() {
                return Err(SubscriptionError::Closed);
            }
            if self.fetching.is_some() {
                match self.fetched().await {
                    Some(page) => return page,
                    None => continue,
                }
            }
            match self.shared.ring.look(self.cursor) {
                Look::Events { events, from } => {
                    let page = EventPage::of_tail(events, from, &self.filter);
                    return Ok(self.moved_by(page));
                }
                Look::Behind => self.fetching = Some(self.fetch()),
                Look::AtHead => {
                    // The sender is in `shared`, so the channel cannot close.
                    let _ = self.changed.changed().await;
                }
                Look::Failed(error) => return Err(error),
            }
        }
    }

    /// All events that are meant up to here have been handed out.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.cursor
    }

    /// Waits for the page on its way; nothing where the ring changed meanwhile.
    async fn fetched(&mut self) -> Option<Result<EventPage, SubscriptionError>> {
        let fetching = self.fetching.as_mut()?;
        let page = tokio::select! {
            biased;
            page = fetching.done() => page,
            () = self.shared.ring.until_closed() => return None,
        };
        self.fetching = None;
        let page = match page {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.sizer.learn(&page);
        let page = self.moved_by(page);
        let behind = || matches!(self.shared.ring.look(self.cursor), Look::Behind);
        if self.ahead && behind() {
            self.fetching = Some(self.fetch());
        }
        Some(Ok(page))
    }

    fn fetch(&self) -> Fetching {
        let filter = Arc::clone(&self.filter);
        catch_up::fetch(&self.shared, filter, self.cursor, self.sizer.limit())
    }

    fn moved_by(&mut self, page: EventPage) -> EventPage {
        self.cursor = page.read_to().max(self.cursor);
        self.registered.moved_to(self.cursor);
        page
    }
}

#[cfg(test)]
mod tests;
