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
const MOST_POLLS: u64 = 3_000_000;

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

    /// What a task that could run is to do.
    fn turn(&self) -> Turn {
        let mut state = self.state();
        state.polls += 1;
        if state.polls == MOST_POLLS {
            let text = "tasks run for ever and no time passes".to_owned();
            state.panics.push(text);
        }
        let percent = state.percent;
        if state.polls >= MOST_POLLS {
            Turn::End
        } else if state.random.random_range(0..100) < percent {
            Turn::Wait
        } else {
            Turn::Run
        }
    }
}

enum Turn {
    Run,
    /// Let others go first.
    Wait,
    /// It would never come to an end by itself.
    End,
}

struct Stutter {
    task: Pin<Box<dyn Future<Output = ()>>>,
    scheduler: Scheduler,
}

impl Future for Stutter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<()> {
        match self.scheduler.turn() {
            Turn::Run => {}
            Turn::Wait => {
                ctx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Turn::End => return Poll::Ready(()),
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
