//! The runtime's own threads: it works the same in an actix service, under plain tokio, or in a test.
//!
//! One thread carries the actix system with the journal, the loader and the snapshots; one the
//! registries and the loads of rows; as many as there are cores the aggregates. A simulation has none of them: there
//! everything is a task of the thread it runs on.

use std::{io, pin::Pin, sync::Arc, thread};

use actix::{Addr, Context};
use actix_rt::{Arbiter, ArbiterHandle};
use futures_util::future::{BoxFuture, LocalBoxFuture};
use tokio::sync::oneshot;

use super::{
    kind::Kind,
    registry::{Arbiters, Registry},
};
use crate::domain::Aggregate;

/// Starts a task of a runtime that has no threads of its own.
pub(super) type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()>>>) + Send + Sync>;

/// Where actors live.
#[derive(Clone)]
pub(super) enum Place {
    /// A thread of the runtime's own.
    Thread(ArbiterHandle),
    /// The thread that the runtime was started on.
    Here(Spawn),
}

impl Place {
    /// Starts a task there.
    pub(super) fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        task: impl FnOnce() -> F + Send + 'static,
    ) {
        match self {
            // A thread that has ended leaves an actor's address closed, and the handles say so.
            Self::Thread(arbiter) => {
                let _ = arbiter.spawn_fn(move || {
                    actix_rt::spawn(task());
                });
            }
            Self::Here(spawn) => spawn(Box::pin(task())),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Thread",
            Self::Here(_) => "Here",
        })
    }
}

/// The threads of one runtime. They end when it is stopped or dropped.
#[derive(Debug)]
pub(super) struct System {
    registries: Place,
    arbiters: Arc<Arbiters>,
    /// Dropped or used, it ends the system.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl System {
    /// Starts `tasks`, on threads of the runtime's own unless it has none.
    pub(super) async fn begin(
        spawn: Option<Spawn>,
        arbiters: usize,
        tasks: Vec<BoxFuture<'static, ()>>,
    ) -> io::Result<Self> {
        let Some(spawn) = spawn else {
            return Self::start(arbiters, tasks).await;
        };
        let tasks = tasks
            .into_iter()
            .map(|task| task as LocalBoxFuture<'static, ()>);
        Ok(Self::here(spawn, tasks.collect()))
    }

    /// Starts the threads, and `tasks` on the system's own.
    async fn start(arbiters: usize, tasks: Vec<BoxFuture<'static, ()>>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, handles) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("dormouse".to_owned())
            .spawn(move || run(arbiters, tasks, started, stopped))?;
        let (registries, handles) = handles
            .await
            .map_err(|_| io::Error::other("the runtime's thread ended at its start"))??;
        Ok(Self {
            registries: Place::Thread(registries),
            arbiters: Arbiters::new(handles.into_iter().map(Place::Thread).collect()),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Starts `tasks` on this thread, and all that comes later with them.
    fn here(spawn: Spawn, tasks: Vec<LocalBoxFuture<'static, ()>>) -> Self {
        tasks.into_iter().for_each(&*spawn);
        Self {
            registries: Place::Here(Arc::clone(&spawn)),
            arbiters: Arbiters::new(vec![Place::Here(spawn)]),
            stop: None,
            thread: None,
        }
    }

    /// Starts the registry of an aggregate type.
    pub(super) fn start_registry<A: Aggregate>(&self, kind: &Arc<Kind<A>>) -> Addr<Registry<A>> {
        let registry = Registry {
            kind: Arc::clone(kind),
            arbiters: Arc::clone(&self.arbiters),
        };
        // Its queue is bounded by the unanswered work, each of which waits for one answer.
        let (sender, receiver) = actix::dev::channel::channel(0);
        self.registries
            .spawn(move || Context::with_receiver(receiver).into_future(registry));
        Addr::new(sender)
    }

    /// Starts a task beside the registries.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.registries.spawn(move || task);
    }

    /// Ends all threads, and gives the one to wait for, if there are any.
    pub(super) fn stop(&mut self) -> Option<thread::JoinHandle<()>> {
        drop(self.stop.take());
        self.thread.take()
    }
}

type Handles = (ArbiterHandle, Vec<ArbiterHandle>);

fn run(
    arbiters: usize,
    tasks: Vec<BoxFuture<'static, ()>>,
    started: oneshot::Sender<io::Result<Handles>>,
    stopped: oneshot::Receiver<()>,
) {
    actix_rt::System::new().block_on(async move {
        let all: io::Result<Vec<Arbiter>> = (0..=arbiters).map(|_| Arbiter::try_new()).collect();
        let all = match all {
            Ok(all) => all,
            Err(error) => {
                // Whoever started this has gone where it does not listen.
                let _ = started.send(Err(error));
                return;
            }
        };
        let mut handles: Vec<ArbiterHandle> = all.iter().map(Arbiter::handle).collect();
        let registries = handles.swap_remove(0);
        for task in tasks {
            actix_rt::spawn(task);
        }
        if started.send(Ok((registries, handles))).is_err() {
            return;
        }
        // An error means that the runtime was dropped: an end as good as any.
        let _ = stopped.await;
        for arbiter in all {
            arbiter.stop();
            if arbiter.join().is_err() {
                tracing::error!("a thread of the runtime panicked");
            }
        }
    });
}

impl<A: Aggregate> std::fmt::Debug for Registry<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_end_with_it() {
        let (sender, ended) = oneshot::channel::<()>();
        let task = Box::pin(async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });

        let mut system = System::start(1, vec![task]).await.unwrap();
        let thread = system.stop().unwrap();

        assert!(ended.await.is_err());
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap();
    }
}
