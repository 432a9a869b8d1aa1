//! How far each served read model has come, as this node knows it: what waiting readers wait for.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{
    domain::Position,
    store::models::{ModelError, ReadModels},
};

/// The pause between two looks at the checkpoint while somebody waits; it doubles to the last.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What this node knows of one projection.
#[derive(Debug)]
pub(super) struct Applied {
    name: &'static str,
    /// What readers see; nothing while no generation is known to be served.
    position: watch::Sender<Option<Position>>,
    waiting: AtomicUsize,
    /// Wakes who looks at the log for this projection.
    pub(super) look: Notify,
    /// Held by the one reader that asks the database for all that wait here.
    asking: Mutex<()>,
    /// The last failure, until something succeeds.
    pub(super) failing: std::sync::Mutex<Option<String>>,
}

impl Applied {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            position: watch::Sender::new(None),
            waiting: AtomicUsize::new(0),
            look: Notify::new(),
            asking: Mutex::new(()),
            failing: std::sync::Mutex::new(None),
        }
    }

    /// Readers see every event up to here.
    pub(super) fn reached(&self, position: Position) {
        self.position.send_if_modified(|known| {
            let further = known.is_none_or(|known| position > known);
            if further {
                *known = Some(position);
            }
            further
        });
    }

    /// Whether somebody waits for a position.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until readers see a position, or until the time is over. Of all that wait on this
    /// node one asks the database, for the projection may run on another.
    pub(super) async fn wait(
        &self,
        models: &dyn ReadModels,
        position: Position,
        time: Duration,
    ) -> Result<(), ModelError> {
        let until = Instant::now() + time;
        let mut seen = self.position.subscribe();
        let _waiting = Waiting::on(&self.waiting);
        self.look.notify_one();
        let mut pause = FIRST_LOOK;
        loop {
            let reached = *seen.borrow_and_update();
            if reached.is_some_and(|reached| reached >= position) {
                return Ok(());
            }
            let next = Instant::now() + pause;
            let changed = timeout_at(next.min(until), seen.changed()).await;
            if changed.is_ok() {
                continue;
            }
            if let Ok(_asking) = self.asking.try_lock()
                && let Some(reached) = served_position(models, self.name).await?
            {
                self.reached(reached);
            }
            if Instant::now() >= until {
                return Ok(());
            }
            pause = (pause * 2).min(LAST_LOOK);
        }
    }
}

/// The position that readers of a read model see; nothing where none is served.
pub(super) async fn served_position(
    models: &dyn ReadModels,
    name: &str,
) -> Result<Option<Position>, ModelError> {
    let mut snapshot = models.snapshot().await?;
    let mut tx = snapshot.tx();
    let generations = tx.generations(Some(name)).await?;
    let mut position = None;
    if let Some(serving) = generations.iter().find(|generation| generation.serving) {
        position = tx.checkpoint(&serving.key()).await?;
    }
    snapshot.rollback().await;
    Ok(position)
}

/// Counts one that waits, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
