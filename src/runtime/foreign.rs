//! Events of other programs: the journal has the store number them, and tells what cannot be.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    domain::error_chain,
    metrics::Counter,
    store::{EventStore, RefusedEvent},
};

/// So many refused events are told one by one; the metric counts them all.
const MAX_TOLD: usize = 1000;

/// The pause after a look that failed: the appends, which it holds up, find out for themselves when
/// the store is back.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What is known of the events of other programs.
#[derive(Debug, Default)]
pub(super) struct ForeignMeter {
    pub(super) numbered: Counter,
    /// As of the last look through all of them.
    refused: AtomicU64,
}

impl ForeignMeter {
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Looks for events of other programs, now and then.
pub(super) struct Foreign {
    store: Arc<dyn EventStore>,
    poll: Duration,
    /// When to look next; never where the store has none.
    next: Option<Instant>,
    meter: Arc<ForeignMeter>,
    /// Refused ones met since the first page.
    met: HashSet<RefusedEvent>,
    count: u64,
    told: HashSet<RefusedEvent>,
    failing: bool,
}

impl Foreign {
    pub(super) fn new(
        store: Arc<dyn EventStore>,
        poll: Duration,
        meter: &Arc<ForeignMeter>,
    ) -> Self {
        Self {
            // At once: they may have come while no server ran.
            next: store.has_foreign_writers().then(Instant::now),
            store,
            poll,
            meter: Arc::clone(meter),
            met: HashSet::new(),
            count: 0,
            told: HashSet::new(),
            failing: false,
        }
    }

    /// Waits until it is time to look, for ever where there is nothing to look for.
    pub(super) async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Looks, if it is time to.
    pub(super) async fn look_if_due(&mut self) {
        if self.next.is_some_and(|next| next <= Instant::now()) {
            self.look().await;
        }
    }

    /// Has the next page numbered.
    pub(super) async fn look(&mut self) {
        let numbering = match self.store.number().await {
            Ok(numbering) => numbering,
            Err(error) => {
                // Once for each outage: the appends tell of it as well.
                if !std::mem::replace(&mut self.failing, true) {
                    let error = error_chain(&error);
                    warn!(error, "events of other programs cannot be numbered");
                }
                self.next = Some(Instant::now() + self.poll.max(AFTER_FAILURE));
                return;
            }
        };
        self.failing = false;
        self.meter.numbered.add(numbering.numbered);
        self.count += numbering.refused.len() as u64;
        for refused in numbering.refused {
            self.tell(refused);
        }
        if numbering.more {
            self.next = Some(Instant::now());
            return;
        }
        self.meter.refused.store(self.count, Ordering::Relaxed);
        self.count = 0;
        // What is not met any more is numbered or gone; should it come again, it is told again.
        let before = std::mem::replace(&mut self.told, std::mem::take(&mut self.met));
        if self.told.is_empty() && !before.is_empty() {
            info!("all events of other programs have positions, or are gone");
        }
        self.next = Some(Instant::now() + self.poll);
    }

    fn tell(&mut self, refused: RefusedEvent) {
        if self.met.len() >= MAX_TOLD {
            return;
        }
        if !self.told.contains(&refused) {
            warn!(%refused, "another program's event cannot be numbered: it and what follows it in its aggregate are left out");
        }
        self.met.insert(refused);
    }
}
