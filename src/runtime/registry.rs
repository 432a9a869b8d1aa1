//! The registry of an aggregate type: it alone wakes actors, so each aggregate has one at most.
//!
//! Handles find live actors in the map themselves; only a miss comes here. It also sends to
//! sleep what is idle, and over `max_live` what was used longest ago.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, AsyncContext as _, Context, Handler, MessageResult};

use super::{
    actor::{AggregateActor, Passivate},
    kind::{Kind, Live},
    load::Slot,
    meters::Cause,
    system::Place,
};
use crate::domain::{Aggregate, AggregateId};

/// Wakes the actors of one aggregate type.
pub(super) struct Registry<A: Aggregate> {
    pub(super) kind: Arc<Kind<A>>,
    pub(super) arbiters: Arc<Arbiters>,
}

/// The threads that actors live on, in turn.
#[derive(Debug)]
pub(super) struct Arbiters {
    places: Vec<Place>,
    next: AtomicUsize,
}

impl Arbiters {
    pub(super) fn new(places: Vec<Place>) -> Arc<Self> {
        Arc::new(Self {
            places,
            next: AtomicUsize::new(0),
        })
    }

    fn next(&self) -> &Place {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.places.len();
        &self.places[index]
    }
}

/// Find or wake the actor of an aggregate.
pub(super) struct Wake<A> {
    id: AggregateId,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Wake<A> {
    pub(super) const fn new(id: AggregateId) -> Self {
        Self {
            id,
            aggregate: PhantomData,
        }
    }
}

impl<A: Aggregate> actix::Message for Wake<A> {
    type Result = Arc<Live<A>>;
}

/// How often at most, and at least, the idle are looked for.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);
const LONGEST_SWEEP: Duration = Duration::from_secs(15);

impl<A: Aggregate> Actor for Registry<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let idle = self.kind.settings.idle_timeout;
        let period = (idle / 4).clamp(SHORTEST_SWEEP, LONGEST_SWEEP);
        ctx.run_interval(period, move |registry, _| {
            for id in registry.kind.idle_for(idle) {
                registry.passivate(&id);
            }
        });
    }
}

impl<A: Aggregate> Handler<Wake<A>> for Registry<A> {
    type Result = MessageResult<Wake<A>>;

    fn handle(&mut self, wake: Wake<A>, _: &mut Context<Self>) -> Self::Result {
        if let Some(live) = self.kind.find(&wake.id) {
            if !live.slot.is_closed() && live.actor.connected() {
                return MessageResult(live);
            }
            // An actor that ended without closing its slot met a bug; another takes its place.
            if live.slot.abandon() {
                self.kind.forget(&wake.id, &live.slot, Cause::Lost);
            }
        }
        let live = self.wake(wake.id);
        let node = &self.kind.node;
        node.passivation.make_room(node, &live.slot);
        MessageResult(live)
    }
}

impl<A: Aggregate> Registry<A> {
    fn wake(&self, id: AggregateId) -> Arc<Live<A>> {
        self.kind.meter.activations.increment();
        let slot = Arc::new(Slot::new());
        let node = &self.kind.node;
        node.touch(&slot, node.now_ms());
        // No capacity: actix's bound is none, and ours is counted in the slot.
        let (sender, receiver) = actix::dev::channel::channel(0);
        let actor = actix::Addr::new(sender);
        let kind = Arc::clone(&self.kind);
        let stream = kind.stream(&id);
        let actors_slot = Arc::clone(&slot);
        self.arbiters.next().spawn(move || {
            let actor = AggregateActor::new(kind, stream, actors_slot);
            Context::with_receiver(receiver).into_future(actor)
        });
        let live = Arc::new(Live { actor, slot });
        self.kind.live.insert(id, Arc::clone(&live));
        self.kind.node.live.fetch_add(1, Ordering::SeqCst);
        live
    }

    fn passivate(&self, id: &AggregateId) {
        if let Some(live) = self.kind.find(id) {
            // An actor that is gone needs no sleep.
            let _ = live.actor.try_send(Passivate { asked: None });
        }
    }
}
