//! The one reader at the log's end: it polls, is woken by hints, and fills the ring.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{Shared, SubscriptionError, backoff::Backoff, page::PageSizer};
use crate::{domain::Position, store::ReadError};

/// How often what should not be is read again before subscriptions are told of it.
pub(super) const REREADS: u32 = 3;

/// The tail while it runs.
pub(super) struct Tail {
    shared: Arc<Shared>,
    /// The last position it has read.
    head: Position,
    sizer: PageSizer,
    backoff: Backoff,
    /// The pause to which it has slowed down.
    pause: Duration,
    last_look: Instant,
    /// Whether it ended as it should: nobody needed it.
    unused: bool,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let settings = &shared.settings;
        Self {
            head: Position::ZERO,
            sizer: PageSizer::new(settings.page, settings.page_bytes),
            backoff: Backoff::new(settings.retry_max),
            pause: settings.poll_min,
            last_look: Instant::now(),
            unused: false,
            shared,
        }
    }

    pub(super) async fn run(mut self) {
        // Before the first look, so that what comes after it is told of.
        let mut hints = self.shared.store.hints();
        while let Err(error) = self.begin().await {
            self.trouble(error).await;
            if self.ends() || self.shared.ring.is_closed() {
                return;
            }
        }
        while !self.ends() {
            let soonest = self.last_look + self.shared.settings.poll_min;
            tokio::select! {
                biased;
                () = sleep_until(self.last_look + self.pause) => {}
                // Woken early, but never more often than the shortest pause.
                () = hint_of_more(&mut hints, self.head) => sleep_until(soonest).await,
                () = self.shared.registry.emptied.notified() => continue,
                () = self.shared.ring.until_closed() => return,
            }
            match self.look().await {
                Ok(()) => self.healed(),
                Err(error) => self.trouble(error).await,
            }
        }
    }

    /// The ring begins at the log's end.
    async fn begin(&mut self) -> Result<(), ReadError> {
        self.head = self.shared.store.last_position().await?;
        self.shared.ring.start(self.head);
        self.healed();
        Ok(())
    }

    /// Reads what is new into the ring, and decides when to look again.
    async fn look(&mut self) -> Result<(), ReadError> {
        self.last_look = Instant::now();
        let limit = self.sizer.limit();
        let events = self.shared.store.read_log(self.head, limit).await?;
        let full = events.len() == limit as usize;
        let Some(last) = events.last().map(|event| event.position) else {
            let settings = &self.shared.settings;
            self.pause = (self.pause.max(settings.poll_min) * 2).min(settings.poll_max);
            return Ok(());
        };
        self.sizer.learn_from(&events);
        let pushed = self.shared.ring.push(events);
        pushed.map_err(|what| ReadError::Corrupt { what })?;
        self.head = last;
        self.pause = if full {
            Duration::ZERO
        } else {
            self.shared.settings.poll_min
        };
        Ok(())
    }

    fn ends(&mut self) -> bool {
        let shared = &self.shared;
        self.unused = shared.registry.end_tail_if_unused(|| shared.ring.stop());
        self.unused
    }

    /// Says what is wrong, once, and waits. What retrying does not heal is told to subscriptions;
    /// they end, and the tail goes on looking whether it was healed by someone.
    async fn trouble(&mut self, error: ReadError) {
        let tries = self.backoff.tries();
        match error {
            ReadError::Corrupt { what } => {
                if tries <= REREADS {
                    error!(
                        what,
                        "the log holds something it should not; reading it again"
                    );
                }
                if tries >= REREADS {
                    self.shared.ring.fail(SubscriptionError::Corrupt { what });
                }
            }
            ReadError::Unavailable(source) if tries == 0 => {
                warn!(%source, "the log cannot be read; subscriptions wait");
            }
            ReadError::Unavailable(_) => {}
        }
        tokio::select! {
            biased;
            () = self.backoff.wait(&self.shared.ids) => {}
            () = self.shared.ring.until_closed() => {}
        }
    }

    fn healed(&mut self) {
        if self.backoff.tries() > 0 {
            info!(after = %self.head, "the log can be read again");
            self.backoff.reset();
            self.shared.ring.heal();
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if !self.unused {
            // Its runtime ended, or it was closed: nobody may wait for it in vain.
            self.shared.ring.close();
            self.shared.registry.lost_tail();
        }
    }
}

/// Waits for a hint that is worth a look.
async fn hint_of_more(hints: &mut Option<watch::Receiver<Position>>, head: Position) {
    while let Some(receiver) = hints {
        let known = *receiver.borrow_and_update();
        if known > head {
            return;
        }
        if receiver.changed().await.is_err() {
            // The store gives no more hints: from here on it is polled.
            *hints = None;
        } else if *receiver.borrow() == known {
            // Nothing new is known, only that something may have been missed.
            return;
        }
    }
    std::future::pending::<()>().await;
}
