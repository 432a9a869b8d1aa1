//! Tasks that let others go first when they could run: the order of tasks is drawn from the seed.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Polls that no simulation needs: more mean that tasks run and no time passes.
const MOST_POLLS: u64 = 20_000_000;

/// Decides for all tasks of a simulation, and hears of their panics.
#[derive(Clone)]
pub(crate) struct Scheduler(Arc<Mutex<State>>);

struct State {
    random: StdRng,
    percent: u32,
    polls: u64,
    panics: Vec<String>,
}

impl Scheduler {
    pub(crate) fn new(seed: u64, percent: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            percent,
            polls: 0,
            panics: Vec::new(),
        })))
    }

    /// What tasks panicked with.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }

    /// A task that stutters.
    pub(crate) fn stutter(
        &self,
        task: Pin<Box<dyn Future<Output = ()>>>,
    ) -> impl Future<Output = ()> + 'static {
        Stutter {
            task,
            scheduler: self.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a task that could run has to wait once more.
    fn hold_back(&self) -> bool {
        let mut state = self.state();
        state.polls += 1;
        assert!(state.polls < MOST_POLLS, "tasks run and no time passes");
        let percent = state.percent;
        state.random.random_range(0..100) < percent
    }
}

struct Stutter {
    task: Pin<Box<dyn Future<Output = ()>>>,
    scheduler: Scheduler,
}

impl Future for Stutter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<()> {
        if self.scheduler.hold_back() {
            ctx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let task = &mut self.task;
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(ctx))) {
            Ok(poll) => poll,
            Err(panic) => {
                let text = words(&*panic);
                self.scheduler.state().panics.push(text);
                Poll::Ready(())
            }
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
