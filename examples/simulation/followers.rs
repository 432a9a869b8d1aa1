//! Who follows the log: subscribers at the nodes, and a projection that the nodes keep by turns.

use std::{fmt, rc::Rc, time::Duration};

use async_trait::async_trait;
use dormouse::{
    domain::{EventId, Position},
    projection::{Build, Projection},
    settings::{ProjectionSettings, StreamSettings},
    store::{
        EventFilter, EventStore as _, RecordedEvent,
        memory::MemoryStore,
        models::{ModelError, ModelKind, ModelTx},
    },
    testing::{CallKind, Trouble, checker::Subscriber},
};
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    drawing::{duration, pick, trouble},
    world::{World, stream},
};

/// A subscriber, as the plan says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follower {
    /// Of which tally; of all where there is none.
    pub(crate) tally: Option<&'static str>,
    /// The node that it asks first.
    pub(crate) node: usize,
}

/// A projection, as the plan says.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) settings: ProjectionSettings,
    /// When a node is asked to build it anew.
    pub(crate) rebuilds: Vec<(Duration, usize)>,
}

/// Before it asks another node.
const PAUSE: Duration = Duration::from_millis(40);
/// By then all that is stored has been seen, where there are no troubles.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn draw_followers(random: &mut StdRng, nodes: usize) -> Vec<Follower> {
    // One at most: several that wait for one change are woken by tokio in an order that cannot be
    // seeded, and one seed must give one history.
    let most = *pick(random, &[0, 0, 1]);
    let drawn = (0..most).map(|_| Follower {
        tally: random
            .random_bool(0.5)
            .then(|| *pick(random, &["a", "b", "c", "d"])),
        node: random.random_range(0..nodes),
    });
    drawn.collect()
}

pub(crate) fn draw_shelf(random: &mut StdRng, nodes: usize) -> Option<Shelf> {
    // What follows the log asks all the while, so it is what takes a simulation's time.
    if random.random_bool(0.75) {
        return None;
    }
    let rebuilds = (0..random.random_range(0..=2)).map(|_| {
        let at = Duration::from_millis(random.random_range(0..1500));
        (at, random.random_range(0..nodes))
    });
    let rebuilds = rebuilds.collect();
    Some(Shelf {
        settings: ProjectionSettings {
            batch_events: *pick(random, &[1, 3, 1000]),
            lease: Duration::from_millis(*pick(random, &[400, 2000, 10_000])),
            poll: Duration::from_secs(1),
            keep_replaced: Duration::from_millis(*pick(random, &[1, 60_000])),
            ..ProjectionSettings::default()
        },
        rebuilds,
    })
}

/// What goes wrong with the projection's transactions.
pub(crate) fn draw_troubles(random: &mut StdRng) -> Vec<(CallKind, u64, Trouble)> {
    let drawn = (0..random.random_range(0..=8)).map(|_| {
        let number = random.random_range(1..=60);
        let longest = duration(random);
        (CallKind::Model, number, trouble(random, longest))
    });
    drawn.collect()
}

/// How subscribers read.
pub(crate) fn stream_settings() -> StreamSettings {
    StreamSettings {
        page: 3,
        tail_events: 4,
        poll_max: Duration::from_secs(2),
        ..StreamSettings::default()
    }
}

/// Follows the log, at one node after another, until it is told where the end is and is there.
pub(crate) async fn follow(world: Rc<World>, number: usize, follower: Follower) -> Subscriber {
    let stream = follower.tally.map(stream);
    let filter = EventFilter {
        aggregate_type: stream.as_ref().map(|one| one.aggregate_type.clone()),
        aggregate_id: stream.map(|one| one.aggregate_id),
        ..EventFilter::default()
    };
    let mut seen = Subscriber {
        name: format!("follower {number}"),
        filter,
        after: Position::ZERO,
        seen: Vec::new(),
        complete: false,
    };
    let mut after = Position::ZERO;
    let mut goal = world.goal.subscribe();
    for turn in 0.. {
        let node = world.node((follower.node + turn) % world.plan.nodes);
        let Some(node) = node else {
            sleep(PAUSE).await;
            continue;
        };
        let mut subscription = node.subscriptions.subscribe(seen.filter.clone(), after);
        loop {
            if goal.borrow_and_update().is_some_and(|goal| after >= goal) {
                seen.complete = true;
                return seen;
            }
            let page = tokio::select! {
                biased;
                () = node.gone() => break,
                _ = goal.changed() => continue,
                page = subscription.next_page() => page,
            };
            let Ok(page) = page else {
                break;
            };
            for event in page.iter() {
                world.note(&format!("follower {number} sees {}", event.position));
                seen.seen.push((event.position, event.id));
            }
            after = page.read_to();
        }
        sleep(PAUSE).await;
    }
    seen
}

/// Waits until followers and the projection have seen all; false where they do not get there.
pub(crate) async fn catch_up(world: &World) -> bool {
    let memory = &world.memory;
    let last = memory.last_position().await.expect("memory can be read");
    world.goal.send_replace(Some(last));
    let shelved = async {
        while world.plan.shelf.is_some() && checkpoint(memory).await < last {
            sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, shelved).await.is_ok()
}

/// Keeps all events in their order.
#[derive(Debug)]
pub(crate) struct Shelving;

const NAME: &str = "shelf";

type Shelved = Vec<(Position, EventId)>;

#[async_trait]
impl Projection for Shelving {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn runs_on(&self, kind: ModelKind) -> bool {
        kind == ModelKind::Memory
    }

    async fn create(&self, _: &Build, _: ModelTx<'_>) -> Result<(), ModelError> {
        Ok(())
    }

    async fn apply(
        &self,
        events: &[RecordedEvent],
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<(), ModelError> {
        let ModelTx::Memory(tables) = tx else {
            return Err(ModelError::refused("only in memory"));
        };
        let table: &mut Shelved = tables.table(&build.table(NAME));
        table.extend(events.iter().map(|event| (event.position, event.id)));
        Ok(())
    }

    async fn remove(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
        if let ModelTx::Memory(tables) = tx {
            tables.drop_table(&build.table(NAME));
        }
        Ok(())
    }
}

/// Where the generation that readers see stands.
async fn checkpoint(memory: &MemoryStore) -> Position {
    let models = memory.read_models().expect("memory has read models");
    let mut looking = models.snapshot().await.expect("memory can be read");
    let mut tx = looking.tx();
    let generations = tx.generations(Some(NAME)).await;
    let generations = generations.expect("memory can be read");
    let Some(serving) = generations.iter().find(|one| one.serving) else {
        return Position::ZERO;
    };
    let checkpoint = tx.checkpoint(&serving.key()).await;
    checkpoint.expect("memory can be read").unwrap_or_default()
}

/// What the projection has applied, as readers see it.
pub(crate) async fn shelved(memory: &MemoryStore, complete: bool) -> Subscriber {
    let models = memory.read_models().expect("memory has read models");
    let mut looking = models.snapshot().await.expect("memory can be read");
    let mut tx = looking.tx();
    let generations = tx.generations(Some(NAME)).await;
    let generations = generations.expect("memory can be read");
    let serving = generations.iter().find(|one| one.serving);
    let seen = match (serving, tx) {
        (Some(serving), ModelTx::Memory(tables)) => {
            let table = format!("{NAME}_g{}", serving.number);
            tables.table::<Shelved>(&table).clone()
        }
        _ => Vec::new(),
    };
    Subscriber {
        name: "the projection".to_owned(),
        filter: EventFilter::default(),
        after: Position::ZERO,
        seen,
        complete,
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, rebuilds } = self;
        write!(
            f,
            "a projection: lease {:?}, {} events a batch, replaced ones kept {:?}, rebuilds {rebuilds:?}",
            settings.lease, settings.batch_events, settings.keep_replaced
        )
    }
}
