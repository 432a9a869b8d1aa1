//! Read models in maps, for tests: a transaction works on a copy, which a commit puts in place.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use super::{
    ModelError, ModelKind, ModelTransaction, ModelTx, ParkedEvent, ReadModels, Stopped,
    generations::{Row, key},
    ledger::bigint,
};

/// Read models in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryModels {
    tables: Arc<Mutex<MemoryTables>>,
}

/// Tables of any type by their names, and the ledger.
#[derive(Clone, Default)]
pub struct MemoryTables {
    tables: HashMap<String, Arc<dyn Table>>,
    ledger: Ledger,
}

impl Debug for MemoryTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTables")
            .field("tables", &self.tables.keys())
            .finish_non_exhaustive()
    }
}

trait Table: Any + Send + Sync {
    fn copy(&self) -> Arc<dyn Table>;
}

impl<T: Any + Clone + Send + Sync> Table for T {
    fn copy(&self) -> Arc<dyn Table> {
        Arc::new(self.clone())
    }
}

impl MemoryTables {
    /// A table by its name, empty where there is none yet. It is one type's for ever: where it
    /// was another's, it is empty again.
    pub fn table<T: Any + Default + Clone + Send + Sync>(&mut self, name: &str) -> &mut T {
        let table = self
            .tables
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(T::default()));
        let inner: &dyn Any = &**table;
        if !inner.is::<T>() {
            *table = Arc::new(T::default());
        }
        if Arc::get_mut(table).is_none() {
            *table = (**table).copy();
        }
        let unshared: Option<&mut dyn Any> =
            Arc::get_mut(table).map(|table| -> &mut dyn Any { table });
        #[expect(clippy::expect_used, reason = "made to be so in the lines above")]
        unshared
            .and_then(|table| table.downcast_mut())
            .expect("a table of its own and of this type")
    }

    /// Removes a table.
    pub fn drop_table(&mut self, name: &str) {
        self.tables.remove(name);
    }

    pub(super) const fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

#[derive(Debug)]
struct MemoryTransaction {
    shared: OwnedMutexGuard<MemoryTables>,
    copy: MemoryTables,
}

#[async_trait]
impl ModelTransaction for MemoryTransaction {
    fn tx(&mut self) -> ModelTx<'_> {
        ModelTx::Memory(&mut self.copy)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ModelError> {
        *self.shared = std::mem::take(&mut self.copy);
        Ok(())
    }

    async fn rollback(self: Box<Self>) {}
}

#[async_trait]
impl ReadModels for MemoryModels {
    fn kind(&self) -> ModelKind {
        ModelKind::Memory
    }

    async fn begin(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        let shared = Arc::clone(&self.tables).lock_owned().await;
        let copy = shared.clone();
        Ok(Box::new(MemoryTransaction { shared, copy }))
    }

    async fn snapshot(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        self.begin().await
    }
}

/// What the tables of the ledger hold in a database.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    leases: HashMap<String, (String, i64, Instant)>,
    /// By name: the position and the epoch.
    checkpoints: HashMap<String, (i64, i64)>,
    /// By name: the generation served and the last one.
    projections: BTreeMap<String, (Option<i64>, i64)>,
    generations: BTreeMap<(String, i64), Built>,
}

#[derive(Debug, Clone, Default)]
struct Built {
    version: u32,
    inline: bool,
    retired_at: Option<Instant>,
    stopped: Option<Stopped>,
    parked: Vec<ParkedEvent>,
}

impl Ledger {
    pub(super) fn acquire(&mut self, name: &str, holder: &str, time: Duration) -> Option<i64> {
        let now = Instant::now();
        let epoch = match self.leases.get(name) {
            Some((_, _, end)) if *end > now && *end <= now + 2 * time => return None,
            Some((_, epoch, _)) => epoch + 1,
            None => 1,
        };
        let lease = (holder.to_owned(), epoch, now + time);
        self.leases.insert(name.to_owned(), lease);
        Some(epoch)
    }

    fn holds(&self, name: &str, epoch: i64) -> bool {
        let now = Instant::now();
        let lease = self.leases.get(name);
        lease.is_some_and(|(_, held, expires_at)| *held == epoch && *expires_at > now)
    }

    pub(super) fn renew(&mut self, name: &str, epoch: i64, time: Duration) -> bool {
        let holds = self.holds(name, epoch);
        if let Some(lease) = self.leases.get_mut(name).filter(|_| holds) {
            lease.2 = Instant::now() + time;
        }
        holds
    }

    pub(super) fn release(&mut self, name: &str, epoch: i64) {
        if let Some(lease) = self.leases.get_mut(name).filter(|lease| lease.1 == epoch) {
            lease.2 = Instant::now();
        }
    }

    pub(super) fn revoke(&mut self, name: &str) {
        self.leases.remove(name);
    }

    pub(super) fn lease(&self, name: &str) -> Option<(String, i64, i32)> {
        let (holder, epoch, _) = self.leases.get(name)?;
        Some((holder.clone(), *epoch, i32::from(self.holds(name, *epoch))))
    }

    pub(super) fn checkpoint(&self, name: &str) -> Option<i64> {
        self.checkpoints.get(name).map(|(position, _)| *position)
    }

    pub(super) fn begin_checkpoint(&mut self, name: &str) -> bool {
        if self.checkpoints.contains_key(name) {
            return false;
        }
        self.checkpoints.insert(name.to_owned(), (0, 0));
        true
    }

    pub(super) fn move_checkpoint(&mut self, name: &str, from: i64, to: i64, epoch: i64) -> bool {
        let held = self.holds(name, epoch);
        match self.checkpoints.get_mut(name) {
            Some(checkpoint) if held && checkpoint.0 == from && checkpoint.1 <= epoch => {
                *checkpoint = (to, epoch);
                true
            }
            _ => false,
        }
    }

    pub(super) fn advance(&mut self, name: &str, from: i64, to: i64) -> bool {
        match self.checkpoints.get_mut(name) {
            Some(checkpoint) if checkpoint.0 == from => {
                checkpoint.0 = to;
                true
            }
            _ => false,
        }
    }

    pub(super) fn know(&mut self, name: &str) {
        self.projections.entry(name.to_owned()).or_insert((None, 0));
    }

    pub(super) fn begin_generation(&mut self, name: &str, version: u32) -> i64 {
        let projection = self.projections.entry(name.to_owned()).or_default();
        projection.1 += 1;
        let built = Built {
            version,
            ..Built::default()
        };
        self.generations
            .insert((name.to_owned(), projection.1), built);
        projection.1
    }

    pub(super) fn generations(&self, name: Option<&str>) -> Vec<Row> {
        let wanted = self
            .generations
            .iter()
            .filter(|((of, _), _)| name.is_none_or(|name| name == of));
        let rows = wanted.map(|((name, number), built)| {
            let serving = self.projections.get(name).and_then(|known| known.0);
            let stopped = built.stopped.as_ref();
            (
                name.clone(),
                *number,
                i64::from(built.version),
                i64::from(serving == Some(*number)),
                i64::from(serving.is_some_and(|serving| *number < serving)),
                i64::from(built.inline),
                stopped.map(|stopped| bigint(stopped.position.get())),
                stopped.map(|stopped| stopped.event_id.clone()),
                stopped.map(|stopped| stopped.error.clone()),
            )
        });
        rows.collect()
    }

    pub(super) fn serve(&mut self, name: &str, number: i64) {
        let projection = self.projections.entry(name.to_owned()).or_default();
        projection.0 = projection.0.max(Some(number));
        for ((of, older), built) in &mut self.generations {
            if of == name && *older < number && built.retired_at.is_none() {
                built.retired_at = Some(Instant::now());
            }
        }
    }

    pub(super) fn retired(&self, name: &str, for_at_least: Duration) -> Vec<(i64, i64)> {
        let retired = self.generations.iter().filter(|((of, _), built)| {
            let long_ago = |at: Instant| at.elapsed() >= for_at_least;
            of == name && built.retired_at.is_some_and(long_ago)
        });
        retired
            .map(|((_, number), built)| (*number, i64::from(built.version)))
            .collect()
    }

    pub(super) fn forget(&mut self, name: &str, number: i64) -> bool {
        let key = key(name, number);
        self.checkpoints.remove(&key);
        self.leases.remove(&key);
        self.generations
            .remove(&(name.to_owned(), number))
            .is_some()
    }

    fn built(&mut self, name: &str, number: i64) -> Option<&mut Built> {
        self.generations.get_mut(&(name.to_owned(), number))
    }

    pub(super) fn set_inline(&mut self, name: &str, number: i64, inline: bool) {
        if let Some(built) = self.built(name, number) {
            built.inline = inline;
        }
    }

    pub(super) fn set_stopped(&mut self, name: &str, number: i64, stopped: Option<&Stopped>) {
        if let Some(built) = self.built(name, number) {
            built.stopped = stopped.cloned();
        }
    }

    pub(super) fn park(&mut self, name: &str, number: i64, event: ParkedEvent) {
        if let Some(built) = self.built(name, number) {
            built.parked.push(event);
        }
    }

    pub(super) fn parked(
        &mut self,
        name: &str,
        number: i64,
        limit: u32,
    ) -> (i64, Vec<(i64, String, String)>) {
        let parked = self.built(name, number).map(|built| built.parked.clone());
        let parked = parked.unwrap_or_default();
        let count = bigint(parked.len() as u64);
        let first = parked.into_iter().take(limit as usize);
        let first = first.map(|event| (bigint(event.position.get()), event.event_id, event.error));
        (count, first.collect())
    }
}
