//! Sleep over `max_live`: who was used longest ago goes first, whatever its type.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicUsize, Ordering},
};

use crate::domain::{Aggregate, AggregateId};

use super::{
    actor::Passivate,
    kind::{Kind, Node},
    load::Slot,
};

/// An aggregate type whose live aggregates can be sent to sleep.
pub(super) trait Sleeper: Send + Sync {
    /// Adds those with no unanswered work: when they were last used, and which they are.
    fn idle(&self, kind: usize, idle: &mut Vec<(u64, usize, AggregateId)>);

    /// Asks one to sleep.
    fn passivate(&self, id: &AggregateId, asked: Asked);
}

impl<A: Aggregate> Sleeper for Kind<A> {
    fn idle(&self, kind: usize, idle: &mut Vec<(u64, usize, AggregateId)>) {
        let unused = self.live.iter().filter(|entry| entry.slot.is_idle());
        idle.extend(unused.map(|entry| (entry.slot.last_used_tick(), kind, entry.key().clone())));
    }

    fn passivate(&self, id: &AggregateId, asked: Asked) {
        if let Some(live) = self.find(id) {
            // An actor that is gone needs no sleep.
            let _ = live.actor.try_send(Passivate { asked: Some(asked) });
        }
    }
}

/// One that was asked to sleep and has not answered yet.
#[derive(Debug)]
pub(super) struct Asked(Arc<AtomicUsize>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The node's aggregate types, and how many aggregates are falling asleep.
#[derive(Default)]
pub(super) struct Passivation {
    kinds: OnceLock<Vec<Weak<dyn Sleeper>>>,
    asked: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Passivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passivation")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl Passivation {
    /// Tells which aggregate types there are; once, at the start.
    pub(super) fn know(&self, kinds: Vec<Weak<dyn Sleeper>>) {
        // There is one start.
        let _ = self.kinds.set(kinds);
    }

    /// Over `max_live`, asks the least recently used to sleep, but never the one just `woken`.
    ///
    /// One look at all costs time in their number, so it makes room for a sixteenth more. Those
    /// with unanswered work stay: live aggregates are at most `max_live` and `max_in_flight`.
    pub(super) fn make_room(&self, node: &Node, woken: &Arc<Slot>) {
        let max_live = node.settings.max_live;
        let leaving = self.asked.load(Ordering::SeqCst);
        let staying = node.live.load(Ordering::SeqCst).saturating_sub(leaving);
        let over = staying.saturating_sub(max_live);
        if over == 0 {
            return;
        }
        let kinds = self.kinds.get().map_or(&[][..], Vec::as_slice);
        let mut idle = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            if let Some(kind) = kind.upgrade() {
                kind.idle(index, &mut idle);
            }
        }
        let newest = woken.last_used_tick();
        idle.retain(|(tick, _, _)| *tick != newest);
        let wanted = over + max_live / 16;
        if idle.len() > wanted {
            idle.select_nth_unstable_by_key(wanted - 1, |(tick, _, _)| *tick);
            idle.truncate(wanted);
        }
        idle.sort_unstable_by_key(|(tick, _, _)| *tick);
        for (_, kind, id) in idle {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let asked = Asked(Arc::clone(&self.asked));
            if let Some(kind) = kinds[kind].upgrade() {
                kind.passivate(&id, asked);
            }
        }
    }
}
