//! One simulation: nodes, clients and disturbances over one store, and what came of it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::DateTime;
use dormouse::{
    domain::{AggregateId, AggregateType, Position, StreamId},
    store::{EventStore, memory::MemoryStore},
    testing::{SimulatedClock, SimulatedStore, checker::History},
};
use tokio::{
    sync::watch,
    task::LocalSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    client,
    drawing::TALLIES,
    followers,
    lies::Lie,
    node::{Node, NodeSetup},
    plan::{LONGEST, Plan},
    sending::{self, Keyed},
    stutter::Scheduler,
    tally::Tally,
    wrong::Liar,
};

/// What a simulation showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Everything that happened, in order: the same for the same plan.
    pub(crate) trace: Vec<String>,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    pub(crate) acknowledged: usize,
    pub(crate) events: usize,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its kind, by which two findings are told to be the same.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            text: text.into(),
        }
    }
}

/// What everything in a simulation shares.
pub(crate) struct World {
    pub(crate) plan: Plan,
    /// What is really stored, as other programs write it.
    pub(crate) memory: MemoryStore,
    pub(crate) store: SimulatedStore,
    pub(crate) clock: SimulatedClock,
    pub(crate) scheduler: Scheduler,
    pub(crate) history: RefCell<History<Tally>>,
    pub(crate) nodes: RefCell<Vec<Option<Rc<Node>>>>,
    trace: Arc<Mutex<Vec<String>>>,
    pub(crate) began: Instant,
    findings: RefCell<Vec<Finding>>,
    started: Cell<u64>,
    /// How many the log holds at the end.
    pub(crate) events: Cell<usize>,
    /// Where the log ends, once nothing is added any more.
    pub(crate) goal: watch::Sender<Option<Position>>,
    /// The tallies whose events or rows other programs have written.
    pub(crate) touched: RefCell<BTreeSet<&'static str>>,
    /// What other programs wrote last into each tally's row.
    pub(crate) written: RefCell<BTreeMap<&'static str, String>>,
}

/// Runs a plan on this thread, in a time of its own.
pub(crate) fn run(plan: &Plan, lie: Option<Lie>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime on this thread");
    let world = LocalSet::new();
    world.block_on(&runtime, simulate(plan.clone(), lie))
}

async fn simulate(plan: Plan, lie: Option<Lie>) -> Outcome {
    let memory = if plan.outsiders {
        MemoryStore::with_other_writers()
    } else {
        MemoryStore::new()
    };
    let inner = match lie {
        Some(lie) => Liar::over(memory.clone(), lie),
        None => Arc::new(memory.clone()),
    };
    let world = World::new(plan, memory, inner);
    if timeout(LIFETIME, live(&world)).await.is_err() {
        let text = format!("not over after {LIFETIME:?}: something waits for ever");
        world.find(Finding::new("Hung", text));
    }
    world.outcome()
}

async fn live(world: &Rc<World>) {
    world.expect_tellings();
    for node in 0..world.plan.nodes {
        world.start(node).await;
    }
    let clients = world.plan.clients.iter().cloned().enumerate();
    let clients: Vec<_> = clients
        .map(|(client, steps)| {
            let world = Rc::clone(world);
            tokio::task::spawn_local(client::run(world, client, steps))
        })
        .collect();
    let disturbances: Vec<_> = world
        .plan
        .disturbances
        .iter()
        .map(|disturbance| tokio::task::spawn_local(Rc::clone(world).disturb(*disturbance)))
        .collect();
    let followers = world.plan.followers.iter().enumerate();
    let followers: Vec<_> = followers
        .map(|(number, follower)| {
            let following = followers::follow(Rc::clone(world), number, *follower);
            tokio::task::spawn_local(following)
        })
        .collect();
    let rebuilds = world.plan.shelf.iter().flat_map(|shelf| &shelf.rebuilds);
    for (at, node) in rebuilds {
        tokio::task::spawn_local(Rc::clone(world).rebuild(*at, *node));
    }
    let mut unsettled = Vec::new();
    for client in clients {
        unsettled.extend(client.await.expect("a client does not panic"));
    }
    for disturbance in disturbances {
        disturbance.await.expect("a disturbance does not panic");
    }
    world.settle_down(unsettled).await;
    let seen = world.what_was_seen(followers).await;
    world.judge(&seen).await;
}

impl World {
    fn new(plan: Plan, memory: MemoryStore, inner: Arc<dyn EventStore>) -> Rc<Self> {
        let trace: Arc<Mutex<Vec<String>>> = Arc::default();
        let began = Instant::now();
        let told = Arc::clone(&trace);
        let note = move |line: String| add(&told, began, &line);
        let store = SimulatedStore::new(inner, plan.seed, 0..=plan.latency_ms, note);
        for (kind, number, trouble) in &plan.troubles {
            store.script(*kind, *number, *trouble);
        }
        // The start of 2026.
        let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a time");
        Rc::new(Self {
            scheduler: Scheduler::new(plan.seed, plan.stutter),
            nodes: RefCell::new((0..plan.nodes).map(|_| None).collect()),
            plan,
            memory,
            store,
            clock: SimulatedClock::new(start),
            history: RefCell::default(),
            trace,
            began,
            findings: RefCell::default(),
            started: Cell::new(0),
            events: Cell::new(0),
            goal: watch::Sender::new(None),
            touched: RefCell::default(),
            written: RefCell::default(),
        })
    }

    pub(crate) fn note(&self, line: &str) {
        add(&self.trace, self.began, line);
    }

    pub(crate) fn find(&self, finding: Finding) {
        self.note(&format!("FOUND {}: {}", finding.name, finding.text));
        self.findings.borrow_mut().push(finding);
    }

    /// The node, if it is up.
    pub(crate) fn node(&self, node: usize) -> Option<Rc<Node>> {
        self.nodes.borrow()[node].clone()
    }

    pub(crate) async fn start(&self, number: usize) {
        if !self.plan.shared {
            // Whoever has a store for itself waits until the last one's writes are over.
            self.store.until_quiet().await;
        }
        let session = self.started.get() + 1;
        self.started.set(session);
        self.note(&format!("node {number} starts as session {session}"));
        let node = Node::start(NodeSetup {
            session,
            seed: self.plan.seed,
            store: self.store.session(session),
            clock: self.clock.of_another_machine(),
            settings: self.plan.settings.clone(),
            scheduler: self.scheduler.clone(),
            shelf: self.plan.shelf.as_ref().map(|shelf| shelf.settings.clone()),
        })
        .await;
        self.nodes.borrow_mut()[number] = Some(Rc::new(node));
    }

    /// The troubles end, and everybody finds out what became of what they sent.
    async fn settle_down(self: &Rc<Self>, unsettled: Vec<Keyed>) {
        self.store.calm();
        self.note("the troubles end");
        self.store.until_quiet().await;
        // The last answers that are late come, too, and give their places back.
        sleep(LONGEST + UNTIL_NUMBERED).await;
        self.look_at_rest().await;
        for keyed in unsettled {
            sending::find_out(self, keyed).await;
        }
        for tally in TALLIES {
            for node in 0..self.plan.nodes {
                sending::read_at_last(self, node, tally).await;
            }
        }
        self.store.until_quiet().await;
        for panic in self.scheduler.panics() {
            self.find(Finding::new("Panicked", panic));
        }
    }

    fn outcome(&self) -> Outcome {
        let trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome {
            trace: trace.clone(),
            findings: self.findings.borrow().clone(),
            acknowledged: self.history.borrow().acknowledged(),
            events: self.events.get(),
        }
    }
}

/// How much longer than its limit anything may take, in a time where nothing else takes any.
pub(crate) const SLACK: Duration = Duration::from_millis(5);

/// More than a journal waits before it looks for what other programs have inserted: 5 seconds where
/// a look failed.
const UNTIL_NUMBERED: Duration = Duration::from_secs(6);

/// More than all retries of all clients together can take.
const LIFETIME: Duration = Duration::from_hours(12);

fn add(trace: &Mutex<Vec<String>>, began: Instant, line: &str) {
    let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
    trace.push(format!("{:>7} {line}", began.elapsed().as_millis()));
}

pub(crate) fn stream(tally: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Tally").expect("a type"),
        aggregate_id: id(tally),
    }
}

pub(crate) fn id(tally: &str) -> AggregateId {
    AggregateId::parse(tally).expect("an id")
}
