//! What every projection of a log is doing, as the database tells it: on whichever node it runs.

use chrono::{DateTime, Utc};

use crate::{
    domain::Position,
    store::{
        EventStore, ReadError,
        models::{Generation, ModelError, ModelTx, Stopped},
    },
};

/// What one generation of a projection is doing.
#[derive(Debug, Clone)]
pub struct ProjectionStatus {
    /// The projection's name.
    pub name: String,
    /// The generation's number.
    pub generation: i64,
    /// The version of the read model.
    pub version: u32,
    /// What it is doing.
    pub state: ProjectionState,
    /// Whether readers see it.
    pub serving: bool,
    /// Every event up to here is applied or parked.
    pub position: Position,
    /// The last position of the log.
    pub head: Position,
    /// The seconds since the oldest event happened that it has not looked at; zero where there is none.
    pub lag_seconds: f64,
    /// Who works on it.
    pub holder: Option<String>,
    /// How many events are parked.
    pub parked: u64,
    /// Why it cannot go on for now, where this process is the one that works on it.
    pub failing: Option<String>,
}

impl ProjectionStatus {
    /// How many positions of the log it has not looked at.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.head.get().saturating_sub(self.position.get())
    }
}

/// What a generation of a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    /// It is built, beside the one in use if there is one.
    Building,
    /// It follows the log.
    Running,
    /// It stands still before an event that it cannot apply.
    Stopped(Stopped),
    /// Another has taken its place, and it will be removed.
    Replaced,
}

impl ProjectionState {
    /// One word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Running => "running",
            Self::Stopped(_) => "stopped",
            Self::Replaced => "replaced",
        }
    }

    fn of(generation: &Generation) -> Self {
        if generation.retired {
            return Self::Replaced;
        }
        match &generation.stopped {
            Some(stopped) => Self::Stopped(stopped.clone()),
            None if generation.serving => Self::Running,
            None => Self::Building,
        }
    }
}

/// Every generation of every projection of a log, in the order of their names and numbers.
///
/// # Errors
/// [`ModelError`].
pub async fn status(
    store: &dyn EventStore,
    now: DateTime<Utc>,
) -> Result<Vec<ProjectionStatus>, ModelError> {
    let Some(models) = store.read_models() else {
        return Ok(Vec::new());
    };
    let mut snapshot = models.snapshot().await?;
    let mut tx = snapshot.tx();
    let mut all = Vec::new();
    for generation in tx.generations(None).await? {
        all.push(written(&mut tx, generation).await?);
    }
    snapshot.rollback().await;
    // After the checkpoints, so that no projection is ahead of the log.
    let head = store.last_position().await.map_err(unavailable)?;
    for one in &mut all {
        one.head = head;
        if one.position < head {
            one.lag_seconds = lag_seconds(store, one.position, now).await?;
        }
    }
    Ok(all)
}

/// What the ledger says of a generation.
async fn written(
    tx: &mut ModelTx<'_>,
    generation: Generation,
) -> Result<ProjectionStatus, ModelError> {
    let key = generation.key();
    let position = tx.checkpoint(&key).await?.unwrap_or(Position::ZERO);
    let lease = tx.lease(&key).await?.filter(|lease| lease.held);
    let (parked, _) = tx.parked(&generation.name, generation.number, 0).await?;
    Ok(ProjectionStatus {
        state: ProjectionState::of(&generation),
        name: generation.name,
        generation: generation.number,
        version: generation.version,
        serving: generation.serving,
        position,
        head: Position::ZERO,
        lag_seconds: 0.0,
        holder: lease.map(|lease| lease.holder),
        parked,
        failing: None,
    })
}

async fn lag_seconds(
    store: &dyn EventStore,
    after: Position,
    now: DateTime<Utc>,
) -> Result<f64, ModelError> {
    let next = store.read_log(after, 1).await.map_err(unavailable)?;
    let oldest = next.first().map_or(now, |event| event.occurred_at);
    Ok((now - oldest).as_seconds_f64().max(0.0))
}

fn unavailable(error: ReadError) -> ModelError {
    ModelError::Unavailable(error.into())
}
