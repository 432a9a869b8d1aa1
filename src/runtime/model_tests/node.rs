//! The real runtime on one thread, in paused time, and what a look inside must show.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::task::{JoinHandle, LocalSet};

use super::tray::{Put, Tray};
use crate::{
    domain::AggregateId,
    runtime::{Aggregates, Answer, CommandError, CommandOptions, Runtime, StateError, load::Slot},
    settings::{AggregateSettings, RuntimeSettings, Settings},
    store::memory::MemoryStore,
    testing::{Fault, FaultyStore, Gate, Operation},
};

/// Unanswered commands of an aggregate, and of the node.
pub(super) const MAILBOX: usize = 3;
pub(super) const MAX_IN_FLIGHT: usize = 6;
/// After so long without a command an aggregate sleeps.
pub(super) const IDLE_MS: u64 = 400;
const MAX_LIVE: usize = 2;
/// Longer than any case.
const PATIENCE: Duration = Duration::from_hours(24);

type Told = Result<Answer<()>, CommandError>;

pub(super) struct Node {
    tokio: tokio::runtime::Runtime,
    /// Its tasks; to drop them is to kill it.
    tasks: LocalSet,
    runtime: Runtime,
    trays: Aggregates<Tray>,
    memory: MemoryStore,
    store: FaultyStore,
    gate: Option<Gate>,
    waiting: Vec<(u8, u64, JoinHandle<Told>)>,
    /// Which token stands at which version, by what callers heard.
    heard: BTreeMap<(u8, u64), u64>,
    sent: u64,
    /// The slots of all actors that were ever seen, by aggregate.
    slots: RefCell<HashMap<AggregateId, Vec<Weak<Slot>>>>,
}

fn id(aggregate: u8) -> AggregateId {
    AggregateId::parse(&format!("tray-{aggregate}")).unwrap()
}

fn start(tokio: &tokio::runtime::Runtime, store: &FaultyStore) -> (LocalSet, Runtime) {
    let settings = Settings {
        runtime: RuntimeSettings {
            max_live: MAX_LIVE,
            max_in_flight: MAX_IN_FLIGHT,
            ..RuntimeSettings::default()
        },
        ..Settings::default()
    };
    let tray = AggregateSettings {
        snapshot_every: 3,
        idle_timeout: Duration::from_millis(IDLE_MS),
        mailbox: MAILBOX,
        ..AggregateSettings::default()
    };
    let builder = Runtime::builder(Arc::new(store.clone()))
        .settings(settings)
        .aggregate::<Tray>(|builder| builder.command::<Put>("put").settings(tray))
        .on_this_thread(|task| {
            tokio::task::spawn_local(task);
        });
    let tasks = LocalSet::new();
    let runtime = tasks.block_on(tokio, builder.start()).unwrap();
    (tasks, runtime)
}

impl Node {
    pub(super) fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let memory = MemoryStore::new();
        let store = FaultyStore::new(Arc::new(memory.clone()));
        let (tasks, runtime) = start(&tokio, &store);
        Self {
            trays: runtime.aggregates().unwrap(),
            tokio,
            tasks,
            runtime,
            memory,
            store,
            gate: None,
            waiting: Vec::new(),
            heard: BTreeMap::new(),
            sent: 0,
            slots: RefCell::default(),
        }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.tokio, work)
    }

    /// Lets time pass; all that can be done by then is done.
    pub(super) fn pass(&self, milliseconds: u64) {
        let time = Duration::from_millis(milliseconds + 1);
        self.run(async { tokio::time::sleep(time).await });
    }

    /// A command with a token of its own.
    fn command(&mut self, to: u8) -> (u64, impl Future<Output = Told> + use<>) {
        self.sent += 1;
        let (token, trays) = (self.sent, self.trays.clone());
        let options = CommandOptions {
            timeout: PATIENCE,
            ..CommandOptions::default()
        };
        let told = async move { trays.execute(&id(to), Put { token }, options).await };
        (token, told)
    }

    fn hear(&mut self, to: u8, token: u64, told: Told) {
        let version = told.unwrap().version.get();
        let before = self.heard.insert((to, version), token);
        assert_eq!(before, None, "two commands at version {version} of {to}");
    }

    pub(super) fn send(&mut self, to: &[u8]) {
        let woken = self.activations();
        let (tokens, sent): (Vec<u64>, Vec<_>) = to.iter().map(|to| self.command(*to)).unzip();
        let told = self.run(join_all(sent));
        for ((to, token), told) in to.iter().zip(tokens).zip(told) {
            self.hear(*to, token, told);
        }
        self.pass(0);
        // Whoever is woken while others have nothing to do finds room, or makes it.
        if to.len() == 1 && self.activations() > woken {
            assert!(self.live() <= MAX_LIVE, "{} are live", self.live());
        }
    }

    /// Sends while appends wait: what is taken is not answered yet, what is not is refused at once.
    pub(super) fn send_and_wait_for_none(&mut self, to: &[u8]) {
        for to in to {
            let (token, told) = self.command(*to);
            let same = self.waiting.iter().filter(|(other, ..)| other == to);
            let takes = self.waiting.len() < MAX_IN_FLIGHT && same.count() < MAILBOX;
            let task = self.tasks.spawn_local(told);
            self.pass(0);
            assert_eq!(task.is_finished(), !takes, "taken: {takes}");
            if takes {
                self.waiting.push((*to, token, task));
            } else {
                let told = self.run(task).unwrap();
                assert!(
                    matches!(told, Err(CommandError::Overloaded { .. })),
                    "{told:?}"
                );
            }
        }
    }

    /// Reads, and is shown so many tokens, each where its sender was told; or is refused.
    pub(super) fn read(&self, of: u8, expected: Option<u64>) {
        let shown = self.run(self.trays.state(&id(of)));
        let Some(expected) = expected else {
            assert!(
                matches!(shown, Err(StateError::Overloaded { .. })),
                "{shown:?}"
            );
            return;
        };
        let tokens = shown.unwrap().map(|shown| shown.state.tokens);
        let tokens = tokens.unwrap_or_default();
        assert_eq!(tokens.len() as u64, expected, "tray {of}");
        for (token, version) in tokens.iter().zip(1..) {
            assert_eq!(self.heard.get(&(of, version)), Some(token), "tray {of}");
        }
    }

    pub(super) fn hold(&mut self) {
        let gate = Gate::new();
        let from = self.store.calls(Operation::Append) + 1;
        self.store
            .inject(Operation::Append, from.., Fault::Hold(gate.clone()));
        self.gate = Some(gate);
    }

    pub(super) fn release(&mut self) {
        self.store.heal();
        self.gate.take().unwrap().open();
        for (to, token, task) in std::mem::take(&mut self.waiting) {
            let told = self.run(task).unwrap();
            self.hear(to, token, told);
        }
        self.pass(0);
    }

    pub(super) fn lose_answer(&mut self, to: u8) {
        self.store.inject_next(Operation::Append, Fault::LoseAnswer);
        self.send(&[to]);
        self.store.heal();
    }

    pub(super) fn fail_append(&mut self, to: u8) {
        self.store.inject_next(Operation::Append, Fault::Fail);
        self.fails(to);
    }

    pub(super) fn fail_wake(&mut self, to: u8) {
        self.pass(3 * IDLE_MS);
        assert_eq!(self.live(), 0, "all sleep");
        self.store.inject_next(Operation::Recover, Fault::Fail);
        self.fails(to);
    }

    fn fails(&mut self, to: u8) {
        let (_, told) = self.command(to);
        let told = self.run(told);
        assert!(
            matches!(told, Err(CommandError::StoreUnavailable)),
            "{told:?}"
        );
        self.store.heal();
        self.pass(0);
    }

    pub(super) fn restart(&mut self) {
        let ended = self.run(self.runtime.shutdown());
        assert_eq!(ended.unanswered, 0);
        self.replace();
    }

    pub(super) fn crash(&mut self) {
        self.waiting.clear();
        self.gate = None;
        self.replace();
    }

    fn replace(&mut self) {
        // A store of its own, so that what the last node's calls wait for is gone with it.
        self.store = FaultyStore::new(Arc::new(self.memory.clone()));
        let (tasks, runtime) = start(&self.tokio, &self.store);
        self.tasks = tasks;
        self.trays = runtime.aggregates().unwrap();
        self.runtime = runtime;
        for slots in self.slots.borrow().values() {
            let left = slots.iter().filter(|slot| slot.strong_count() > 0);
            assert_eq!(left.count(), 0, "an actor outlives its node");
        }
    }

    fn live(&self) -> usize {
        self.runtime.view().types[0].live
    }

    fn activations(&self) -> u64 {
        self.runtime.view().types[0].activations
    }

    /// What always holds, `waiting` being unanswered.
    pub(super) fn check(&self, waiting: usize) {
        let view = self.runtime.view();
        let tray = &view.types[0];
        assert_eq!(view.in_flight, waiting, "what is unanswered is counted");
        assert!(
            tray.live <= MAX_LIVE + MAX_IN_FLIGHT,
            "{} are live",
            tray.live
        );
        let asleep: u64 = tray.passivations.values().sum();
        assert_eq!(tray.activations - asleep, tray.live as u64);
        // Two actors of one aggregate would take each other's versions.
        assert_eq!(
            tray.conflicts.values().sum::<u64>(),
            0,
            "{:?}",
            tray.conflicts
        );
        let mut slots = self.slots.borrow_mut();
        for entry in &self.trays.kind().live {
            let seen = slots.entry(entry.key().clone()).or_default();
            let slot = Arc::downgrade(&entry.slot);
            if !seen.iter().any(|known| known.ptr_eq(&slot)) {
                seen.push(slot);
            }
        }
        for (id, seen) in &mut *slots {
            seen.retain(|slot| slot.strong_count() > 0);
            assert!(seen.len() <= 1, "{id} has {} actors", seen.len());
        }
    }
}
