//! A node: the real runtime on a set of tasks of its own. To drop the set is to kill the node.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use dormouse::{
    domain::{AggregateId, Clock, Handle, IdGenerator},
    projection::{Projections, Subscriptions},
    runtime::{
        Aggregates, Answer, CommandError, CommandOptions, Ended, Runtime, StateAt, StateError,
    },
    settings::{ProjectionSettings, Settings},
    store::EventStore,
    testing::{SimulatedClock, SimulatedStore},
};
use serde::Serialize;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::LocalSet,
};

use crate::{
    followers::{Shelving, stream_settings},
    stutter::Scheduler,
    tally::{Tally, commands},
};

pub(crate) struct Node {
    pub(crate) session: u64,
    pub(crate) clock: SimulatedClock,
    runtime: Runtime,
    tallies: Aggregates<Tally>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) projections: Option<Projections>,
    gone: watch::Sender<bool>,
    /// Its tasks, until it is killed.
    tasks: RefCell<Option<Rc<LocalSet>>>,
    killed: Rc<Notify>,
}

/// What a node starts with.
pub(crate) struct NodeSetup {
    pub(crate) session: u64,
    pub(crate) seed: u64,
    pub(crate) store: SimulatedStore,
    pub(crate) clock: SimulatedClock,
    pub(crate) settings: Settings,
    pub(crate) scheduler: Scheduler,
    /// How the projection is kept, where there is one.
    pub(crate) shelf: Option<ProjectionSettings>,
}

impl Node {
    pub(crate) async fn start(setup: NodeSetup) -> Self {
        let tasks = Rc::new(LocalSet::new());
        let killed = Rc::new(Notify::new());
        let driven = (Rc::clone(&tasks), Rc::clone(&killed));
        tokio::task::spawn_local(async move {
            let (tasks, killed) = driven;
            tasks.run_until(killed.notified()).await;
        });
        let clock: Arc<dyn Clock> = Arc::new(setup.clock.clone());
        let ids = IdGenerator::seeded(Arc::clone(&clock), setup.seed ^ setup.session << 32);
        let store: Arc<dyn EventStore> = Arc::new(setup.store);
        // What follows the log draws from generators of its own.
        let seeded = |which: u64| {
            let seed = setup.seed ^ setup.session << 32 ^ which << 60;
            IdGenerator::seeded(Arc::clone(&clock), seed)
        };
        let subscriptions =
            Subscriptions::with_ids(Arc::clone(&store), stream_settings(), seeded(1));
        let projections = setup.shelf.map(|settings| {
            let builder = Projections::builder(Arc::clone(&store)).settings(settings);
            let builder = builder.clock(Arc::clone(&clock)).ids(seeded(2));
            let started = builder.projection(Shelving).start();
            started.expect("the projection starts")
        });
        let scheduler = setup.scheduler;
        let builder = Runtime::builder(store)
            .settings(setup.settings)
            .clock(clock)
            .ids(ids)
            .aggregate::<Tally>(commands)
            .on_this_thread(move |task| {
                tokio::task::spawn_local(scheduler.stutter(task));
            });
        let runtime = tasks.spawn_local(builder.start()).await;
        let runtime = runtime.expect("no panic").expect("the runtime starts");
        Self {
            session: setup.session,
            clock: setup.clock,
            tallies: runtime.aggregates().expect("tallies are registered"),
            runtime,
            subscriptions,
            projections,
            gone: watch::Sender::new(false),
            tasks: RefCell::new(Some(tasks)),
            killed,
        }
    }

    /// Sends a command as a connection does: nothing is heard where the node is killed meanwhile.
    pub(crate) async fn execute<C>(
        &self,
        id: AggregateId,
        command: C,
        options: CommandOptions,
    ) -> Option<Result<Answer<<Tally as Handle<C>>::Reply>, CommandError>>
    where
        Tally: Handle<C>,
        C: Serialize + Send + 'static,
    {
        let tallies = self.tallies.clone();
        self.on_it(async move { tallies.execute(&id, command, options).await })
            .await
    }

    pub(crate) async fn state(
        &self,
        id: AggregateId,
    ) -> Option<Result<Option<StateAt<Tally>>, StateError>> {
        let tallies = self.tallies.clone();
        self.on_it(async move { tallies.state(&id).await }).await
    }

    pub(crate) async fn shutdown(&self) -> Option<Ended> {
        let runtime = self.runtime.clone();
        self.on_it(async move { runtime.shutdown().await }).await
    }

    /// Waits until it is killed.
    pub(crate) async fn gone(&self) {
        // The sender is in `self`, so the channel cannot close.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Ends it where it stands. What follows the log for it is dead with its session at the store.
    pub(crate) fn kill(&self) {
        self.gone.send_replace(true);
        self.killed.notify_one();
        drop(self.tasks.borrow_mut().take());
    }

    /// Runs something as a task of the node's.
    async fn on_it<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let tasks = self.tasks.borrow().clone()?;
        tasks.spawn_local(async move {
            // Whoever asked waits.
            let _ = sender.send(task.await);
        });
        drop(tasks);
        answer.await.ok()
    }
}
