//! Pauses between tries, each twice the one before.

use std::time::Duration;

use crate::domain::IdGenerator;

/// The first pause; the settings say the longest.
const FIRST: Duration = Duration::from_millis(50);

/// How long to wait before the next try.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            next: FIRST.min(longest),
            longest,
            tries: 0,
        }
    }

    /// How many tries have failed in a row.
    pub(super) const fn tries(&self) -> u32 {
        self.tries
    }

    /// Waits; some of the time is random, so that those who failed together do not come back together.
    pub(super) async fn wait(&mut self, ids: &IdGenerator) {
        self.tries += 1;
        // A new id is as good a die as any, and the only one here that can be seeded.
        let percent = u32::try_from(ids.next().random() % 51).unwrap_or(25);
        let pause = self.next * (75 + percent) / 100;
        self.next = (self.next * 2).min(self.longest);
        tokio::time::sleep(pause).await;
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.longest);
    }
}
