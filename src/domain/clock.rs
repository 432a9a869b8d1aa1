//! Time, as the domain sees it.

use std::fmt::Debug;

use chrono::{DateTime, SubsecRound, Utc};

/// Where every stored time comes from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now, in UTC, in whole microseconds: what both databases keep.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}
