//! How often something may be tried, by whom: bounded in rate and in memory.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};

/// Places for callers. Two that share one share its rate: that makes the limit stricter for them,
/// never looser, and nobody can choose it, for the hash has a secret seed.
const PLACES: usize = 1 << 16;
const MINUTE_MICROS: i64 = 60_000_000;

/// It was tried too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next is possible in {} s", .retry_after.as_secs())]
pub struct TooMany {
    /// How long to wait.
    pub retry_after: Duration,
}

/// Counts attempts by caller: so many in a minute, at once or evenly.
///
/// It is the generic cell rate algorithm (ITU-T I.371): of each place only the time is kept at which
/// it would be as good as unused. So an attempt is one atomic step, and nothing grows.
pub struct Attempts {
    seed: RandomState,
    /// In microseconds since 1970.
    unused_at: Box<[AtomicI64]>,
    /// How much time one attempt uses up.
    each: i64,
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts")
            .field("each_micros", &self.each)
            .finish_non_exhaustive()
    }
}

impl Attempts {
    /// So many a minute, at least one.
    #[must_use]
    pub fn a_minute(most: u32) -> Self {
        Self {
            seed: RandomState::new(),
            unused_at: (0..PLACES).map(|_| AtomicI64::new(0)).collect(),
            each: MINUTE_MICROS / i64::from(most.max(1)),
        }
    }

    /// Counts an attempt of a caller, unless there were too many.
    ///
    /// # Errors
    /// [`TooMany`]; it is not counted then.
    pub fn count(&self, caller: impl Hash, now: DateTime<Utc>) -> Result<(), TooMany> {
        let hash = self.seed.hash_one(caller);
        let places = u64::try_from(PLACES).unwrap_or(u64::MAX);
        let place = usize::try_from(hash % places).unwrap_or_default();
        let now = now.timestamp_micros();
        let counted =
            self.unused_at[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unused_at| {
                // A clock that was set back must not lock anybody out for longer than a minute.
                let next = unused_at.clamp(now, now + MINUTE_MICROS) + self.each;
                (next <= now + MINUTE_MICROS).then_some(next)
            });
        match counted {
            Ok(_) => Ok(()),
            Err(unused_at) => {
                let wait = unused_at.min(now + MINUTE_MICROS) + self.each - now - MINUTE_MICROS;
                let wait = u64::try_from(wait).unwrap_or_default();
                Err(TooMany {
                    retry_after: Duration::from_micros(wait),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn so_many_are_allowed_in_a_minute_and_then_one_at_a_time() {
        let attempts = Attempts::a_minute(6);
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(1);

        for _ in 0..6 {
            attempts.count("ada", start).unwrap();
        }
        let refused = attempts.count("ada", start).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(10));
        assert!(attempts.count("bob", start).is_ok());
        let later = start + TimeDelta::seconds(10);
        assert!(attempts.count("ada", later).is_ok());
        assert!(attempts.count("ada", later).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_long() {
        let attempts = Attempts::a_minute(6);
        let ahead = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        attempts.count("ada", ahead).unwrap();

        let refused = attempts.count("ada", now).unwrap_err();

        assert!(refused.retry_after <= Duration::from_secs(10), "{refused}");
    }
}
