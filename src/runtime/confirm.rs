//! Answers that store nothing: a rejection, a no-op, a read.
//!
//! They hold once all before them is durable. Where the command had a key, an earlier one
//! under it may have succeeded, and its receipt is the answer. Where others write to the store,
//! the store is asked whether the state decided on is the newest.

use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::warn;

use super::{
    AnsweredEvent, CommandError,
    actor::{AggregateActor, Reload},
    ask::{KeyMeta, Settled, Work},
    decide::may_have_a_receipt,
    kind::Kind,
    pending::{Decided, Pending},
    rows::Standing,
};
use crate::{
    domain::{Aggregate, Position, StreamId, Version, error_chain},
    store::{EventStore, ReadError, Receipt},
};

/// What the store said of an answer.
enum Confirmed {
    /// An earlier command under the key has answered.
    Earlier(Box<Settled>),
    /// The aggregate stands here; absent where nobody asked.
    At(Option<Standing>),
}

impl<A: Aggregate> AggregateActor<A> {
    /// Answers work that stores nothing, all before it being durable.
    pub(super) fn finish(&mut self, mut pending: Pending<A>, ctx: &mut Context<Self>) {
        let Decided::Answer(outcome) = std::mem::replace(&mut pending.decided, Decided::Not) else {
            return self.decide_later(pending, ctx);
        };
        let Some(settled) = &self.settled else {
            return self.decide_later(pending, ctx);
        };
        let key = match &pending.work {
            Work::Command(ask) if may_have_a_receipt(ask.meta(), &outcome) => {
                ask.meta().key.clone()
            }
            Work::Command(_) | Work::Read(_) => None,
        };
        let has_rows = self.kind.rows().is_some();
        // Whoever writes to the store, others write the rows.
        let probe = (self.kind.node.shared || has_rows) && !pending.fresh;
        let decided_on = (settled.version, settled.position);
        if key.is_none() && !probe {
            pending.answer_nothing_stored(settled, decided_on, outcome);
            return;
        }
        let loads = self.loads;
        let stood = Standing::of(settled);
        let confirm = confirm(Arc::clone(&self.kind), self.stream.clone(), key, probe);
        let confirm =
            in_its_own_task(confirm)
                .into_actor(self)
                .map(move |confirmed, actor, ctx| match confirmed {
                    Ok(Confirmed::Earlier(earlier)) => {
                        actor.catch_up_with(earlier.version, ctx);
                        pending.answer_stored(*earlier);
                    }
                    Ok(Confirmed::At(current)) => {
                        let newest = actor.is_newest(current.as_ref(), &stood, loads);
                        match &actor.settled {
                            Some(settled) if newest => {
                                pending.answer_nothing_stored(settled, decided_on, outcome);
                            }
                            _ => actor.decide_later(pending, ctx),
                        }
                    }
                    Err(error) => pending.fail(error),
                });
        ctx.spawn(confirm);
    }

    /// Whether a decision on `decided_on` holds, the store being at `current`: it does, too,
    /// where all that came after is this actor's own, for its version checks then prove that
    /// the store was at `decided_on` after the command was sent.
    fn is_newest(&self, current: Option<&Standing>, decided_on: &Standing, loads: u64) -> bool {
        let (Some(current), Some(settled)) = (current, &self.settled) else {
            return self.settled.is_some();
        };
        if current.is_as(decided_on) {
            return true;
        }
        let is_own = if current.beside.is_some() {
            // A row that somebody else wrote may stand at a version of this actor's.
            current.is_as(&Standing::of(settled))
        } else {
            current.version <= settled.version
        };
        self.loads == loads && is_own
    }

    /// Reads what the state lacks of an answer that is about to be given, so that nobody who
    /// heard it reads an older state.
    fn catch_up_with(&mut self, version: Version, ctx: &mut Context<Self>) {
        if self
            .settled
            .as_ref()
            .is_some_and(|settled| settled.version < version)
        {
            self.undecide_from(self.in_flight);
            self.reload = self.reload.max(Reload::Tail);
            self.go_on(ctx);
        }
    }

    /// The store has moved on: decide this again once the state has caught up.
    fn decide_later(&mut self, mut pending: Pending<A>, ctx: &mut Context<Self>) {
        pending.decided = Decided::Not;
        self.queue.push_back(pending);
        self.undecide_from(self.in_flight);
        self.reload = self.reload.max(Reload::Tail);
        self.go_on(ctx);
    }

    /// Answers a command from the receipt its key met.
    pub(super) fn replay(&self, pending: Pending<A>, receipt: Receipt, ctx: &mut Context<Self>) {
        let Work::Command(ask) = &pending.work else {
            return;
        };
        let Some(key) = ask.meta().key.clone() else {
            return pending.fail(CommandError::Internal(
                "a command without a key met a receipt".to_owned(),
            ));
        };
        let store = Arc::clone(&self.kind.node.store);
        let stream = self.stream.clone();
        let replay = async move { earlier_answer(&*store, &stream, &key, receipt).await };
        let replay = in_its_own_task(replay)
            .into_actor(self)
            .map(|answer, _, _| match answer {
                Ok(settled) => pending.answer_stored(settled),
                Err(error) => pending.fail(error),
            });
        ctx.spawn(replay);
    }
}

/// Asks the store in a task of its own. What an actor polls itself stands still while it loads
/// (`ctx.wait`), and keeps the connection that it was given meanwhile; a few such actors would have all
/// of them, and none would be left to load with.
fn in_its_own_task<T: 'static>(
    asking: impl Future<Output = Result<T, CommandError>> + 'static,
) -> impl Future<Output = Result<T, CommandError>> {
    let asking = actix_rt::spawn(asking);
    async move {
        asking.await.unwrap_or_else(|broke_off| {
            let why = format!("an answer was not confirmed: {broke_off}");
            Err(CommandError::Internal(why))
        })
    }
}

async fn confirm<A: Aggregate>(
    kind: Arc<Kind<A>>,
    stream: StreamId,
    key: Option<KeyMeta>,
    probe: bool,
) -> Result<Confirmed, CommandError> {
    let store = &kind.node.store;
    if let Some(key) = key {
        let receipt = store.receipt(&stream, &key.key).await;
        if let Some(receipt) = receipt.map_err(|error| unread(&error))? {
            let settled = earlier_answer(&**store, &stream, &key, receipt).await?;
            return Ok(Confirmed::Earlier(Box::new(settled)));
        }
    }
    if !probe {
        return Ok(Confirmed::At(None));
    }
    let standing = match kind.rows() {
        Some(rows) => rows.standing(&**store, &stream).await,
        None => store
            .current_version(&stream)
            .await
            .map(Standing::at_version),
    };
    match standing {
        Ok(standing) => Ok(Confirmed::At(Some(standing))),
        Err(error) => Err(unread(&error)),
    }
}

/// The first answer under a key, from its receipt and the events it tells of.
async fn earlier_answer(
    store: &dyn EventStore,
    stream: &StreamId,
    key: &KeyMeta,
    receipt: Receipt,
) -> Result<Settled, CommandError> {
    if receipt.command_hash != key.command_hash {
        return Err(CommandError::KeyReused);
    }
    let version = receipt.version_after();
    let changed = receipt.versions() > 0;
    let created = receipt.first_version.get() == 1 && changed;
    if !receipt.has_events() {
        return Ok(Settled {
            version,
            position: last_position_of(store, stream).await?,
            correlation_id: receipt.correlation_id,
            events: Vec::new(),
            changed,
            created,
            replayed: true,
            reply: receipt.reply,
        });
    }
    let count = receipt.event_count;
    // Where it stored nothing, the event before tells the position.
    let (from, limit) = if count == 0 {
        (version, 1)
    } else {
        (receipt.first_version, count)
    };
    let recorded = if version == Version::ZERO {
        Vec::new()
    } else {
        let events = store.events(stream, from, limit).await;
        events.map_err(|error| unread(&error))?
    };
    let position = recorded
        .last()
        .map_or(Position::ZERO, |event| event.position);
    let events = recorded.into_iter().take(count as usize);
    Ok(Settled {
        version,
        position,
        correlation_id: receipt.correlation_id,
        events: events
            .map(|event| AnsweredEvent {
                id: event.id,
                event_type: event.event_type.into(),
                version: event.version,
                position: event.position,
            })
            .collect(),
        changed,
        created,
        replayed: true,
        reply: receipt.reply,
    })
}

/// The position of a stream's last event; zero where it has none.
async fn last_position_of(
    store: &dyn EventStore,
    stream: &StreamId,
) -> Result<Position, CommandError> {
    let version = store.current_version(stream).await;
    let version = version.map_err(|error| unread(&error))?;
    let last = store.events(stream, version, 1).await;
    let last = last.map_err(|error| unread(&error))?;
    Ok(last.last().map_or(Position::ZERO, |event| event.position))
}

/// A command that stored nothing could not be answered, because the store could not be read.
fn unread(error: &ReadError) -> CommandError {
    warn!(
        error = error_chain(error),
        "an answer could not be confirmed"
    );
    match error {
        ReadError::Unavailable(_) => CommandError::StoreUnavailable,
        ReadError::Corrupt { what } => CommandError::Internal(what.clone()),
    }
}
