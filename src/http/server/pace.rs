//! What a connection and the requests on it know of each other, in the one thread they live in.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::Instant;

/// Until when the next request must have begun, if none is being worked on.
#[derive(Debug)]
pub(in crate::http) struct Pace {
    head_timeout: Duration,
    /// How long a connection may be idle and then send its head.
    idle_timeout: Duration,
    working: Cell<u32>,
    arriving: Cell<bool>,
    deadline: Cell<Option<Instant>>,
}

/// A request that is being worked on, until the end of its answer.
#[derive(Debug)]
pub(in crate::http) struct Working(Rc<Pace>);

impl Pace {
    pub(super) fn new(head_timeout: Duration, keep_alive: Duration) -> Self {
        Self {
            head_timeout,
            idle_timeout: keep_alive + head_timeout,
            working: Cell::new(0),
            arriving: Cell::new(false),
            deadline: Cell::new(None),
        }
    }

    /// A head was read and its request begins.
    pub(in crate::http) fn begin(self: &Rc<Self>) -> Working {
        self.working.set(self.working.get() + 1);
        self.arriving.set(false);
        self.deadline.set(None);
        Working(Rc::clone(self))
    }

    /// Bytes came: the first of a head, if no request is being worked on.
    pub(super) fn bytes_came(&self, now: impl FnOnce() -> Instant) {
        if self.working.get() == 0 && !self.arriving.replace(true) {
            self.deadline.set(Some(now() + self.head_timeout));
        }
    }

    /// Nothing is there yet, or what was there is read. A part of the next head may have come with
    /// the request before, so idling is bounded as well.
    pub(super) fn idle(&self, now: Instant) {
        self.arriving.set(false);
        self.deadline.set(Some(now + self.idle_timeout));
    }

    /// Until when the next request must have begun.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let Self(pace) = self;
        let left = pace.working.get().saturating_sub(1);
        pace.working.set(left);
        if left == 0 {
            pace.idle(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_of_a_head_begins_its_time_and_later_ones_do_not() {
        let pace = Pace::new(HEAD, IDLE);
        let begun = Instant::now();

        pace.bytes_came(Instant::now);
        tokio::time::advance(HEAD / 2).await;
        pace.bytes_came(Instant::now);

        assert_eq!(pace.deadline(), Some(begun + HEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_worked_on_has_no_deadline_and_idling_after_it_has() {
        let pace = Rc::new(Pace::new(HEAD, IDLE));
        pace.bytes_came(Instant::now);

        let working = pace.begin();
        pace.bytes_came(Instant::now);
        let meanwhile = pace.deadline();
        drop(working);
        let idle = pace.deadline();
        tokio::time::advance(IDLE / 2).await;
        pace.bytes_came(Instant::now);

        assert_eq!(meanwhile, None);
        assert_eq!(idle, Some(Instant::now() - IDLE / 2 + IDLE + HEAD));
        assert_eq!(pace.deadline(), Some(Instant::now() + HEAD));
    }
}
