//! The actor of one live aggregate: it takes work in its order, decides at once on its newest
//! state, hands over what is to be stored, and answers what has become durable.
//!
//! Its state is held twice: `settled` is what the store has, `ahead` has what is decided on
//! top. Nobody but a decision ever sees `ahead`. The queue holds all unanswered work, in order:
//! first what is in flight at the journal, then what is decided, then what is not.
//!
//! How the pieces follow each other: [`Take`] → decide → [`HandOverNow`] → journal →
//! [`Fates`] (in `settle`) → answers. Where the state turns out to be behind the store, the
//! actor loads and decides again, with its mailbox closed meanwhile (`ctx.wait`).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler,
    WrapFuture as _,
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, error};

use super::{
    CommandError, RecoveryError,
    ask::Work,
    decide::{Ahead, StateAfter, decide},
    folded::Folded,
    journal::{Failure, Fate, HandOver},
    kind::Kind,
    load::{Slot, Ticket},
    meters::Cause,
    pace::{self, Return},
    passivation::Asked,
    pending::{Decided, Fates, Pending},
    rows,
};
use crate::domain::{Aggregate, AggregateId, Claim, IdGenerator, StreamId, error_chain};

/// Work for the actor, counted by its ticket.
pub(super) struct Take<A: Aggregate> {
    pub(super) work: Work<A>,
    pub(super) ticket: Ticket,
}

impl<A: Aggregate> actix::Message for Take<A> {
    type Result = ();
}

/// Sleep, if there is nothing to do.
#[derive(Debug)]
pub(super) struct Passivate {
    /// Present where it is asked to make room for others; dropped with the message.
    pub(super) asked: Option<Asked>,
}

impl actix::Message for Passivate {
    type Result = ();
}

/// Hand over what is decided: it comes after the mailbox has been drained once, so that
/// commands which arrive together are written together.
#[derive(Debug, Clone, Copy)]
struct HandOverNow;

impl actix::Message for HandOverNow {
    type Result = ();
}

/// How far the state must be read from the store before anything is decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reload {
    /// Not at all.
    No,
    /// What came after the settled version.
    Tail,
    /// Everything.
    Whole,
}

/// One aggregate, live.
pub(super) struct AggregateActor<A: Aggregate> {
    pub(super) kind: Arc<Kind<A>>,
    pub(super) stream: StreamId,
    slot: Arc<Slot>,
    /// What the store has; absent until it is first loaded, and where it cannot be trusted.
    pub(super) settled: Option<Folded<A>>,
    pub(super) ahead: Ahead<A>,
    pub(super) queue: VecDeque<Pending<A>>,
    /// How many of the queue, from the front, have been handed over.
    pub(super) in_flight: usize,
    pub(super) reload: Reload,
    /// Holders of claims that stood in the way, to be looked at before anything is decided again.
    pub(super) holders: Vec<(AggregateId, Claim)>,
    /// How often the state was loaded: between two loads, every new version is this actor's own.
    pub(super) loads: u64,
    hand_over_scheduled: bool,
    handed_over_at: Instant,
    /// Whom to let come back before the next hand-over.
    return_of_callers: Return,
    /// Whether the state is being read; the mailbox waits until it is there.
    loading: bool,
}

impl<A: Aggregate> AggregateActor<A> {
    pub(super) fn new(kind: Arc<Kind<A>>, stream: StreamId, slot: Arc<Slot>) -> Self {
        Self {
            kind,
            stream,
            slot,
            settled: None,
            ahead: Ahead::default(),
            queue: VecDeque::new(),
            in_flight: 0,
            reload: Reload::No,
            holders: Vec::new(),
            loads: 0,
            hand_over_scheduled: false,
            handed_over_at: Instant::now(),
            return_of_callers: Return::default(),
            loading: false,
        }
    }

    /// Decides on the newest state and queues the decision; drops what nobody waits for any more.
    fn decide(&mut self, mut pending: Pending<A>) {
        if !pending.take_up() {
            return;
        }
        let outcome = match &mut pending.work {
            Work::Read(_) => {
                pending.decided = Decided::Answer(Ok(()));
                StateAfter::Sound
            }
            Work::Command(ask) => {
                let deciding = ask.stages().decide();
                let outcome = deciding
                    .in_scope(|| decide(&self.kind, &self.stream, &mut self.ahead, &mut **ask));
                pending.decided = outcome.decided;
                ask.stages().flush();
                outcome.state
            }
        };
        self.queue.push_back(pending);
        match outcome {
            StateAfter::Sound => {}
            StateAfter::AheadOfDecisions => self.fold_decisions(),
            StateAfter::Suspect => self.reload = Reload::Whole,
        }
    }

    /// The newest state anew: what is settled, and what is decided on top of it.
    fn fold_decisions(&mut self) {
        // Where there are rows, their loading sees to the claims.
        let foreign_writers =
            self.kind.rows().is_none() && self.kind.node.store.has_foreign_writers();
        self.ahead = Ahead::new(self.settled.clone().unwrap_or_default(), foreign_writers);
        for pending in &self.queue {
            if let Decided::Commit(decision) = &pending.decided {
                self.ahead.catch_up(decision);
            }
        }
    }

    /// Decides all that is undecided, in its order, on what is settled.
    pub(super) fn decide_anew(&mut self, ctx: &mut Context<Self>) {
        // Where there are rows, their loading sees to the claims.
        let foreign_writers =
            self.kind.rows().is_none() && self.kind.node.store.has_foreign_writers();
        self.ahead = Ahead::new(self.settled.clone().unwrap_or_default(), foreign_writers);
        for pending in std::mem::take(&mut self.queue) {
            if self.reload == Reload::No {
                self.decide(pending);
            } else {
                self.queue.push_back(pending);
            }
        }
        self.go_on(ctx);
    }

    /// Answers what needs no store, hands over what does, or loads what is missing.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.in_flight > 0 || self.loading {
            return;
        }
        while let Some(pending) = self.queue.pop_front_if(|pending| pending.is_answer()) {
            self.finish(pending, ctx);
        }
        let decided = self
            .queue
            .iter()
            .take_while(|pending| !matches!(pending.decided, Decided::Not))
            .count();
        if decided > 0 {
            self.hand_over(decided, ctx);
        } else if !self.queue.is_empty() {
            self.load(ctx);
        } else if self
            .settled
            .as_ref()
            .is_some_and(|settled| settled.version.get() == 0)
        {
            // Nobody asked for it to exist: asking after names that are not there takes no memory.
            self.sleep_if_idle(Cause::Absent, ctx);
        }
    }

    /// Goes on once the callers that were just answered have had the time to come back.
    pub(super) fn go_on_after_return(&mut self, answered: usize, ctx: &mut Context<Self>) {
        self.return_of_callers = Return::of(answered, self.queue.len(), self.handed_over_at);
        self.await_return(ctx);
    }

    fn await_return(&mut self, ctx: &mut Context<Self>) {
        if !self.return_of_callers.is_awaited_at(self.queue.len()) {
            self.hand_over_scheduled = false;
            self.go_on(ctx);
            return;
        }
        // Until then no other hand-over is to be scheduled.
        self.hand_over_scheduled = true;
        let yielded = pace::let_others_run(self.kind.node.on_threads)
            .into_actor(self)
            .map(|(), actor, ctx| actor.await_return(ctx));
        ctx.spawn(yielded);
    }

    fn hand_over(&mut self, decided: usize, ctx: &Context<Self>) {
        let commits: Vec<_> = self
            .queue
            .iter_mut()
            .take(decided)
            .filter_map(|pending| match &mut pending.decided {
                Decided::Commit(decision) => decision.commit.take(),
                Decided::Not | Decided::Answer(_) => None,
            })
            .collect();
        self.in_flight = decided;
        self.handed_over_at = Instant::now();
        let count = commits.len();
        let me = ctx.address();
        let settle = Box::new(move |fates| {
            // An actor that is gone has ended with its runtime; its callers hear so.
            let _ = me.try_send(Fates(fates));
        });
        if !self
            .kind
            .node
            .journal
            .hand_over(HandOver { commits, settle })
        {
            let fate = || Fate::Failed(Failure::Unavailable);
            let fates = (0..count).map(|_| fate()).collect();
            // As above.
            let _ = ctx.address().try_send(Fates(fates));
        }
    }

    /// Reads the state, or what it lacks, from the store; the mailbox waits meanwhile.
    fn load(&mut self, ctx: &mut Context<Self>) {
        self.loading = true;
        for pending in &mut self.queue {
            pending.fresh = true;
        }
        let known = match self.reload {
            Reload::Whole => None,
            Reload::No | Reload::Tail => self.settled.take(),
        };
        self.settled = None;
        let conflicts = self.queue.front().map_or(0, |pending| pending.conflicts);
        let span = self.queue.front().and_then(|first| first.work.recovery());
        let pause = pause_after(conflicts, &self.kind.node.ids);
        let kind = Arc::clone(&self.kind);
        let stream = self.stream.clone();
        let holders = std::mem::take(&mut self.holders);
        let load = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            for (holder, claim) in &holders {
                rows::look_at_holder(&kind, holder, claim).await;
            }
            rows::load(&kind, &stream, known).await
        };
        let load = load.instrument(span.unwrap_or_else(Span::none));
        let load = load
            .into_actor(self)
            .map(|loaded, actor, ctx| actor.loaded(loaded, ctx));
        ctx.wait(load);
    }

    fn loaded(&mut self, loaded: Result<Folded<A>, RecoveryError>, ctx: &mut Context<Self>) {
        self.loading = false;
        self.reload = Reload::No;
        self.loads += 1;
        match loaded {
            Ok(folded) => {
                if self.loads == 1 {
                    let took = self.slot.woken_at().elapsed();
                    self.kind.meter.activation_duration.record_duration(took);
                }
                self.settled = Some(folded);
                self.publish();
                self.decide_anew(ctx);
            }
            Err(error) => {
                self.kind.meter.activation_failures.increment();
                error!(stream = %self.stream, error = error_chain(&error), "an aggregate cannot be recovered");
                let error = unloaded(error);
                for pending in std::mem::take(&mut self.queue) {
                    pending.fail(error.clone());
                }
            }
        }
    }

    /// Shows where it stands to whoever looks at its slot.
    pub(super) fn publish(&self) {
        if let Some(settled) = &self.settled {
            self.slot.stands_at(settled.version);
        }
        let oldest = self
            .queue
            .front()
            .map(|pending| pending.ticket.entered_ms());
        let oldest = oldest.unwrap_or_else(|| self.kind.node.now_ms());
        self.slot.oldest_entered(oldest);
    }

    pub(super) fn note_append(&self) {
        self.slot.appended_in(self.handed_over_at.elapsed());
    }

    /// Stops, if nothing is unanswered: from then on the handle wakes another actor.
    fn sleep_if_idle(&mut self, cause: Cause, ctx: &mut Context<Self>) {
        if self.queue.is_empty() && self.slot.close_if_idle() {
            self.kind
                .forget(&self.stream.aggregate_id, &self.slot, cause);
            ctx.stop();
        }
    }
}

fn unloaded(error: RecoveryError) -> CommandError {
    if matches!(error, RecoveryError::RowContended { .. }) {
        CommandError::WriteConflict
    } else if error.is_retryable() {
        CommandError::StoreUnavailable
    } else {
        CommandError::Unrecoverable(Arc::new(error))
    }
}

/// After the first lost race at once, then later and later, and never at the same time as the
/// other writer: up to 64 ms.
fn pause_after(conflicts: u32, ids: &IdGenerator) -> Duration {
    if conflicts < 2 {
        return Duration::ZERO;
    }
    let ceiling_us = 1000_u128 << conflicts.min(6);
    // A new id is as good a die as any, and the only one here that can be seeded.
    let pause_us = ids.next().random() % (ceiling_us + 1);
    Duration::from_micros(u64::try_from(pause_us).unwrap_or(0))
}

impl<A: Aggregate> Actor for AggregateActor<A> {
    type Context = Context<Self>;
}

impl<A: Aggregate> Handler<Take<A>> for AggregateActor<A> {
    type Result = ();

    fn handle(&mut self, take: Take<A>, ctx: &mut Context<Self>) {
        if take.work.is_abandoned() {
            return;
        }
        let pending = Pending::new(take.work, take.ticket);
        if self.settled.is_none() || self.reload != Reload::No {
            self.queue.push_back(pending);
            self.go_on(ctx);
            return;
        }
        let others_write = self.kind.node.shared || self.kind.rows().is_some();
        if let (Work::Read(_), false, Some(settled)) = (&pending.work, others_write, &self.settled)
        {
            // Every acknowledged command is in the settled state, and nobody else writes.
            let at = (settled.version, settled.position);
            pending.answer_nothing_stored(settled, at, Ok(()));
            return;
        }
        self.decide(pending);
        if !self.hand_over_scheduled {
            self.hand_over_scheduled = true;
            ctx.notify(HandOverNow);
        }
    }
}

impl<A: Aggregate> Handler<HandOverNow> for AggregateActor<A> {
    type Result = ();

    fn handle(&mut self, _: HandOverNow, ctx: &mut Context<Self>) {
        self.hand_over_scheduled = false;
        self.go_on(ctx);
        self.publish();
    }
}

impl<A: Aggregate> Handler<Passivate> for AggregateActor<A> {
    type Result = ();

    fn handle(&mut self, passivate: Passivate, ctx: &mut Context<Self>) {
        let cause = match passivate.asked {
            Some(_) => Cause::Room,
            None => Cause::Idle,
        };
        self.sleep_if_idle(cause, ctx);
    }
}
