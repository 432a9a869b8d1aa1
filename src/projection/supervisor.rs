//! Decides which generations of one projection there are and which this process works on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::{info, warn};

use super::{Build, Projection, applied::Applied, batch::Work, runner::Runner};
use crate::{
    domain::{IdGenerator, error_chain},
    settings::ProjectionSettings,
    store::{
        EventStore,
        models::{Generation, ModelError, ReadModels},
    },
};

/// The pause between two looks at the generations.
const LOOK: Duration = Duration::from_millis(500);

/// One projection, in all its registered versions.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) name: &'static str,
    pub(super) versions: Vec<Arc<dyn Projection>>,
    /// Whether appends of this process keep it where it is current.
    pub(super) inline: bool,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) models: Arc<dyn ReadModels>,
    pub(super) settings: ProjectionSettings,
    /// What this process calls itself in a lease.
    pub(super) holder: String,
    /// What pauses are drawn from.
    pub(super) ids: Arc<IdGenerator>,
    pub(super) applied: Arc<Applied>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let mut running: HashMap<i64, JoinHandle<()>> = HashMap::new();
        let mut first_look = true;
        let mut failing = false;
        let mut stopped = self.stopped.clone();
        while !is_over(&stopped) {
            match self.look(&mut running, first_look).await {
                Ok(()) => (first_look, failing) = (false, false),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = error_chain(&error);
                        warn!(
                            projection = self.name,
                            error, "cannot look at its generations"
                        );
                    }
                }
            }
            pause(LOOK, &mut stopped).await;
        }
        for (_, task) in running {
            // It has seen the same sign, and a panic in it is told elsewhere.
            let _ = task.await;
        }
    }

    async fn look(
        &self,
        running: &mut HashMap<i64, JoinHandle<()>>,
        first: bool,
    ) -> Result<(), ModelError> {
        running.retain(|_, task| !task.is_finished());
        let generations = if first {
            self.begin_what_is_missing().await?
        } else {
            self.generations().await?
        };
        for generation in generations {
            let number = generation.number;
            let known = self.version(generation.version);
            let Some(projection) = known.filter(|_| !generation.retired) else {
                continue;
            };
            // A process that starts may know how to apply what stopped another.
            let stands_still = generation.stopped.is_some() && !first;
            if stands_still || running.contains_key(&number) {
                continue;
            }
            let runner = Runner {
                work: Work {
                    store: Arc::clone(&self.store),
                    models: Arc::clone(&self.models),
                    projection: Arc::clone(projection),
                    settings: self.settings.clone(),
                    generation,
                    inline: self.inline,
                },
                holder: self.holder.clone(),
                ids: Arc::clone(&self.ids),
                applied: Arc::clone(&self.applied),
                stopped: self.stopped.clone(),
            };
            running.insert(number, tokio::spawn(runner.run()));
        }
        self.remove_replaced().await
    }

    fn version(&self, version: u32) -> Option<&Arc<dyn Projection>> {
        self.versions.iter().find(|one| one.version() == version)
    }

    async fn generations(&self) -> Result<Vec<Generation>, ModelError> {
        let mut snapshot = self.models.snapshot().await?;
        let generations = snapshot.tx().generations(Some(self.name)).await?;
        snapshot.rollback().await;
        Ok(generations)
    }

    /// Begins a generation of the newest version, unless there is one of it or of a newer: an
    /// older program must not undo what a newer one has built.
    async fn begin_what_is_missing(&self) -> Result<Vec<Generation>, ModelError> {
        let newest = self.versions.iter().map(|one| one.version()).max();
        let newest = newest.unwrap_or_default();
        let generations = self.generations().await?;
        if generations.iter().any(|one| one.version >= newest) {
            return Ok(generations);
        }
        let mut transaction = self.models.begin().await?;
        let mut tx = transaction.tx();
        tx.lock_projection(self.name).await?;
        let generations = tx.generations(Some(self.name)).await?;
        if !generations.iter().any(|one| one.version >= newest) {
            let generation = tx.begin_generation(self.name, newest).await?;
            info!(
                projection = self.name,
                version = newest,
                generation,
                "building a read model"
            );
        }
        let generations = tx.generations(Some(self.name)).await?;
        transaction.commit().await?;
        Ok(generations)
    }

    /// Removes what was replaced long enough ago that no read can still be at work on it.
    async fn remove_replaced(&self) -> Result<(), ModelError> {
        let Some(projection) = self.versions.iter().max_by_key(|one| one.version()) else {
            return Ok(());
        };
        let mut snapshot = self.models.snapshot().await?;
        let keep = self.settings.keep_replaced;
        let replaced = snapshot.tx().retired_generations(self.name, keep).await?;
        snapshot.rollback().await;
        for (generation, version) in replaced {
            let build = Build {
                generation,
                version,
                live: false,
            };
            let mut transaction = self.models.begin().await?;
            let mut tx = transaction.tx();
            // The row first: of several processes one goes on, the others find it gone.
            if tx.forget_generation(self.name, generation).await? {
                projection.remove(&build, tx.reborrow()).await?;
                transaction.commit().await?;
                info!(
                    projection = self.name,
                    generation, "a replaced read model is removed"
                );
            } else {
                transaction.rollback().await;
            }
        }
        Ok(())
    }
}

/// Whether the work is to end: it was asked to, or nobody is left who could ask.
pub(super) fn is_over(stopped: &watch::Receiver<bool>) -> bool {
    *stopped.borrow() || stopped.has_changed().is_err()
}

/// Waits, but not longer than until the work is over.
pub(super) async fn pause(time: Duration, stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        biased;
        () = sleep(time) => {}
        // An error is the end too: the sender is gone.
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}
