//! How often one caller may ask: the generic cell rate algorithm (ITU-T I.371), one number a caller.
//!
//! The number is the time at which the caller would be in debt no more. Memory is bounded: callers
//! without debt are forgotten, and where too many are in debt, those that come share one number.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use dashmap::{DashMap, Entry};
use tokio::time::Instant;

/// The time between two looks for callers without debt.
const LOOK_PAUSE_MS: u64 = 100;

/// So many requests in a time, for each of many callers.
#[derive(Debug)]
pub(in crate::http) struct Rate<K: Eq + Hash> {
    interval: Duration,
    /// How far ahead of the time a caller may be and still ask.
    tolerance: Duration,
    most: usize,
    started: Instant,
    known: AtomicUsize,
    /// When those without debt may be looked for again, counted from the start.
    look_due_ms: AtomicU64,
    /// When each is in debt no more, counted from the start.
    debts: DashMap<Option<K>, Duration>,
}

impl<K: Eq + Hash + Clone> Rate<K> {
    /// That many a second, and at once as many as come in the time of `burst`; 0 is no limit.
    pub(in crate::http) fn new(per_second: u32, burst: Duration, most: usize) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        Some(Self::every(interval, burst, most))
    }

    /// One in each interval, and at once as many as come in the time of `burst`, but one at least.
    pub(in crate::http) fn every(interval: Duration, burst: Duration, most: usize) -> Self {
        Self {
            interval,
            tolerance: burst.saturating_sub(interval),
            most,
            started: Instant::now(),
            known: AtomicUsize::new(0),
            look_due_ms: AtomicU64::new(0),
            debts: DashMap::new(),
        }
    }

    /// Counts a request, or tells how long to wait before the next.
    pub(in crate::http) fn admit(&self, caller: K) -> Result<(), Duration> {
        self.admit_at(caller, self.started.elapsed())
    }

    fn admit_at(&self, caller: K, now: Duration) -> Result<(), Duration> {
        let mut caller = Some(caller);
        if self.known.load(Ordering::Relaxed) >= self.most && !self.debts.contains_key(&caller) {
            self.forget_those_without_debt(now);
            if self.known.load(Ordering::Relaxed) >= self.most {
                caller = None;
            }
        }
        match self.debts.entry(caller) {
            Entry::Vacant(unknown) => {
                unknown.insert(now + self.interval);
                self.known.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Entry::Occupied(mut known) => {
                let debt = (*known.get()).max(now);
                let early = debt.saturating_sub(now + self.tolerance);
                if !early.is_zero() {
                    return Err(early);
                }
                known.insert(debt + self.interval);
                Ok(())
            }
        }
    }

    fn forget_those_without_debt(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        // A look goes over all who are known: a flood of strangers must not cost one for each.
        let next = |due: u64| (now_ms >= due).then(|| now_ms.saturating_add(LOOK_PAUSE_MS));
        let due = &self.look_due_ms;
        let looks = due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        if looks.is_err() {
            return;
        }
        self.debts.retain(|_, debt| *debt > now);
        self.known.store(self.debts.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// How many of those that ask at once are let through.
    fn admitted(rate: &Rate<u32>, caller: u32, now: Duration) -> usize {
        let asked = (0..1000).filter(|_| rate.admit_at(caller, now).is_ok());
        asked.count()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let rate = Rate::new(10, at(500), 1000).unwrap();

        assert_eq!(admitted(&rate, 1, at(0)), 5);
        assert_eq!(admitted(&rate, 1, at(100)), 1);
        assert_eq!(admitted(&rate, 1, at(350)), 2);
        assert_eq!(admitted(&rate, 1, at(60_000)), 5);
    }

    #[test]
    fn the_wait_that_is_told_is_long_enough_and_no_longer() {
        let rate = Rate::new(10, at(100), 1000).unwrap();
        rate.admit_at(1, at(0)).unwrap();

        let wait = rate.admit_at(1, at(30)).unwrap_err();

        assert_eq!(wait, at(70));
        assert!(rate.admit_at(1, at(99)).is_err());
        assert!(rate.admit_at(1, at(100)).is_ok());
    }

    #[test]
    fn each_caller_is_counted_alone() {
        let rate = Rate::new(10, at(500), 1000).unwrap();

        assert_eq!(admitted(&rate, 1, at(0)), 5);
        assert_eq!(admitted(&rate, 2, at(0)), 5);
    }

    #[test]
    fn a_burst_shorter_than_the_interval_lets_one_through() {
        let rate = Rate::new(1, at(1), 1000).unwrap();

        assert_eq!(admitted(&rate, 1, at(0)), 1);
        assert_eq!(admitted(&rate, 1, at(999)), 0);
        assert_eq!(admitted(&rate, 1, at(1000)), 1);
    }

    #[test]
    fn memory_is_bounded_and_those_who_are_too_many_share() {
        let rate = Rate::new(1, at(3000), 100).unwrap();

        for caller in 0..10_000 {
            let _ = rate.admit_at(caller, at(0));
        }

        assert_eq!(rate.debts.len(), 101);
        // Those who are known have their own; who comes later has spent what all share.
        assert_eq!(admitted(&rate, 5, at(0)), 2);
        assert_eq!(admitted(&rate, 10_001, at(0)), 0);
        // Once nobody is in debt, there is room again.
        assert_eq!(admitted(&rate, 10_001, at(100_000)), 3);
        assert_eq!(rate.debts.len(), 1);
    }

    #[test]
    fn strangers_do_not_make_it_look_for_room_each_time() {
        let rate = Rate::new(1, at(3000), 100).unwrap();
        for caller in 0..100 {
            rate.admit_at(caller, at(0)).unwrap();
        }

        rate.admit_at(100, at(950)).unwrap();
        // All are out of debt since, and it looked too lately to know.
        rate.admit_at(101, at(1040)).unwrap();
        assert_eq!(rate.debts.len(), 101);
        rate.admit_at(102, at(1050)).unwrap();

        // The one that all shared, and the stranger that there is room for.
        assert_eq!(rate.debts.len(), 2);
    }

    #[test]
    fn nothing_a_second_is_no_limit() {
        assert!(Rate::<u32>::new(0, at(1000), 1000).is_none());
    }
}
