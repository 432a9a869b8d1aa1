//! What a user writes: how events become the rows of a read model.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::store::{
    EventFilter, RecordedEvent,
    models::{ModelError, ModelKind, ModelTx},
};

/// How events become a read model.
///
/// A projection owns tables in the log's own database. What it writes commits together with its
/// checkpoint: after a crash at any moment each event has been applied exactly once.
///
/// Its tables are named by [`Build::table`], because a read model is built beside the one in use
/// when its [`version`](Self::version) rises or somebody asks for a rebuild: two generations of it
/// are there for a while, each with tables of its own.
///
/// `apply` gets events in the order of the log and writes through the transaction it is given;
/// it must not begin or end one, and must not do anything else that a rollback does not undo:
/// it is called again after a failure. What goes out of the database belongs into
/// [`after_commit`](Self::after_commit).
///
/// ```
/// use async_trait::async_trait;
/// use dormouse::projection::{Build, Projection, Projections};
/// use dormouse::store::models::{ModelError, ModelKind, ModelTx};
/// use dormouse::store::{RecordedEvent, memory::MemoryStore};
/// use std::{collections::BTreeMap, sync::Arc};
///
/// /// How many events of each type there are.
/// #[derive(Debug)]
/// struct Census;
///
/// #[async_trait]
/// impl Projection for Census {
///     fn name(&self) -> &'static str {
///         "census"
///     }
///
///     fn version(&self) -> u32 {
///         1
///     }
///
///     fn runs_on(&self, kind: ModelKind) -> bool {
///         kind == ModelKind::Memory
///     }
///
///     async fn create(&self, _: &Build, _: ModelTx<'_>) -> Result<(), ModelError> {
///         Ok(())
///     }
///
///     async fn apply(
///         &self,
///         events: &[RecordedEvent],
///         build: &Build,
///         tx: ModelTx<'_>,
///     ) -> Result<(), ModelError> {
///         let ModelTx::Memory(tables) = tx else {
///             return Err(ModelError::refused("only in memory"));
///         };
///         let census: &mut BTreeMap<String, u64> = tables.table(&build.table("census"));
///         for event in events {
///             *census.entry(event.event_type.clone()).or_default() += 1;
///         }
///         Ok(())
///     }
///
///     async fn remove(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError> {
///         if let ModelTx::Memory(tables) = tx {
///             tables.drop_table(&build.table("census"));
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(MemoryStore::new());
/// let projections = Projections::builder(store).projection(Census).start()?;
/// projections.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Projection: Debug + Send + Sync + 'static {
    /// Its name, which never changes: 1 to 40 of `a-z 0-9 _`, a letter first.
    fn name(&self) -> &'static str;

    /// The version of the read model, from 1. A higher one than before is built from position 0
    /// beside the one in use, and takes its place once it is complete.
    fn version(&self) -> u32;

    /// Which events it is given; all, where it does not say.
    fn filter(&self) -> EventFilter {
        EventFilter::default()
    }

    /// Whether it can keep its read model in such a database. The start is refused where not.
    fn runs_on(&self, kind: ModelKind) -> bool {
        kind != ModelKind::Memory
    }

    /// Whether it is given events with the secrets in them. They are left out where not.
    fn sees_secrets(&self) -> bool {
        false
    }

    /// What becomes of an event that it can never apply.
    fn when_unapplicable(&self) -> Unapplicable {
        Unapplicable::Stop
    }

    /// Creates the tables of a generation.
    ///
    /// # Errors
    /// [`ModelError`]; it is tried again.
    async fn create(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError>;

    /// Applies events, all of them, in their order.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`]: the same events are given again later.
    /// [`ModelError::Refused`], or a panic: the batch is undone and given again in smaller parts,
    /// until it is known which event cannot be applied; then [`Self::when_unapplicable`] decides.
    async fn apply(
        &self,
        events: &[RecordedEvent],
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<(), ModelError>;

    /// Removes the tables of a generation, perhaps one of an older version.
    ///
    /// # Errors
    /// [`ModelError`]; it is tried again.
    async fn remove(&self, build: &Build, tx: ModelTx<'_>) -> Result<(), ModelError>;

    /// What is to happen outside the database once these events are applied. It is called for the
    /// generation in use only, never while one is built; at most once for an event: a crash
    /// between commit and call loses the call. What must not be lost is a row, written in `apply`.
    async fn after_commit(&self, events: &[RecordedEvent]) {
        let _ = events;
    }
}

/// What becomes of an event that a projection can never apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unapplicable {
    /// The projection stands still before it, until somebody resumes it.
    Stop,
    /// It is put aside with its error, and the projection goes on.
    Park,
}

/// Which generation of a read model is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Its number.
    pub generation: i64,
    /// The version of the read model it was begun with.
    pub version: u32,
    /// Whether readers see it; while it is built, nothing may leave the database.
    pub live: bool,
}

impl Build {
    /// The name of one of its tables: `users` becomes `users_g3` in generation 3.
    #[must_use]
    pub fn table(&self, base: &str) -> String {
        format!("{base}_g{}", self.generation)
    }
}
