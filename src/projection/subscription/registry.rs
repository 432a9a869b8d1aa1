//! Who follows the log, and how far each has got. While there is anyone, there is a tail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{Shared, tail};
use crate::domain::Position;

/// What subscriptions read, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionsSnapshot {
    /// The last position that the tail has read; nothing while nobody follows the log.
    pub head: Option<Position>,
    /// Events in memory for all subscriptions.
    pub tail_events: usize,
    /// About the bytes of those.
    pub tail_bytes: usize,
    /// Each subscription, the oldest first.
    pub subscriptions: Vec<SubscriptionSnapshot>,
}

/// Where one subscription is, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionSnapshot {
    /// Its number in this process.
    pub id: u64,
    /// All that it means up to here has been handed out.
    pub position: Position,
    /// How many positions the log's end is ahead of it.
    pub lag: u64,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// Told when the last subscription went away.
    pub(super) emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    cursors: BTreeMap<u64, Arc<AtomicU64>>,
    has_tail: bool,
}

/// A subscription's entry; it goes with the value.
pub(super) struct Registered {
    shared: Arc<Shared>,
    id: u64,
    cursor: Arc<AtomicU64>,
}

/// Enters a subscription, and starts the tail where there is none.
pub(super) fn register(shared: &Arc<Shared>, after: Position) -> Registered {
    let cursor = Arc::new(AtomicU64::new(after.get()));
    let mut state = shared.registry.state();
    state.last_id += 1;
    let id = state.last_id;
    state.cursors.insert(id, Arc::clone(&cursor));
    if !std::mem::replace(&mut state.has_tail, true) {
        drop(state);
        let tail = tail::Tail::new(Arc::clone(shared));
        shared.runtime.spawn(tail.run());
    }
    Registered {
        shared: Arc::clone(shared),
        id,
        cursor,
    }
}

impl Registered {
    pub(super) fn moved_to(&self, position: Position) {
        self.cursor.store(position.get(), Ordering::Relaxed);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let registry = &self.shared.registry;
        let mut state = registry.state();
        state.cursors.remove(&self.id);
        if state.cursors.is_empty() {
            registry.emptied.notify_one();
        }
    }
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the tail end where nobody needs it: `end` is done before another can begin.
    pub(super) fn end_tail_if_unused(&self, end: impl FnOnce()) -> bool {
        let mut state = self.state();
        if !state.cursors.is_empty() {
            return false;
        }
        end();
        state.has_tail = false;
        true
    }

    /// The tail ended though it was needed: its runtime did, or it panicked.
    pub(super) fn lost_tail(&self) {
        self.state().has_tail = false;
    }

    pub(super) fn snapshot(&self, head: Option<Position>) -> Vec<SubscriptionSnapshot> {
        let head = head.map_or(0, Position::get);
        let state = self.state();
        let cursors = state.cursors.iter().map(|(id, cursor)| {
            let position = cursor.load(Ordering::Relaxed);
            SubscriptionSnapshot {
                id: *id,
                position: Position::new(position),
                lag: head.saturating_sub(position),
            }
        });
        cursors.collect()
    }
}
