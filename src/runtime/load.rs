//! The bounds on unanswered work: one for each live aggregate, one for the node.
//!
//! actix's mailbox capacity is no bound (every cloned address may exceed it), so commands are
//! counted before they are sent, and every later queue is bounded by that count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::domain::Version;

/// All unanswered work of the node.
#[derive(Debug)]
pub(super) struct NodeLoad {
    unanswered: AtomicUsize,
    limit: usize,
    draining: AtomicBool,
    became_idle: Notify,
}

/// Why work was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NodeFull,
    AggregateFull,
    ShuttingDown,
    /// The aggregate's actor has gone to sleep; another is to be woken.
    Asleep,
}

impl NodeLoad {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            unanswered: AtomicUsize::new(0),
            limit,
            draining: AtomicBool::new(false),
            became_idle: Notify::new(),
        })
    }

    /// Counts one more, unless the node is full or ending.
    pub(super) fn enter(self: &Arc<Self>) -> Result<NodePlace, Refusal> {
        // Counted before `draining` is read, as `drain` sets it before it reads the count:
        // either the caller sees the end, or the end sees the caller.
        let before = self.unanswered.fetch_add(1, Ordering::SeqCst);
        let place = NodePlace(Arc::clone(self));
        if self.draining.load(Ordering::SeqCst) {
            return Err(Refusal::ShuttingDown);
        }
        if before >= self.limit {
            return Err(Refusal::NodeFull);
        }
        Ok(place)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Lets nothing more in, and waits until all that is in is answered.
    pub(super) async fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let idle = self.became_idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.unanswered() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// A place among the node's unanswered work; dropping it gives it back.
#[derive(Debug)]
pub(super) struct NodePlace(Arc<NodeLoad>);

impl Drop for NodePlace {
    fn drop(&mut self) {
        if self.0.unanswered.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_draining() {
            self.0.became_idle.notify_waiters();
        }
    }
}

const CLOSED: u32 = 1 << 31;

/// One live aggregate's unanswered work, and when it was last used.
#[derive(Debug)]
pub(super) struct Slot {
    /// The count, and [`CLOSED`] for ever once the actor sleeps.
    unanswered: AtomicU32,
    last_used_tick: AtomicU64,
    last_used_ms: AtomicU64,
    woken_at: Instant,
    /// What its actor shows of itself; nobody decides anything on it.
    shown: Shown,
}

/// What a live aggregate is doing, as its actor last said.
#[derive(Debug, Default)]
struct Shown {
    version: AtomicU64,
    oldest_entered_ms: AtomicU64,
    last_append_us: AtomicU64,
}

impl Slot {
    /// The slot of an actor that is woken now.
    pub(super) fn new() -> Self {
        Self {
            unanswered: AtomicU32::new(0),
            last_used_tick: AtomicU64::new(0),
            last_used_ms: AtomicU64::new(0),
            woken_at: Instant::now(),
            shown: Shown::default(),
        }
    }

    /// Counts one more at a time in milliseconds, unless the aggregate is full or asleep.
    pub(super) fn enter(
        self: &Arc<Self>,
        limit: usize,
        node: NodePlace,
        now_ms: u64,
    ) -> Result<Ticket, (Refusal, NodePlace)> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(CLOSED - 1);
        let entered =
            self.unanswered
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |unanswered| {
                    (unanswered < limit).then_some(unanswered + 1)
                });
        match entered {
            Ok(before) => {
                if before == 0 {
                    self.oldest_entered(now_ms);
                }
                Ok(Ticket {
                    slot: Arc::clone(self),
                    entered_ms: now_ms,
                    _node: node,
                })
            }
            Err(unanswered) if unanswered & CLOSED == 0 => Err((Refusal::AggregateFull, node)),
            Err(_) => Err((Refusal::Asleep, node)),
        }
    }

    /// Lets nothing more in, if nothing is in: from then on the actor may stop and lose nothing.
    pub(super) fn close_if_idle(&self) -> bool {
        self.unanswered
            .compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Closes it though work may be in it, because its actor is gone; true for who is first.
    pub(super) fn abandon(&self) -> bool {
        self.unanswered.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) == 0
    }

    /// Notes that it is used, at a tick of the node's count of uses and a time in milliseconds.
    pub(super) fn touch(&self, tick: u64, now_ms: u64) {
        self.last_used_tick.store(tick, Ordering::Relaxed);
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn last_used_tick(&self) -> u64 {
        self.last_used_tick.load(Ordering::Relaxed)
    }

    pub(super) fn last_used_ms(&self) -> u64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }

    pub(super) const fn woken_at(&self) -> Instant {
        self.woken_at
    }

    /// How much is unanswered.
    pub(super) fn depth(&self) -> u32 {
        self.unanswered.load(Ordering::Relaxed) & !CLOSED
    }

    /// Shows the version its actor has settled.
    pub(super) fn stands_at(&self, version: Version) {
        self.shown.version.store(version.get(), Ordering::Relaxed);
    }

    /// Shows when the oldest unanswered work was let in. What waits in the mailbox is not seen
    /// by the actor: where it holds nothing itself, that is since its last answer at most.
    pub(super) fn oldest_entered(&self, ms: u64) {
        self.shown.oldest_entered_ms.store(ms, Ordering::Relaxed);
    }

    /// Shows how long its last append took.
    pub(super) fn appended_in(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // Zero stands for none.
        self.shown
            .last_append_us
            .store(us.max(1), Ordering::Relaxed);
    }

    /// The version it last showed.
    pub(super) fn version(&self) -> Version {
        Version::new(self.shown.version.load(Ordering::Relaxed))
    }

    /// Since when its oldest unanswered work waits, in milliseconds of the node.
    pub(super) fn oldest_entered_ms(&self) -> u64 {
        self.shown.oldest_entered_ms.load(Ordering::Relaxed)
    }

    /// How long its last append took; nothing where it made none.
    pub(super) fn last_append(&self) -> Option<Duration> {
        let us = self.shown.last_append_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }
}

/// A place among an aggregate's unanswered work; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Ticket {
    slot: Arc<Slot>,
    entered_ms: u64,
    _node: NodePlace,
}

impl Ticket {
    /// When it was let in, in milliseconds of the node.
    pub(super) const fn entered_ms(&self) -> u64 {
        self.entered_ms
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.unanswered.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_nothing_is_let_in_until_a_place_is_given_back() {
        let node = NodeLoad::new(2);
        let slot = Arc::new(Slot::new());

        let first = slot.enter(1, node.enter().unwrap(), 0).unwrap();
        let (refusal, place) = slot.enter(1, node.enter().unwrap(), 0).unwrap_err();
        let full = node.enter().unwrap_err();
        drop(first);
        let second = slot.enter(1, place, 0);

        assert_eq!((refusal, full), (Refusal::AggregateFull, Refusal::NodeFull));
        assert!(second.is_ok());
    }

    #[test]
    fn a_slot_closes_only_when_idle_and_then_for_ever() {
        let node = NodeLoad::new(9);
        let slot = Arc::new(Slot::new());

        let ticket = slot.enter(1, node.enter().unwrap(), 0).unwrap();
        let while_busy = slot.close_if_idle();
        drop(ticket);
        let while_idle = slot.close_if_idle();
        let (refusal, _place) = slot.enter(1, node.enter().unwrap(), 0).unwrap_err();

        assert_eq!((while_busy, while_idle), (false, true));
        assert_eq!(refusal, Refusal::Asleep);
    }

    #[tokio::test]
    async fn a_drain_ends_when_the_last_is_answered() {
        let node = NodeLoad::new(9);
        let place = node.enter().unwrap();

        let draining = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.drain().await }
        });
        while !node.is_draining() {
            tokio::task::yield_now().await;
        }
        let refused = node.enter().unwrap_err();
        drop(place);
        draining.await.unwrap();

        assert_eq!(refused, Refusal::ShuttingDown);
        assert_eq!(node.unanswered(), 0);
    }
}
