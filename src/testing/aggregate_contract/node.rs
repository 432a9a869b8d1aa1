//! A node for one run of a script: the real runtime on tasks of its own, so that it can be killed.

use std::{
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, LazyLock},
};

use chrono::TimeDelta;
use serde_json::Value;
use tokio::task::LocalSet;
use ulid::Ulid;

use super::{AnyCommand, Register, Sent, Step};
use crate::{
    domain::{
        Aggregate, AggregateId, AggregateType, CorrelationId, CreatedBy, IdempotencyKey, StreamId,
        Version,
    },
    runtime::{Aggregates, Answer, CommandError, CommandOptions, LiveOrder, LiveQuery, Runtime},
    settings::{AggregateSettings, RuntimeSettings, Settings, Writers},
    store::{EventStore as _, RecordedEvent, memory::MemoryStore},
    testing::{FaultyStore, ManualClock},
};

/// The aggregate that a script is for.
#[expect(clippy::expect_used, reason = "the name is valid")]
pub(super) static ID: LazyLock<AggregateId> =
    LazyLock::new(|| AggregateId::parse("subject").expect("a valid id"));
/// Another of its type, whose waking makes the first one sleep.
#[expect(clippy::expect_used, reason = "the name is valid")]
static OTHER: LazyLock<AggregateId> =
    LazyLock::new(|| AggregateId::parse("another").expect("a valid id"));

/// More turns of all tasks than anything here takes.
const MOST_TURNS: usize = 100_000;
/// More events than a script makes.
const MOST_EVENTS: u32 = 1_000_000;

/// A runtime over a store that it shares with others, and what goes wrong with its calls.
pub(super) struct Node<A: Aggregate> {
    pub(super) faults: FaultyStore,
    pub(super) tasks: LocalSet,
    runtime: Runtime,
    aggregates: Aggregates<A>,
    clock: ManualClock,
    store: MemoryStore,
}

/// A step, as it is sent and sent again.
pub(super) struct Asked<A: Aggregate> {
    options: CommandOptions,
    command: Rc<dyn AnyCommand<A>>,
    number: usize,
}

impl<A: Aggregate> Asked<A> {
    /// A step of the script, to be sent under a key of its own.
    pub(super) fn of(number: usize, step: &Step<A>) -> Self {
        Self {
            options: CommandOptions {
                key: IdempotencyKey::parse(&format!("step-{number}")).ok(),
                created_by: step.sender.clone(),
                correlation_id: Some(CorrelationId(Ulid::from_parts(1, number as u128))),
                ..CommandOptions::default()
            },
            command: Rc::clone(&step.command),
            number,
        }
    }
}

/// What is stored in the end.
pub(super) struct Past<A: Aggregate> {
    pub(super) aggregate_type: AggregateType,
    /// The events as they are stored, in a text each.
    pub(super) stored: Vec<String>,
    pub(super) recorded: Vec<RecordedEvent>,
    pub(super) events: Vec<A::Event>,
    /// The state that the runtime shows, as JSON.
    pub(super) state: Value,
    aggregate: PhantomData<A>,
}

impl<A: Aggregate> Past<A> {
    /// The states from the first to the last, each after its event.
    pub(super) fn states(&self) -> Vec<A> {
        let mut states = vec![A::default()];
        for event in &self.events {
            let mut state = states[states.len() - 1].clone();
            state.apply(event);
            states.push(state);
        }
        states
    }
}

impl<A: Aggregate> Node<A> {
    pub(super) async fn start(store: &MemoryStore, register: &Register<A>) -> Result<Self, String> {
        let clock = ManualClock::default();
        let faults = FaultyStore::new(Arc::new(store.clone()));
        let builder = Runtime::builder(Arc::new(faults.clone()))
            .settings(settings())
            // What the settings of the user's own say is not what is tested.
            .aggregate::<A>(|builder| register(builder).settings(of_the_type()))
            .clock(Arc::new(clock.clone()))
            .on_this_thread(|task| {
                tokio::task::spawn_local(task);
            });
        let tasks = LocalSet::new();
        let started = tasks.run_until(builder.start()).await;
        let runtime = started.map_err(|error| format!("its runtime does not start: {error}"))?;
        let aggregates = runtime.aggregates().ok_or("it is not registered")?;
        Ok(Self {
            faults,
            tasks,
            runtime,
            aggregates,
            clock,
            store: store.clone(),
        })
    }

    /// The future of a step; it goes on only while the node's tasks are run.
    pub(super) fn sending(&self, asked: &Asked<A>) -> Sent {
        // Each step has a second of its own, whoever carries it out.
        let start = ManualClock::default();
        start.advance(TimeDelta::seconds(i64::try_from(asked.number).unwrap_or(0)));
        self.clock.set(crate::domain::Clock::now(&start));
        asked
            .command
            .send(self.aggregates.clone(), asked.options.clone())
    }

    pub(super) async fn send(&self, asked: &Asked<A>) -> Result<Answer<Value>, CommandError> {
        self.tasks.run_until(self.sending(asked)).await
    }

    /// Sends the aggregate to sleep: another is woken, and there is room for one.
    pub(super) async fn passivate(&self) -> Result<(), String> {
        let asleep = async {
            self.read(&OTHER).await?;
            for _ in 0..MOST_TURNS {
                if !self.is_live() {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
            Err("it does not fall asleep".to_owned())
        };
        self.tasks.run_until(asleep).await
    }

    fn is_live(&self) -> bool {
        let all = LiveQuery {
            aggregate_type: None,
            order: LiveOrder::Id(None),
            limit: usize::MAX,
        };
        let live = self.runtime.live(&all);
        live.iter().any(|live| live.aggregate_id == *ID)
    }

    async fn read(&self, id: &AggregateId) -> Result<Value, String> {
        let state = self.aggregates.state(id).await;
        let state = state.map_err(|error| format!("its state is not shown: {error}"))?;
        let state = state.map(|shown| shown.state).unwrap_or_default();
        serde_json::to_value(state).map_err(|error| format!("its state is no JSON: {error}"))
    }

    /// What there is in the end, asked of the node.
    pub(super) async fn past(&self) -> Result<Past<A>, String> {
        let history = self.aggregates.history(&ID, Version::ZERO, MOST_EVENTS);
        let (state, history) = self
            .tasks
            .run_until(async { (self.read(&ID).await, history.await) })
            .await;
        let history = history.map_err(|error| format!("its events are not read: {error}"))?;
        let aggregate_type = AggregateType::parse(A::TYPE).map_err(|error| error.to_string())?;
        let stream = StreamId {
            aggregate_type: aggregate_type.clone(),
            aggregate_id: ID.clone(),
        };
        let recorded = self.store.events(&stream, Version::ZERO, MOST_EVENTS).await;
        let recorded = recorded.map_err(|error| error.to_string())?;
        let told = |event: &RecordedEvent| {
            let (name, at) = (&event.event_type, event.occurred_at);
            let by = event.created_by.as_ref().map(CreatedBy::as_str);
            format!("{name} {} of {at} by {by:?}", event.data.get())
        };
        Ok(Past {
            aggregate_type,
            stored: recorded.iter().map(told).collect(),
            recorded,
            events: history.into_iter().map(|one| one.event).collect(),
            state: state?,
            aggregate: PhantomData,
        })
    }
}

/// Others write as well; and there is room for one aggregate, so that a second makes it sleep.
fn settings() -> Settings {
    let mut settings = Settings {
        runtime: RuntimeSettings {
            max_live: 1,
            ..RuntimeSettings::default()
        },
        ..Settings::default()
    };
    settings.store.writers = Some(Writers::Shared);
    settings
}

/// Snapshots at every second version, so that there are some with and some without a tail.
fn of_the_type() -> AggregateSettings {
    AggregateSettings {
        snapshot_every: 2,
        ..AggregateSettings::default()
    }
}
