//! An aggregate type as the runtime knows it, and what all types of a node share.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use tokio::time::Instant;

use super::{
    actor::AggregateActor,
    journal::Journal,
    load::{NodeLoad, Slot},
    loader::Loader,
    meters::{Cause, CommandMeter, KindMeter, NodeMeter},
    passivation::Passivation,
    rows::Rows,
    snapshots::Snapshots,
};
use crate::{
    domain::{
        Aggregate, AggregateId, AggregateType, Clock, EventCodec, Fingerprint, IdGenerator,
        StreamId,
    },
    settings::{AggregateSettings, RuntimeSettings},
    store::EventStore,
};

/// What every actor of the node uses.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: IdGenerator,
    pub(super) journal: Journal,
    pub(super) loader: Loader,
    pub(super) snapshots: Snapshots,
    pub(super) load: Arc<NodeLoad>,
    pub(super) settings: RuntimeSettings,
    /// Whether others write to the store: then nothing is answered from memory alone.
    pub(super) shared: bool,
    /// Whether the node has threads of its own; where it has none, time stands still while
    /// anything runs.
    pub(super) on_threads: bool,
    pub(super) live: AtomicUsize,
    pub(super) passivation: Passivation,
    pub(super) meter: Arc<NodeMeter>,
    /// When it started, by its clock.
    pub(super) started_at: DateTime<Utc>,
    pub(super) started: Instant,
    /// Counts uses, so that of two at one time the later is known.
    pub(super) uses: AtomicU64,
}

impl Node {
    /// Notes a use at a time in milliseconds, for "least recently used" and for "idle".
    pub(super) fn touch(&self, slot: &Slot, now_ms: u64) {
        let tick = self.uses.fetch_add(1, Ordering::Relaxed);
        slot.touch(tick, now_ms);
    }

    /// How old the node was at an instant.
    pub(super) fn age_at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }

    /// Milliseconds since the start; it never goes back.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A live aggregate's actor and the bound on its work.
#[derive(Debug)]
pub(super) struct Live<A: Aggregate> {
    pub(super) actor: Addr<AggregateActor<A>>,
    pub(super) slot: Arc<Slot>,
}

/// One aggregate type: how it is read and written, and which of its aggregates are live.
pub(super) struct Kind<A: Aggregate> {
    pub(super) node: Arc<Node>,
    pub(super) aggregate_type: AggregateType,
    pub(super) codec: Arc<EventCodec<A::Event>>,
    pub(super) fingerprint: Fingerprint,
    pub(super) settings: AggregateSettings,
    /// The name of each command type, and what is counted of its commands.
    pub(super) commands: HashMap<TypeId, CommandMeter>,
    pub(super) meter: KindMeter,
    /// Its state table, where it is mapped to one.
    pub(super) table: Option<Rows<A>>,
    pub(super) live: DashMap<AggregateId, Arc<Live<A>>>,
}

impl<A: Aggregate> std::fmt::Debug for Kind<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind")
            .field("aggregate_type", &self.aggregate_type)
            .field("live", &self.live.len())
            .finish_non_exhaustive()
    }
}

impl<A: Aggregate> Kind<A> {
    pub(super) fn stream(&self, id: &AggregateId) -> StreamId {
        StreamId {
            aggregate_type: self.aggregate_type.clone(),
            aggregate_id: id.clone(),
        }
    }

    /// Its rows, where its mode has any.
    pub(super) fn rows(&self) -> Option<&Rows<A>> {
        self.table.as_ref().filter(|rows| rows.mode.has_rows())
    }

    /// Whether its rows alone are kept, and no events.
    pub(super) fn rows_alone(&self) -> bool {
        self.rows().is_some_and(Rows::alone)
    }

    /// What is counted of the commands of Rust type `C`.
    pub(super) fn command<C: 'static>(&self) -> Option<&CommandMeter> {
        self.commands.get(&TypeId::of::<C>())
    }

    /// The live actor of an aggregate; no guard of the map outlives this call.
    pub(super) fn find(&self, id: &AggregateId) -> Option<Arc<Live<A>>> {
        self.live.get(id).map(|live| Arc::clone(&live))
    }

    /// Forgets an actor that has closed its slot, unless another has its place already.
    pub(super) fn forget(&self, id: &AggregateId, slot: &Arc<Slot>, cause: Cause) {
        self.meter.passivated(cause);
        self.live
            .remove_if(id, |_, live| Arc::ptr_eq(&live.slot, slot));
        self.node.live.fetch_sub(1, Ordering::SeqCst);
    }

    /// Forgets all actors, whose threads have ended.
    pub(super) fn ended(&self) {
        self.live.retain(|_, _| {
            self.meter.passivated(Cause::Shutdown);
            self.node.live.fetch_sub(1, Ordering::SeqCst);
            false
        });
    }

    /// The ids of the live aggregates that have been idle for `idle`, the longest idle first.
    pub(super) fn idle_for(&self, idle: Duration) -> Vec<AggregateId> {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.node.now_ms();
        let idle = self.live.iter().filter(|entry| {
            let slot = &entry.slot;
            slot.is_idle() && now_ms.saturating_sub(slot.last_used_ms()) >= idle_ms
        });
        let mut idle: Vec<_> = idle
            .map(|entry| (entry.slot.last_used_tick(), entry.key().clone()))
            .collect();
        // The map has no order of its own, and a simulation must find them in the same each time.
        idle.sort_unstable_by_key(|(tick, _)| *tick);
        idle.into_iter().map(|(_, id)| id).collect()
    }
}
