//! How a runtime is put together: aggregates, their commands, upcasters and settings.

use std::{any::TypeId, collections::HashMap, marker::PhantomData, pin::Pin, sync::Arc};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    Aggregates, CommandError, PrepareContext, Runtime, StartError,
    kind::{Kind, Node},
    meters::{CommandMeter, KindMeter},
    named::{NamedAggregates, NamedType},
    passivation::Sleeper,
    prepare::{NamedCommand, Plain, Prepared},
    rows::{self, RowMapping, Rows},
    schema::{Schema, Told},
    system::{Spawn, System},
};
use crate::{
    domain::{
        Aggregate, AggregateType, Clock, Event as _, EventCodec, Handle, IdGenerator,
        SnapshotShape as _, StateRow, SystemClock, Upcaster,
    },
    settings::{AggregateSettings, Mode, Settings, Writers},
    store::{EventStore, RowAccess},
};

/// Puts a [`Runtime`] together.
pub struct RuntimeBuilder {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) settings: Settings,
    pub(super) writers: Option<Writers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Option<IdGenerator>,
    pub(super) types: Vec<Box<dyn Registration>>,
    pub(super) spawn: Option<Spawn>,
}

impl std::fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An aggregate type on its way into a runtime.
pub(super) trait Registration: Send {
    fn type_name(&self) -> &'static str;

    /// Checks all that can be wrong with it, before anything is started.
    fn check(&self) -> Result<(), StartError>;

    /// How it is stored.
    fn mode(&self, settings: &Settings) -> Mode;

    /// Checks that its rows can be kept as its mode wants.
    fn check_rows<'a>(
        &'a self,
        store: &'a dyn EventStore,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<(), StartError>>;

    /// Starts its registry on the node.
    fn start(self: Box<Self>, node: Arc<Node>, settings: &Settings, system: &System) -> Started;
}

/// An aggregate type in a running runtime.
pub(super) struct Started {
    pub(super) named: Arc<dyn NamedAggregates>,
    pub(super) sleeper: Arc<dyn Sleeper>,
}

impl RuntimeBuilder {
    pub(super) fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            settings: Settings::default(),
            writers: None,
            clock: Arc::new(SystemClock),
            ids: None,
            types: Vec::new(),
            spawn: None,
        }
    }

    /// Adds an aggregate type; `register` says which commands it takes.
    #[must_use]
    pub fn aggregate<A: Aggregate>(
        mut self,
        register: impl FnOnce(AggregateBuilder<A>) -> AggregateBuilder<A>,
    ) -> Self {
        self.types.push(Box::new(register(AggregateBuilder {
            commands: Vec::new(),
            internal: Vec::new(),
            upcasters: Vec::new(),
            settings: None,
            mapping: None,
            told: Told::default(),
        })));
        self
    }

    /// Takes these settings; of `[store]` only who may write counts here.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.writers = Some(settings.store.writers());
        self.settings = settings;
        self
    }

    /// Who writes to the store, whatever the settings say: with [`Writers::Shared`] nothing is
    /// answered from memory alone. Without a word here or in the settings, only this process.
    #[must_use]
    pub const fn writers(mut self, writers: Writers) -> Self {
        self.writers = Some(writers);
        self
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from this generator.
    #[must_use]
    pub fn ids(mut self, ids: IdGenerator) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Starts no threads: everything is a task that `spawn` starts on the thread that calls. It is
    /// for simulations, where time is paused and one seed must give one history; `spawn` is, say,
    /// `|task| { tokio::task::spawn_local(task); }` on a [`LocalSet`](tokio::task::LocalSet) of the
    /// node's own, and to drop that set is to kill the node. A shutdown leaves idle tasks to it.
    #[must_use]
    pub fn on_this_thread(
        mut self,
        spawn: impl Fn(Pin<Box<dyn Future<Output = ()>>>) + Send + Sync + 'static,
    ) -> Self {
        self.spawn = Some(Arc::new(spawn));
        self
    }

    /// Checks everything and starts the runtime, on threads of its own unless
    /// [`Self::on_this_thread`] says otherwise.
    ///
    /// # Errors
    /// [`StartError`]: what is registered or set contradicts itself; nothing was started.
    pub async fn start(self) -> Result<Runtime, StartError> {
        let mut names: Vec<&'static str> = Vec::new();
        for registration in &self.types {
            registration.check()?;
            let name = registration.type_name();
            if names.contains(&name) {
                return Err(StartError::TypeTwice(name));
            }
            names.push(name);
        }
        let unknown = self
            .settings
            .aggregate_names()
            .find(|name| !names.contains(name));
        if let Some(unknown) = unknown {
            return Err(StartError::UnknownTypeInSettings(unknown.to_owned()));
        }
        for registration in &self.types {
            registration
                .check_rows(&*self.store, &self.settings)
                .await?;
        }
        Runtime::start(self).await
    }
}

/// Says which commands an aggregate type takes, and how its old events are read.
pub struct AggregateBuilder<A: Aggregate> {
    commands: Vec<Arc<dyn NamedCommand<A>>>,
    /// Commands that have a name for the metrics only.
    internal: Vec<(TypeId, &'static str)>,
    upcasters: Vec<Upcaster>,
    settings: Option<AggregateSettings>,
    mapping: Option<RowMapping<A>>,
    told: Told,
}

impl<A: Aggregate> std::fmt::Debug for AggregateBuilder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AggregateBuilder")
            .field("commands", &self.commands.len())
            .field("upcasters", &self.upcasters)
            .finish_non_exhaustive()
    }
}

impl<A: Aggregate> AggregateBuilder<A> {
    /// Takes the command `C` under a name.
    #[must_use]
    pub fn command<C>(mut self, name: &'static str) -> Self
    where
        A: Handle<C>,
        C: DeserializeOwned + Serialize + Send + 'static,
    {
        self.commands.push(Arc::new(Plain::<C> {
            name,
            command: PhantomData,
        }));
        self
    }

    /// Takes the command `C` under a name; from outside it comes as a `B`, from which `prepare`
    /// makes it before it reaches the mailbox: the place for I/O and heavy work.
    ///
    /// The same input under the same idempotency key must give the same command: its hash is in
    /// the receipt.
    #[must_use]
    pub fn prepared_command<B, C, F, Fut>(mut self, name: &'static str, prepare: F) -> Self
    where
        A: Handle<C>,
        B: DeserializeOwned + Send + 'static,
        C: Serialize + Send + 'static,
        F: Fn(B, PrepareContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, CommandError>> + Send + 'static,
    {
        self.commands.push(Arc::new(Prepared {
            name,
            prepare: Arc::new(prepare),
            types: PhantomData,
        }));
        self
    }

    /// Takes the command `C` from this process alone. The metrics know it by its name, and nobody can
    /// send it by that: what has made sure that it is true says it, with [`Aggregates::execute`].
    #[must_use]
    pub fn internal_command<C>(mut self, name: &'static str) -> Self
    where
        A: Handle<C>,
        C: Serialize + Send + 'static,
    {
        self.internal.push((TypeId::of::<C>(), name));
        self
    }

    /// Tells what a command's fields look like, for `/v1/types` and `/openapi.json`. `C` is what is
    /// sent, which for a prepared command is not what is handled.
    #[must_use]
    pub fn command_schema<C: ToSchema>(mut self, name: &'static str) -> Self {
        self.told.command(name, Schema::of::<C>());
        self
    }

    /// Tells what an event's data looks like to a reader, without its secrets.
    #[must_use]
    pub fn event_schema<E: ToSchema>(mut self, event_type: &'static str) -> Self {
        self.told.event(event_type, Schema::of::<E>());
        self
    }

    /// Brings old events to today's schema with this.
    #[must_use]
    pub fn upcaster(mut self, upcaster: Upcaster) -> Self {
        self.upcasters.push(upcaster);
        self
    }

    /// Takes these settings instead of those in `[aggregates.<Type>]`.
    #[must_use]
    pub fn settings(mut self, settings: AggregateSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Maps it to rows of a table, which the modes `dual-write` and `state-only` need.
    #[must_use]
    pub fn state_row(mut self) -> Self
    where
        A: StateRow,
    {
        self.mapping = Some(RowMapping::new());
        self
    }

    fn own_settings(&self, settings: &Settings) -> AggregateSettings {
        let own = self.settings.clone();
        own.unwrap_or_else(|| settings.aggregate(A::TYPE))
    }

    /// Its rows, where it is mapped to a table and the store has such, and the task that loads them.
    fn rows(
        &self,
        store: &dyn EventStore,
        settings: &AggregateSettings,
    ) -> Option<(Rows<A>, impl Future<Output = ()> + Send + use<A>)> {
        let mapping = self.mapping?;
        let mut table = (mapping.table)();
        if !settings.state_table.is_empty() {
            table.name = settings.state_table.clone().into();
        }
        Some(Rows::new(
            settings.mode,
            table,
            mapping,
            store.state_rows()?,
        ))
    }

    fn names(&self) -> Vec<&'static str> {
        self.commands.iter().map(|command| command.name()).collect()
    }

    /// All commands, with their types.
    fn known(&self) -> Vec<(TypeId, &'static str)> {
        let named = self.commands.iter();
        let named = named.map(|command| (command.type_id(), command.name()));
        named.chain(self.internal.iter().copied()).collect()
    }

    fn codec(&self) -> Result<EventCodec<A::Event>, StartError> {
        EventCodec::new(self.upcasters.iter().copied()).map_err(|source| StartError::Upcasters {
            aggregate_type: A::TYPE,
            source,
        })
    }
}

impl<A: Aggregate> Registration for AggregateBuilder<A> {
    fn type_name(&self) -> &'static str {
        A::TYPE
    }

    fn check(&self) -> Result<(), StartError> {
        AggregateType::parse(A::TYPE)?;
        self.codec()?;
        let all = self.known();
        for (index, (id, command)) in all.iter().enumerate() {
            let twice = |(other, name): &(TypeId, &str)| other == id || name == command;
            if all[..index].iter().any(twice) {
                return Err(StartError::CommandTwice {
                    aggregate_type: A::TYPE,
                    command,
                });
            }
        }
        self.told.check(A::TYPE, &self.names(), A::Event::TYPES)
    }

    fn mode(&self, settings: &Settings) -> Mode {
        self.own_settings(settings).mode
    }

    fn check_rows<'a>(
        &'a self,
        store: &'a dyn EventStore,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<(), StartError>> {
        Box::pin(async move {
            let settings = self.own_settings(settings);
            let (aggregate_type, mode) = (A::TYPE, settings.mode.name());
            if !settings.mode.has_rows() {
                return Ok(());
            }
            if self.mapping.is_none() {
                return Err(StartError::NoMapping {
                    aggregate_type,
                    mode,
                });
            }
            let rows = self.rows(store, &settings);
            let (rows, _) = rows.ok_or(StartError::NoStateTables {
                aggregate_type,
                mode,
            })?;
            let checked = rows.store.check(&rows.table, RowAccess::Write).await;
            checked.map_err(|source| StartError::StateTable {
                aggregate_type,
                source,
            })
        })
    }

    #[expect(clippy::expect_used, reason = "what was checked cannot fail")]
    fn start(self: Box<Self>, node: Arc<Node>, settings: &Settings, system: &System) -> Started {
        let codec = self.codec().expect("the upcasters were checked");
        let names = self.names();
        let own_settings = self.own_settings(settings);
        let (table, loading) = self.rows(&*node.store, &own_settings).unzip();
        let state_table = table.as_ref().filter(|rows| rows.mode.has_rows());
        let state_table = state_table.map(|rows| rows.table.name.to_string());
        let commands: HashMap<TypeId, CommandMeter> = self
            .known()
            .into_iter()
            .map(|(id, name)| (id, CommandMeter::new(name)))
            .collect();
        let kind = Arc::new(Kind {
            node,
            aggregate_type: AggregateType::parse(A::TYPE).expect("the type's name was checked"),
            codec: Arc::new(codec),
            fingerprint: A::fingerprint(),
            settings: own_settings,
            commands,
            meter: KindMeter::default(),
            table,
            live: dashmap::DashMap::new(),
        });
        let registry = system.start_registry(&kind);
        if let Some(loading) = loading.filter(|_| kind.rows().is_some()) {
            system.spawn(loading);
            system.spawn(rows::reconcile(Arc::clone(&kind)));
        }
        let how = (kind.settings.mode, state_table);
        let description = self.told.describe(A::TYPE, how, names, A::Event::TYPES);
        let commands = self.commands.into_iter();
        Started {
            named: Arc::new(NamedType {
                aggregates: Aggregates::new(Arc::clone(&kind), registry),
                commands: commands.map(|command| (command.name(), command)).collect(),
                description,
            }),
            sleeper: kind,
        }
    }
}
