//! The handle on all projections of a process: its start, its end and what can be asked of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    Projection, ProjectionStatus, Rebuild, RebuildError, applied::Applied, inline::Inline, rebuild,
    status, supervisor::Supervisor,
};
use crate::{
    domain::{Clock, IdGenerator, Position, SystemClock},
    settings::ProjectionSettings,
    store::{
        EventStore,
        models::{ModelError, ModelKind, ReadModels},
    },
};

/// Why projections do not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store has no place for read models.
    #[error("the projection `{projection}` needs a store with read models, and this one has none")]
    NoReadModels {
        /// The projection's name.
        projection: &'static str,
    },
    /// The projection cannot keep its tables in this store.
    #[error("the projection `{projection}` does not run on the {store} store")]
    Unsupported {
        /// The projection's name.
        projection: &'static str,
        /// The kind of store.
        store: ModelKind,
    },
    /// The store's appends have no transaction that a projection can join.
    #[error("the projection `{projection}` cannot be inline on the {store} store")]
    NotInline {
        /// The projection's name.
        projection: &'static str,
        /// The kind of store.
        store: ModelKind,
    },
    /// The name is no name.
    #[error("`{0}` is no name for a projection: 1 to 40 of a-z 0-9 _, a letter first")]
    Name(&'static str),
    /// The same version of a projection is there twice.
    #[error("version {version} of the projection `{projection}` is registered twice")]
    Twice {
        /// The projection's name.
        projection: &'static str,
        /// The version.
        version: u32,
    },
}

/// What projections are started with.
#[derive(Debug)]
pub struct ProjectionsBuilder {
    store: Arc<dyn EventStore>,
    settings: ProjectionSettings,
    clock: Arc<dyn Clock>,
    ids: Option<IdGenerator>,
    registered: Vec<Arc<dyn Projection>>,
    inline: Vec<Arc<dyn Projection>>,
}

impl ProjectionsBuilder {
    /// The limits to keep.
    #[must_use]
    pub fn settings(mut self, settings: ProjectionSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Where the time comes from that a lag is measured with.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where this process's name in leases, and all that is left to chance, is drawn from.
    #[must_use]
    pub fn ids(mut self, ids: IdGenerator) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Adds a projection. An older version of one that is there keeps its generation up to date
    /// while the newer is built.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection) -> Self {
        self.registered.push(Arc::new(projection));
        self
    }

    /// Adds a projection that is applied in the transaction of every append of this process: where
    /// a command has been answered, its events are in the read model. One whose `apply` refuses an
    /// event makes the command fail that would store it, and no other. Until it is complete, and
    /// where a process without it has appended, it catches up as the others do, and its position
    /// says so. Its `after_commit` is called only for what it caught up with in this way.
    #[must_use]
    pub fn inline(mut self, projection: impl Projection) -> Self {
        let projection: Arc<dyn Projection> = Arc::new(projection);
        self.inline.push(Arc::clone(&projection));
        self.registered.push(projection);
        self
    }

    /// Starts them, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// [`StartError`] names the projection that cannot run, and why.
    pub fn start(self) -> Result<Projections, StartError> {
        let models = self.check()?;
        let mut by_name: HashMap<&'static str, Vec<Arc<dyn Projection>>> = HashMap::new();
        for projection in &self.registered {
            let versions = by_name.entry(projection.name()).or_default();
            versions.push(Arc::clone(projection));
        }
        let applied: HashMap<_, _> = by_name
            .keys()
            .map(|name| (*name, Arc::new(Applied::new(name))))
            .collect();
        self.set_hook(models.as_deref())?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let ids = self.ids;
        let ids = Arc::new(ids.unwrap_or_else(|| IdGenerator::new(Arc::clone(&self.clock))));
        let holder = ids.next().to_string();
        if let Some(models) = &models {
            for (name, versions) in by_name {
                let supervisor = Supervisor {
                    inline: self.inline.iter().any(|one| one.name() == name),
                    name,
                    versions,
                    store: Arc::clone(&self.store),
                    models: Arc::clone(models),
                    settings: self.settings.clone(),
                    holder: holder.clone(),
                    ids: Arc::clone(&ids),
                    applied: Arc::clone(&applied[name]),
                    stopped: stopped.clone(),
                };
                tasks.spawn(supervisor.run());
            }
        }
        Ok(Projections {
            inner: Arc::new(Inner {
                store: self.store,
                models,
                hooked: !self.inline.is_empty(),
                settings: self.settings,
                clock: self.clock,
                applied,
                versions: self
                    .registered
                    .iter()
                    .map(|one| (one.name(), one.version()))
                    .collect(),
                stop,
                tasks: Mutex::new(tasks),
            }),
        })
    }

    /// Has appends call the inline projections; without any, appends stay as they are.
    fn set_hook(&self, models: Option<&dyn ReadModels>) -> Result<(), StartError> {
        let (Some(first), Some(models)) = (self.inline.first(), models) else {
            return Ok(());
        };
        let hook = Inline {
            projections: self.inline.clone(),
        };
        if models.set_append_hook(Some(Arc::new(hook))) {
            return Ok(());
        }
        Err(StartError::NotInline {
            projection: first.name(),
            store: models.kind(),
        })
    }

    fn check(&self) -> Result<Option<Arc<dyn ReadModels>>, StartError> {
        let models = self.store.read_models();
        for (index, one) in self.registered.iter().enumerate() {
            let (projection, version) = (one.name(), one.version());
            if !is_name(projection) {
                return Err(StartError::Name(projection));
            }
            let same = |other: &Arc<dyn Projection>| {
                other.name() == projection && other.version() == version
            };
            if self.registered[..index].iter().any(same) {
                return Err(StartError::Twice {
                    projection,
                    version,
                });
            }
            let Some(models) = &models else {
                return Err(StartError::NoReadModels { projection });
            };
            let store = models.kind();
            if !one.runs_on(store) {
                return Err(StartError::Unsupported { projection, store });
            }
        }
        Ok(models)
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The projections of this process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Projections {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn EventStore>,
    models: Option<Arc<dyn ReadModels>>,
    settings: ProjectionSettings,
    clock: Arc<dyn Clock>,
    applied: HashMap<&'static str, Arc<Applied>>,
    versions: Vec<(&'static str, u32)>,
    /// Whether appends call projections of this process.
    hooked: bool,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Projections {
    /// Projections of the log in a store, none so far.
    pub fn builder(store: Arc<dyn EventStore>) -> ProjectionsBuilder {
        ProjectionsBuilder {
            store,
            settings: ProjectionSettings::default(),
            clock: Arc::new(SystemClock),
            ids: None,
            registered: Vec::new(),
            inline: Vec::new(),
        }
    }

    /// Tells that something was appended, so that nobody waits for the next look at the log.
    pub fn wake(&self) {
        for applied in self.inner.applied.values() {
            applied.look.notify_one();
        }
    }

    /// What every projection of this log is doing, on whichever node.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, ModelError> {
        let mut all = status(&*self.inner.store, self.inner.clock.now()).await?;
        for one in &mut all {
            if let Some(applied) = self.inner.applied.get(one.name.as_str()) {
                let failing = applied.failing.lock();
                let failing = failing.unwrap_or_else(PoisonError::into_inner);
                one.failing.clone_from(&failing);
            }
        }
        Ok(all)
    }

    /// Has a read model built anew beside the one in use, which it replaces once complete.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn rebuild(&self, name: &str) -> Result<Rebuild, RebuildError> {
        let rebuilt = rebuild(&*self.inner.store, name, &self.inner.versions).await?;
        self.wake();
        Ok(rebuilt)
    }

    /// Lets a projection that stopped at an event try it again.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn resume(&self, name: &str) -> Result<(), ModelError> {
        let mut transaction = self.models()?.begin().await?;
        let mut tx = transaction.tx();
        for generation in tx.generations(Some(name)).await? {
            if generation.stopped.is_some() {
                tx.set_stopped(name, generation.number, None).await?;
            }
        }
        transaction.commit().await?;
        self.wake();
        Ok(())
    }

    /// The longest that a reader may wait.
    #[must_use]
    pub fn max_wait(&self) -> Duration {
        self.inner.settings.max_wait
    }

    /// Waits until readers of a read model see a position, or until a time is over; it is no
    /// longer than [`Self::max_wait`]. Which of the two it was, the next snapshot tells.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn wait_for(
        &self,
        name: &str,
        position: Position,
        time: Duration,
    ) -> Result<(), ModelError> {
        let time = time.min(self.max_wait());
        match self.inner.applied.get(name) {
            Some(applied) => applied.wait(&**self.models()?, position, time).await,
            None => Ok(()),
        }
    }

    /// Where the read models are.
    ///
    /// # Errors
    /// [`ModelError::Refused`] where the store has no place for them.
    pub(super) fn models(&self) -> Result<&Arc<dyn ReadModels>, ModelError> {
        let models = self.inner.models.as_ref();
        models.ok_or_else(|| ModelError::refused("the store has no read models"))
    }

    /// Ends them: batches that have begun are finished or undone, and the leases given back, so
    /// that another process goes on at once. Where the last clone is dropped without this, they end
    /// as well, and nobody waits for it.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let mut tasks = {
            let mut tasks = self.inner.tasks.lock();
            std::mem::take(&mut *tasks.as_deref_mut().unwrap_or_else(|error| {
                // A task that panicked holds nothing that matters here.
                error.get_mut()
            }))
        };
        let ended = async { while tasks.join_next().await.is_some() {} };
        // Longer than a batch may take there is nothing to wait for: a connection hangs, and what
        // was begun on it is undone.
        let _ = timeout(self.inner.settings.batch_timeout, ended).await;
        if let Some(models) = self.inner.models.as_ref().filter(|_| self.inner.hooked) {
            models.set_append_hook(None);
        }
    }
}
