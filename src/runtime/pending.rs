//! A command or read that an actor has taken and not answered yet.

use super::{
    AnsweredEvent, CommandError,
    ask::{Settled, Work},
    folded::Folded,
    journal::Fate,
    load::Ticket,
    rows::Written,
};
use crate::{
    domain::{Aggregate, EventId, Position, Version},
    store::Commit,
};

/// Work in an actor's queue.
pub(super) struct Pending<A: Aggregate> {
    pub(super) work: Work<A>,
    pub(super) ticket: Ticket,
    pub(super) decided: Decided<A>,
    /// Whether it was taken up: from then on its caller cannot take it back.
    taken: bool,
    /// How often it lost its version to another writer.
    pub(super) conflicts: u32,
    /// Whether the state was read from the store after the work was taken up: then what the
    /// state says needs no look at the store, even where others write to it.
    pub(super) fresh: bool,
    /// Whether the holder of a claim that it lost to was looked at: that is done once.
    pub(super) holder_met: bool,
}

/// What has been decided on the newest state, durable or not.
pub(super) enum Decided<A: Aggregate> {
    /// Nothing yet, or no longer.
    Not,
    /// Something to store.
    Commit(Box<Decision<A>>),
    /// Nothing to store: the answer holds once all before it is durable.
    Answer(Result<(), CommandError>),
}

/// A decision with events or a receipt.
pub(super) struct Decision<A: Aggregate> {
    /// Present until it is handed over.
    pub(super) commit: Option<Commit>,
    pub(super) events: Vec<A::Event>,
    /// The id and type of each event.
    pub(super) written: Vec<(EventId, &'static str)>,
    pub(super) occurred_at: chrono::DateTime<chrono::Utc>,
    /// What is beside the state then, where its type has rows.
    pub(super) beside: Option<Written>,
    /// Whether its events are in the log; not where rows alone are kept.
    pub(super) is_logged: bool,
}

impl<A: Aggregate> Pending<A> {
    pub(super) const fn new(work: Work<A>, ticket: Ticket) -> Self {
        Self {
            work,
            ticket,
            decided: Decided::Not,
            taken: false,
            conflicts: 0,
            fresh: false,
            holder_met: false,
        }
    }

    /// Takes it up, when it is decided for the first time; not where its caller has given up, who
    /// has then been told that it was not handled.
    pub(super) fn take_up(&mut self) -> bool {
        self.taken = self.taken || self.work.take_up();
        self.taken
    }

    pub(super) const fn is_answer(&self) -> bool {
        matches!(self.decided, Decided::Answer(_))
    }

    pub(super) fn fail(self, error: CommandError) {
        self.work.fail(self.ticket, error);
    }

    /// Answers a read from the settled state, and a command with where the state stood that it was
    /// decided on: its reply is of that one, though other commands may be settled meanwhile.
    pub(super) fn answer_nothing_stored(
        self,
        settled: &Folded<A>,
        decided_on: (Version, Position),
        outcome: Result<(), CommandError>,
    ) {
        let ask = match self.work {
            Work::Command(ask) => ask,
            Work::Read(read) => {
                drop(self.ticket);
                // A caller who has gone does not care.
                let _ = read.caller.send(Ok(settled.shown()));
                return;
            }
        };
        drop(self.ticket);
        let correlation_id = ask.meta().correlation_id;
        let (version, position) = decided_on;
        ask.answer(outcome.map(|()| Settled {
            version,
            position,
            correlation_id,
            events: Vec::new(),
            changed: false,
            created: false,
            replayed: false,
            reply: None,
        }));
    }

    /// Folds a durable decision into the settled state, and gives the answer to it.
    pub(super) fn settle(
        &self,
        settled: &mut Folded<A>,
        decision: Decision<A>,
        first_position: Position,
    ) -> Option<Settled> {
        let changed = !decision.events.is_empty();
        let created = settled.version.get() == 0 && changed;
        let mut events = Vec::with_capacity(decision.events.len());
        for (index, (event, (id, event_type))) in
            decision.events.iter().zip(decision.written).enumerate()
        {
            // It was applied once without a panic, when it was decided.
            settled.state.apply(event);
            if !decision.is_logged {
                let (version, position) = (settled.version.next(), settled.position);
                settled.stand_at(version, position, decision.occurred_at);
                continue;
            }
            let position = first_position.plus(index as u64);
            settled.stand_at(settled.version.next(), position, decision.occurred_at);
            events.push(AnsweredEvent {
                id,
                event_type: event_type.into(),
                version: settled.version,
                position,
            });
        }
        if let (Some(beside), Some(written)) = (&mut settled.beside, decision.beside) {
            beside.stand_at(written);
        }
        let Work::Command(ask) = &self.work else {
            return None;
        };
        Some(Settled {
            version: settled.version,
            position: settled.position,
            correlation_id: ask.meta().correlation_id,
            events,
            changed,
            created,
            replayed: false,
            reply: None,
        })
    }

    /// Answers a command with what is stored of it.
    pub(super) fn answer_stored(self, settled: Settled) {
        drop(self.ticket);
        if let Work::Command(ask) = self.work {
            ask.answer(Ok(settled));
        }
    }
}

/// The fates of a hand-over, back to the actor.
pub(super) struct Fates(pub(super) Vec<Fate>);

impl actix::Message for Fates {
    type Result = ();
}
