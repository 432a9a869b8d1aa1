//! The callers of a hot aggregate come back together, but not at once.
//!
//! Those that were answered by one append send their next commands within a fraction of its time.
//! Handed over at once, the few that waited would go alone, and two groups of callers would wait
//! for each other's flushes for ever after. So the actor lets other work run until as many are
//! there again, for a quarter of the last append's time at most. It is no timer: an aggregate that
//! is idle, or whose callers come one by one, never waits.

use std::time::Duration;

use tokio::time::Instant;

/// The part of an append's time that its callers get to come back in.
const GRACE_DIVISOR: u32 = 4;
/// The longest that they get.
const LONGEST_GRACE: Duration = Duration::from_micros(500);

/// How many are expected, and until when.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Return {
    expected: usize,
    until: Option<Instant>,
}

impl Return {
    /// After an append that began at `began` and answered `answered`, while `waiting` waited.
    pub(super) fn of(answered: usize, waiting: usize, began: Instant) -> Self {
        if answered < 2 {
            return Self::default();
        }
        let now = Instant::now();
        Self {
            expected: answered + waiting,
            until: Some(now + ((now - began) / GRACE_DIVISOR).min(LONGEST_GRACE)),
        }
    }

    /// Whether more are still expected, `present` being there.
    pub(super) fn is_awaited_at(&self, present: usize) -> bool {
        present < self.expected && self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// Lets whatever is ready run, once.
pub(super) async fn let_others_run(on_threads: bool) {
    if on_threads {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    } else {
        // Time that is paused goes on only when nothing is ready: to yield would wait for ever.
        tokio::time::sleep(LONGEST_GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_are_awaited_for_a_part_of_the_appends_time() {
        let began = Instant::now();
        tokio::time::advance(Duration::from_micros(800)).await;
        let awaited = Return::of(3, 1, began);

        assert!(awaited.is_awaited_at(3));
        assert!(!awaited.is_awaited_at(4));
        tokio::time::advance(Duration::from_micros(200)).await;
        assert!(!awaited.is_awaited_at(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_comes_alone_is_not_awaited() {
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;

        assert!(!Return::of(1, 9, began).is_awaited_at(0));
        assert!(!Return::default().is_awaited_at(0));
    }
}
