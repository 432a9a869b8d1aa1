//! The handle to all aggregates of a type: what users of the library hold.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Answer, CommandError, CommandOptions, RecoveryError, StateError,
    actor::Take,
    ask::{CommandAsk, CommandMeta, Handover, KeyMeta, ReadAsk, Work},
    folded::Folded,
    kind::{Kind, Live},
    load::{Refusal, Ticket},
    meters::Cause,
    past::{self, At},
    registry::{Registry, Wake},
    spans::Stages,
};
use crate::{
    domain::{
        Aggregate, AggregateId, CorrelationId, CreatedBy, EventId, Handle, IdempotencyKey,
        Position, StreamId, Version,
    },
    store::ReadError,
};

/// How long a read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Stands for a timeout that no clock can show.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// All aggregates of type `A`: sends them commands and reads their states.
///
/// Clones are cheap and may go anywhere; they are good until the runtime's end.
pub struct Aggregates<A: Aggregate> {
    kind: Arc<Kind<A>>,
    registry: Addr<Registry<A>>,
}

impl<A: Aggregate> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self {
            kind: Arc::clone(&self.kind),
            registry: self.registry.clone(),
        }
    }
}

impl<A: Aggregate> std::fmt::Debug for Aggregates<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aggregates")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A state and where in its history it stands.
#[derive(Debug, Clone)]
pub struct StateAt<A> {
    /// The state.
    pub state: A,
    /// The version of its last event.
    pub version: Version,
    /// The position of that event in the log.
    pub position: Position,
}

/// An event of an aggregate's history, with what was stored beside it.
#[derive(Debug, Clone)]
pub struct HistoryEvent<E> {
    /// Its identity.
    pub id: EventId,
    /// The event, brought to today's schema.
    pub event: E,
    /// Its number in the aggregate.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
    /// When it happened.
    pub occurred_at: chrono::DateTime<chrono::Utc>,
    /// Who sent its command.
    pub created_by: Option<CreatedBy>,
    /// Its correlation.
    pub correlation_id: CorrelationId,
}

impl<A: Aggregate> Aggregates<A> {
    pub(super) const fn new(kind: Arc<Kind<A>>, registry: Addr<Registry<A>>) -> Self {
        Self { kind, registry }
    }

    pub(super) const fn kind(&self) -> &Arc<Kind<A>> {
        &self.kind
    }

    pub(super) fn stream(&self, id: &AggregateId) -> StreamId {
        self.kind.stream(id)
    }

    /// Sends a command and waits until its events are durable.
    ///
    /// Dropping the future does not undo a command that has been handled; one that still
    /// waits in the mailbox is dropped with it.
    ///
    /// # Errors
    /// [`CommandError`]: whether a retry helps and whether the outcome is known, each says itself.
    pub async fn execute<C>(
        &self,
        id: &AggregateId,
        command: C,
        options: CommandOptions,
    ) -> Result<Answer<A::Reply>, CommandError>
    where
        A: Handle<C>,
        C: Serialize + Send + 'static,
    {
        self.measured::<C, _>(self.send_command(id, command, options))
            .await
    }

    /// Counts and times what becomes of one command of type `C`.
    pub(super) async fn measured<C: 'static, R>(
        &self,
        command: impl Future<Output = Result<Answer<R>, CommandError>>,
    ) -> Result<Answer<R>, CommandError> {
        match self.kind.command::<C>() {
            Some(meter) => meter.measured(command).await,
            None => command.await,
        }
    }

    /// [`Self::execute`], uncounted.
    pub(super) async fn send_command<C>(
        &self,
        id: &AggregateId,
        command: C,
        options: CommandOptions,
    ) -> Result<Answer<A::Reply>, CommandError>
    where
        A: Handle<C>,
        C: Serialize + Send + 'static,
    {
        let deadline = deadline(options.timeout);
        let meta = self.resolve(&command, options)?;
        let handover = Handover::default();
        let (caller, answer) = oneshot::channel();
        let ask = CommandAsk {
            meta,
            handover: handover.clone(),
            command,
            decided: None,
            caller,
        };
        // Whoever drops this future gives up what is not handled yet.
        let _abandon = AbandonOnDrop(&handover);
        let sent = timeout_at(deadline, self.send(id, Work::Command(Box::new(ask)))).await;
        match sent {
            Ok(sent) => sent.map_err(|refusal| refused(refusal, id))?,
            Err(_) if handover.abandon() => return Err(CommandError::TimedOutUnhandled),
            Err(_) => return Err(CommandError::OutcomeUnknown),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answered)) => answered,
            // Only an actor that ended without answering drops its callers.
            Ok(Err(_)) if handover.abandon() => Err(CommandError::ShuttingDown),
            Err(_) if handover.abandon() => Err(CommandError::TimedOutUnhandled),
            Ok(Err(_)) | Err(_) => Err(CommandError::OutcomeUnknown),
        }
    }

    /// The state of an aggregate, or nothing where it does not exist. Every command that was
    /// acknowledged before this call is in it.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state(&self, id: &AggregateId) -> Result<Option<StateAt<A>>, StateError> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let (caller, answer) = oneshot::channel();
        let read = async {
            self.send(id, Work::Read(ReadAsk { caller }))
                .await
                .map_err(refused_read)?;
            answer.await.unwrap_or(Err(StateError::ShuttingDown))
        };
        let folded: Folded<A> = timeout_at(deadline, read)
            .await
            .unwrap_or(Err(StateError::TimedOut))?;
        Ok((folded.version > Version::ZERO).then_some(StateAt {
            state: folded.state,
            version: folded.version,
            position: folded.position,
        }))
    }

    /// The state of an aggregate as it was: nothing where it has no such version, or had no events
    /// by then. It is read from the store, and no actor is woken for it.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state_at(
        &self,
        id: &AggregateId,
        at: At,
    ) -> Result<Option<StateAt<A>>, StateError> {
        let folded = past::folded_at(&self.kind, id, at).await?;
        Ok(folded.map(|folded| StateAt {
            state: folded.state,
            version: folded.version,
            position: folded.position,
        }))
    }

    /// The events of an aggregate from a version on, ascending, `limit` at most, as they are
    /// stored: every acknowledged event is among them.
    ///
    /// # Errors
    /// [`RecoveryError`]: the store failed, or an event cannot be read by this program.
    pub async fn history(
        &self,
        id: &AggregateId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<HistoryEvent<A::Event>>, RecoveryError> {
        let stream = self.stream(id);
        let read = self.kind.node.store.events(&stream, from, limit).await;
        let recorded = read.map_err(|source: ReadError| RecoveryError::Store {
            stream: stream.clone(),
            source: Arc::new(source),
        })?;
        let events = recorded.into_iter().map(|recorded| {
            let codec = &self.kind.codec;
            let event = codec
                .decode(
                    &recorded.event_type,
                    recorded.schema_version,
                    &recorded.data,
                )
                .map_err(|source| RecoveryError::Undecodable {
                    stream: stream.clone(),
                    version: recorded.version,
                    position: recorded.position,
                    source,
                })?;
            Ok(HistoryEvent {
                id: recorded.id,
                event,
                version: recorded.version,
                position: recorded.position,
                occurred_at: recorded.occurred_at,
                created_by: recorded.created_by,
                correlation_id: recorded.correlation_id,
            })
        });
        events.collect()
    }

    fn resolve<C: Serialize + 'static>(
        &self,
        command: &C,
        options: CommandOptions,
    ) -> Result<CommandMeta, CommandError> {
        let Some(name) = self.kind.command::<C>().map(|command| command.name) else {
            return Err(CommandError::UnknownCommand {
                aggregate_type: A::TYPE,
                command: std::any::type_name::<C>().to_owned(),
            });
        };
        let ids = &self.kind.node.ids;
        let key = match options.key {
            None => None,
            Some(key) if key.is_reserved() => {
                return Err(CommandError::Invalid(format!(
                    "an idempotency key must not begin with `{}`",
                    IdempotencyKey::RESERVED
                )));
            }
            Some(key) => Some(KeyMeta {
                key,
                receipt_id: ids.next(),
                command_hash: hash(name, command)?,
            }),
        };
        Ok(CommandMeta {
            name,
            expected: options.expected,
            correlation_id: options
                .correlation_id
                .unwrap_or_else(|| CorrelationId(ids.next())),
            causation_id: options.causation_id,
            created_by: options.created_by,
            occurred_at: options.occurred_at,
            key,
            stages: Stages::wait(),
        })
    }

    /// Sends work to the aggregate's actor, woken where it sleeps.
    async fn send(&self, id: &AggregateId, mut work: Work<A>) -> Result<(), Refusal> {
        let node = &self.kind.node;
        let mut place = node.load.enter()?;
        let mut found = self.kind.find(id);
        loop {
            let live = match found.take() {
                Some(live) => live,
                None => self.wake(id).await?,
            };
            let now_ms = node.now_ms();
            let entered = live.slot.enter(self.kind.settings.mailbox, place, now_ms);
            let ticket: Ticket = match entered {
                Ok(ticket) => ticket,
                Err((Refusal::Asleep, again)) => {
                    place = again;
                    continue;
                }
                Err((refusal, _)) => return Err(refusal),
            };
            node.touch(&live.slot, now_ms);
            match live.actor.try_send(Take { work, ticket }) {
                Ok(()) => return Ok(()),
                // An actor that ended without closing its slot met a bug; another takes its place.
                Err(actix::dev::SendError::Closed(take) | actix::dev::SendError::Full(take)) => {
                    if live.slot.abandon() {
                        self.kind.forget(id, &live.slot, Cause::Lost);
                    }
                    drop(take.ticket);
                    work = take.work;
                    place = node.load.enter()?;
                }
            }
        }
    }

    async fn wake(&self, id: &AggregateId) -> Result<Arc<Live<A>>, Refusal> {
        let woken = self.registry.send(Wake::new(id.clone())).await;
        woken.map_err(|_| Refusal::ShuttingDown)
    }
}

/// When a wait that begins now is over.
pub(super) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + LONGEST_TIMEOUT)
}

struct AbandonOnDrop<'a>(&'a Handover);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        // Where the actor has taken it up, or has answered, this changes nothing.
        self.0.abandon();
    }
}

/// What a receipt keeps of a command: enough to tell whether a retry is the same one.
fn hash<C: Serialize>(name: &str, command: &C) -> Result<[u8; 32], CommandError> {
    let body = serde_json::to_vec(command)
        .map_err(|error| CommandError::Internal(format!("a command is no JSON: {error}")))?;
    let mut hasher = Sha256::new();
    hasher.update(name);
    hasher.update([0]);
    hasher.update(body);
    Ok(hasher.finalize().into())
}

fn refused(refusal: Refusal, id: &AggregateId) -> CommandError {
    match refusal {
        Refusal::NodeFull => CommandError::Overloaded { what: "the node" },
        Refusal::AggregateFull => {
            tracing::debug!(%id, "an aggregate's mailbox is full");
            CommandError::Overloaded {
                what: "the aggregate",
            }
        }
        Refusal::ShuttingDown | Refusal::Asleep => CommandError::ShuttingDown,
    }
}

const fn refused_read(refusal: Refusal) -> StateError {
    match refusal {
        Refusal::NodeFull => StateError::Overloaded { what: "the node" },
        Refusal::AggregateFull => StateError::Overloaded {
            what: "the aggregate",
        },
        Refusal::ShuttingDown | Refusal::Asleep => StateError::ShuttingDown,
    }
}
