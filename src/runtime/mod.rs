//! The runtime: one actor for each live aggregate, woken by a registry, writing through one journal.
//!
//! A user builds it with [`Runtime::builder`] and talks to it through [`Aggregates`]; HTTP
//! talks to it by names. It is the only module that names actix, and no actix type leaves it.
//!
//! Invariants: an aggregate has one live actor in a node at most; an answer is sent only when its
//! events are durable; nobody sees state that is not; work that was taken is answered, or its
//! caller is told that the outcome is unknown; every queue is bounded by the unanswered work.

#[cfg(test)]
mod actix_facts;
mod actor;
mod ask;
mod audit;
mod builder;
mod command;
mod confirm;
mod decide;
mod errors;
mod exposition;
mod folded;
mod foreign;
mod handle;
mod journal;
mod kind;
mod load;
mod loader;
mod lookups;
mod meters;
#[cfg(test)]
mod model_tests;
mod named;
mod pace;
mod passivation;
mod past;
mod pending;
mod prepare;
mod registry;
mod replay;
mod rows;
mod schema;
mod settle;
mod snapshots;
mod spans;
mod steps;
mod system;
mod view;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use ulid::Ulid;

pub use builder::{AggregateBuilder, RuntimeBuilder};
pub use command::{Answer, AnsweredEvent, CommandOptions, Expected};
pub use errors::{CommandError, RecoveryError, StartError, StateError, Unready};
pub use handle::{Aggregates, HistoryEvent, StateAt};
pub use named::StateView;
pub use past::At;
pub use prepare::PrepareContext;
pub use replay::{Refolded, ReplayOptions, ReplayedAggregate};
pub use schema::{EventDescription, Schema, TypeDescription};
pub use steps::{Step, Steps};
pub use view::{JournalView, LiveOrder, LiveQuery, LiveView, RuntimeView, TypeView};

use crate::{
    domain::{
        Aggregate, AggregateId, Claim, CreatedBy, IdGenerator, IdempotencyKey, StreamId, Version,
        redact_raw,
    },
    settings::{RuntimeSettings, Writers},
    store::{EventStore, ReadError, RecordedEvent},
};
use kind::Node;
use load::NodeLoad;
use meters::NodeMeter;
use named::NamedAggregates;
use passivation::{Passivation, Sleeper};
use system::System;

/// A running node. Clones are cheap and are the same node; it ends with [`Runtime::shutdown`] or
/// with the last clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    node: Arc<Node>,
    types: HashMap<&'static str, Arc<dyn NamedAggregates>>,
    /// Keeps alive what the node only knows weakly.
    _sleepers: Vec<Arc<dyn Sleeper>>,
    system: Mutex<System>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("types", &self.inner.types.keys())
            .finish_non_exhaustive()
    }
}

/// How a runtime ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Commands and reads that were taken and not answered when the time was over.
    pub unanswered: usize,
}

impl Runtime {
    /// A runtime on a store.
    #[must_use]
    pub fn builder(store: Arc<dyn EventStore>) -> RuntimeBuilder {
        RuntimeBuilder::new(store)
    }

    async fn start(builder: RuntimeBuilder) -> Result<Self, StartError> {
        let settings: RuntimeSettings = builder.settings.runtime.clone();
        let arbiters = settings.arbiters();
        let store = builder.store;
        let meter = Arc::new(NodeMeter::default());
        let (journal, writer) =
            journal::journal(Arc::clone(&store), builder.settings.journal.clone(), &meter);
        let (loader, loading) = loader::loader(Arc::clone(&store), settings.recovery_page);
        let (snapshots, saving) = snapshots::snapshots(Arc::clone(&store), &meter);
        let ids = builder
            .ids
            .unwrap_or_else(|| IdGenerator::new(Arc::clone(&builder.clock)));
        let node = Arc::new(Node {
            started_at: builder.clock.now(),
            store,
            clock: builder.clock,
            ids,
            journal,
            loader,
            snapshots,
            load: NodeLoad::new(settings.max_in_flight),
            settings,
            shared: builder.writers == Some(Writers::Shared),
            on_threads: builder.spawn.is_none(),
            live: AtomicUsize::new(0),
            passivation: Passivation::default(),
            meter,
            started: Instant::now(),
            uses: AtomicU64::new(0),
        });
        let mut tasks: Vec<BoxFuture<'static, ()>> =
            vec![Box::pin(writer.run()), Box::pin(loading), Box::pin(saving)];
        if builder
            .types
            .iter()
            .any(|types| types.mode(&builder.settings).has_rows())
        {
            let (store, clock) = (Arc::clone(&node.store), Arc::clone(&node.clock));
            let resolve_timeout = builder.settings.journal.resolve_timeout;
            tasks.push(Box::pin(rows::forget_old(store, clock, resolve_timeout)));
        }
        let system = System::begin(builder.spawn, arbiters, tasks).await;
        let system = system.map_err(StartError::Thread)?;
        let mut types = HashMap::new();
        let mut sleepers = Vec::new();
        for registration in builder.types {
            let name = registration.type_name();
            let started = registration.start(Arc::clone(&node), &builder.settings, &system);
            types.insert(name, started.named);
            sleepers.push(started.sleeper);
        }
        node.passivation
            .know(sleepers.iter().map(Arc::downgrade).collect());
        Ok(Self {
            inner: Arc::new(Inner {
                node,
                types,
                _sleepers: sleepers,
                system: Mutex::new(system),
            }),
        })
    }

    /// The handle to all aggregates of type `A`; nothing where it is not registered.
    #[must_use]
    pub fn aggregates<A: Aggregate>(&self) -> Option<Aggregates<A>> {
        let named = self.inner.types.get(A::TYPE)?;
        named.typed().downcast_ref().cloned()
    }

    /// The names of the registered aggregate types.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        self.inner.types.keys().copied()
    }

    /// What the registered aggregate types are, by name.
    #[must_use]
    pub fn descriptions(&self) -> Vec<&TypeDescription> {
        let types = self.named_types().into_iter();
        types.map(NamedAggregates::description).collect()
    }

    fn named(&self, aggregate_type: &str) -> Option<&Arc<dyn NamedAggregates>> {
        self.inner.types.get(aggregate_type)
    }

    /// Whether `aggregate_type` is registered.
    #[must_use]
    pub fn knows(&self, aggregate_type: &str) -> bool {
        self.named(aggregate_type).is_some()
    }

    /// The unique values that an aggregate's state holds, with the version and the time of its last
    /// event; whether the store has them as its claims is another question.
    ///
    /// # Errors
    /// [`StateError`]: the type is unknown, or its history cannot be read.
    pub async fn claims_of(
        &self,
        stream: &StreamId,
    ) -> Result<(Version, DateTime<Utc>, Vec<Claim>), StateError> {
        let aggregate_type = stream.aggregate_type.as_str();
        let Some(named) = self.named(aggregate_type) else {
            return Err(StateError::UnknownType(aggregate_type.to_owned()));
        };
        named.claims(stream.aggregate_id.clone()).await
    }

    /// Whether `aggregate_type` is registered and takes `command`.
    ///
    /// # Errors
    /// [`CommandError::UnknownType`] or [`CommandError::UnknownCommand`].
    pub fn check_command(&self, aggregate_type: &str, command: &str) -> Result<(), CommandError> {
        let Some(named) = self.named(aggregate_type) else {
            return Err(CommandError::UnknownType(aggregate_type.to_owned()));
        };
        if named.command_name(command).is_some() {
            return Ok(());
        }
        let (name, _) = self
            .inner
            .types
            .get_key_value(aggregate_type)
            .ok_or_else(|| CommandError::UnknownType(aggregate_type.to_owned()))?;
        Err(CommandError::UnknownCommand {
            aggregate_type: name,
            command: command.to_owned(),
        })
    }

    /// Sends a command by its names; `body` is a JSON object with its fields, or nothing.
    ///
    /// # Errors
    /// [`CommandError`], as [`Aggregates::execute`], and for names or bodies that are wrong.
    pub async fn execute(
        &self,
        aggregate_type: &str,
        id: AggregateId,
        command: &str,
        body: &[u8],
        options: CommandOptions,
    ) -> Result<Answer<()>, CommandError> {
        match self.named(aggregate_type) {
            Some(named) => named.execute(id, command, body, options).await,
            None => Err(CommandError::UnknownType(aggregate_type.to_owned())),
        }
    }

    /// The state of an aggregate as JSON without its secrets; nothing where it does not exist.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state(
        &self,
        aggregate_type: &str,
        id: AggregateId,
    ) -> Result<Option<StateView>, StateError> {
        match self.named(aggregate_type) {
            Some(named) => named.state(id).await,
            None => Err(StateError::UnknownType(aggregate_type.to_owned())),
        }
    }

    /// The state of an aggregate as it was, as JSON without its secrets; nothing where it has no such
    /// version, or had no events by then.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state_at(
        &self,
        aggregate_type: &str,
        id: AggregateId,
        at: At,
    ) -> Result<Option<StateView>, StateError> {
        match self.named(aggregate_type) {
            Some(named) => named.state_at(id, at).await,
            None => Err(StateError::UnknownType(aggregate_type.to_owned())),
        }
    }

    /// What `limit` events of an aggregate after a version led to, one by one; nothing where it has
    /// no such version, or no events.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn steps(
        &self,
        aggregate_type: &str,
        id: AggregateId,
        after: Version,
        limit: u32,
    ) -> Result<Option<Steps>, StateError> {
        match self.named(aggregate_type) {
            Some(named) => named.steps(id, after, limit).await,
            None => Err(StateError::UnknownType(aggregate_type.to_owned())),
        }
    }

    /// The stored events of an aggregate from a version on, ascending, `limit` at most, without
    /// their secrets; nothing where the type is not registered.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn events(
        &self,
        aggregate_type: &str,
        aggregate_id: AggregateId,
        from: Version,
        limit: u32,
    ) -> Result<Option<Vec<RecordedEvent>>, ReadError> {
        let Some(named) = self.named(aggregate_type) else {
            return Ok(None);
        };
        let stream = StreamId {
            aggregate_type: named.aggregate_type().clone(),
            aggregate_id,
        };
        let events = self.inner.node.store.events(&stream, from, limit).await?;
        let events = events.into_iter().map(|event| RecordedEvent {
            data: redact_raw(event.data),
            ..event
        });
        Ok(Some(events.collect()))
    }

    /// The id of a new aggregate. Under an idempotency key the same command gets the same id, so
    /// that a retry finds the receipt of the first try; without one the id is new.
    #[must_use]
    pub fn new_aggregate_id(
        &self,
        aggregate_type: &str,
        command: &str,
        key: Option<&IdempotencyKey>,
        created_by: Option<&CreatedBy>,
    ) -> Ulid {
        let Some(key) = key else {
            return self.inner.node.ids.next();
        };
        let mut hasher = Sha256::new();
        let sender = created_by.map_or("", CreatedBy::as_str);
        for part in [aggregate_type, command, key.as_str(), sender] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        Ulid::from_bytes(bytes)
    }

    /// A new id, for what is not an aggregate: a correlation, say.
    #[must_use]
    pub fn new_id(&self) -> Ulid {
        self.inner.node.ids.next()
    }

    /// The time by the runtime's clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.inner.node.clock.now()
    }

    /// How many events of other programs cannot be numbered as they are, as of the last look:
    /// their aggregates cannot be read until those programs put them right.
    #[must_use]
    pub fn refused_foreign_events(&self) -> u64 {
        self.inner.node.meter.foreign.refused()
    }

    /// Whether commands can be served: the store is reachable and migrated, and nothing is ending.
    ///
    /// # Errors
    /// [`Unready`] with the reason.
    pub async fn ready(&self) -> Result<(), Unready> {
        if self.is_ending() {
            return Err(Unready::Ending);
        }
        Ok(self.inner.node.store.ready().await?)
    }

    /// Whether [`Self::shutdown`] has begun.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.inner.node.load.is_draining()
    }

    /// Takes nothing more, answers what was taken, writes the snapshots that are due and ends the
    /// threads; within `runtime.shutdown_timeout`, whatever the store does. The store stays open.
    pub async fn shutdown(&self) -> Ended {
        let node = &self.inner.node;
        let limit = node.settings.shutdown_timeout;
        let drained = async {
            node.load.drain().await;
            node.snapshots.flush().await;
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::error!(
                unanswered = node.load.unanswered(),
                "not everything was answered in time"
            );
        }
        let unanswered = node.load.unanswered();
        let thread = self
            .inner
            .system
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            // Actors are cut off at an await; a thread in user code that never ends is left behind.
            if tokio::time::timeout(limit, joined).await.is_err() {
                tracing::error!("a thread of the runtime does not end");
            }
        }
        for named in self.inner.types.values() {
            named.ended();
        }
        Ended { unanswered }
    }
}
