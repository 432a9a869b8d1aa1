//! Pauses between tries, each twice the one before.

use std::time::Duration;

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
    pub(super) async fn wait(&mut self) {
        self.tries += 1;
        let jitter = rand::random_range(0.75..1.25);
        let pause = self.next.mul_f64(jitter);
        self.next = (self.next * 2).min(self.longest);
        tokio::time::sleep(pause).await;
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.longest);
    }
}
