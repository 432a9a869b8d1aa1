//! The newest events of the log, for all subscriptions: bounded in events and in bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{SubscriptionError, page::event_bytes};
use crate::{domain::Position, store::RecordedEvent};

/// What lies after a position.
#[derive(Debug)]
pub(super) enum Look {
    /// The next event is at an index of this page.
    Events {
        events: Arc<Vec<RecordedEvent>>,
        from: usize,
    },
    /// The next event is no more in the ring; the store has it.
    Behind,
    /// There is nothing yet.
    AtHead,
    /// There may be something, and it cannot be read.
    Failed(SubscriptionError),
}

#[derive(Debug)]
pub(super) struct Ring {
    state: Mutex<State>,
    /// Changes with the state.
    changed: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    most_events: usize,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Contiguous and in order; each has events.
    pages: VecDeque<Page>,
    events: usize,
    bytes: usize,
    /// The position before the first event, and that of the last; nothing without a tail.
    span: Option<(u64, u64)>,
    /// What keeps the tail from reading on.
    failed: Option<SubscriptionError>,
}

#[derive(Debug)]
struct Page {
    events: Arc<Vec<RecordedEvent>>,
    bytes: usize,
    last: u64,
}

impl Ring {
    pub(super) fn new(most_events: usize, most_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            most_events,
            most_bytes,
        }
    }

    /// Wakes at every change.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn look(&self, after: Position) -> Look {
        let after = after.get();
        let state = self.state();
        let Some((base, head)) = state.span else {
            // A tail that has not begun may have failed to.
            return state.failed.clone().map_or(Look::AtHead, Look::Failed);
        };
        if after < base {
            return Look::Behind;
        }
        if after >= head {
            return state.failed.clone().map_or(Look::AtHead, Look::Failed);
        }
        let index = state.pages.partition_point(|page| page.last <= after);
        let events = Arc::clone(&state.pages[index].events);
        let from = events.partition_point(|event| event.position.get() <= after);
        Look::Events { events, from }
    }

    /// The tail begins: the ring is empty, and its end is the log's.
    pub(super) fn start(&self, head: Position) {
        *self.state() = State {
            span: Some((head.get(), head.get())),
            ..State::default()
        };
        self.tell();
    }

    /// The tail ends: there is nothing any more.
    pub(super) fn stop(&self) {
        *self.state() = State::default();
        self.tell();
    }

    /// Adds what the tail has read, and drops the oldest where there is no room.
    ///
    /// # Errors
    /// The sentence that says so where the events do not follow on the ring's end.
    pub(super) fn push(&self, events: Vec<RecordedEvent>) -> Result<(), String> {
        let mut state = self.state();
        let Some((mut base, head)) = state.span else {
            return Err("there is no tail".to_owned());
        };
        check_contiguous(Position::new(head), &events)?;
        let Some(last) = events.last().map(|event| event.position.get()) else {
            return Ok(());
        };
        let bytes = events.iter().map(event_bytes).sum();
        state.events += events.len();
        state.bytes += bytes;
        state.pages.push_back(Page {
            events: Arc::new(events),
            bytes,
            last,
        });
        while state.events > self.most_events || state.bytes > self.most_bytes {
            let Some(oldest) = state.pages.pop_front() else {
                break;
            };
            state.events -= oldest.events.len();
            state.bytes -= oldest.bytes;
            base = oldest.last;
        }
        state.span = Some((base, last));
        state.failed = None;
        drop(state);
        self.tell();
        Ok(())
    }

    /// The tail cannot read on, and says why to those who wait for it.
    pub(super) fn fail(&self, error: SubscriptionError) {
        self.state().failed = Some(error);
        self.tell();
    }

    /// The tail can read again.
    pub(super) fn heal(&self) {
        if self.state().failed.take().is_some() {
            self.tell();
        }
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        self.tell();
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub(super) async fn until_closed(&self) {
        // The sender is in `self`, so the channel cannot close.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The position of the last event, how many events there are, and about their bytes.
    pub(super) fn size(&self) -> (Option<Position>, usize, usize) {
        let state = self.state();
        let head = state.span.map(|(_, head)| Position::new(head));
        (head, state.events, state.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|change| *change += 1);
    }
}

/// Whether events follow on a position, without a gap or a repeat.
pub(super) fn check_contiguous(after: Position, events: &[RecordedEvent]) -> Result<(), String> {
    let mut expected = after;
    for event in events {
        expected = expected.next();
        let found = event.position;
        if found != expected {
            return Err(format!(
                "the log has position {found} where {expected} belongs"
            ));
        }
    }
    Ok(())
}
