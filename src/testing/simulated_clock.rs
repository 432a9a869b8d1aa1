//! A clock that follows tokio's time: where that is paused, a simulation's whole time is seeded.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use tokio::time::Instant;

use crate::domain::Clock;

/// A machine's clock in a simulation: it goes on with tokio's time, and may jump.
#[derive(Debug, Clone)]
pub struct SimulatedClock {
    start: DateTime<Utc>,
    began: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl SimulatedClock {
    /// A clock that shows `start` now.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> Self {
        Self {
            start,
            began: Instant::now(),
            skew_ms: Arc::default(),
        }
    }

    /// A clock of another machine, which shows the same time now and jumps alone.
    #[must_use]
    pub fn of_another_machine(&self) -> Self {
        Self {
            skew_ms: Arc::default(),
            ..self.clone()
        }
    }

    /// Jumps, back as well as forth.
    pub fn jump(&self, milliseconds: i64) {
        self.skew_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.began.elapsed()).unwrap_or_default();
        let skew = TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed));
        (self.start + passed + skew).trunc_subsecs(6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_with_tokios_time_and_jumps_alone() {
        let one = SimulatedClock::new(DateTime::UNIX_EPOCH);
        let other = one.of_another_machine();

        tokio::time::advance(Duration::from_secs(5)).await;
        other.jump(-2000);

        assert_eq!(one.now().timestamp(), 5);
        assert_eq!(other.now().timestamp(), 3);
    }
}
