//! Adoption: rows that were there before dormouse get their history, are held against it, and are
//! repaired where the two differ.
//!
//! It works on a store and a state table alone, beside running servers: every write is guarded by
//! the version of the log and by the row as it was read, so that what somebody else did meanwhile
//! is met, never overwritten, and nothing is written twice. It never changes history.
//!
//! The commands of the shell and the server's own look for drift call it; it knows no actor and
//! no HTTP.

mod adopt;
mod append;
mod compare;
mod draft;
mod error;
mod look;
mod mapping;
mod repair;
mod verify;
mod walk;
mod watch;

use std::{fmt::Debug, sync::Arc};

pub use adopt::{AdoptOptions, AdoptProgress, Adopted, Unadopted};
pub use compare::{ColumnDifference, Drift, EventRef, Finding};
pub use error::{AdoptionError, StartError, Unfoldable};
pub use repair::{Examined, Repair, RepairFrom, Repaired};
pub use verify::{Verified, VerifyOptions, VerifyProgress};
pub use walk::Cursor;
pub use watch::{DriftView, DriftWatch, Seen};

use chrono::{DateTime, Utc};

use crate::{
    domain::{Clock, IdGenerator, StateRow, StateTable, SystemClock, Upcaster},
    settings::Settings,
    store::{EventStore, RowAccess, StateRows},
};
use mapping::{Mapped, Typed};
use walk::Walk;

/// The mapped types of a store, to be adopted, verified and repaired. Clones are the same.
#[derive(Debug, Clone)]
pub struct Adoption {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn EventStore>,
    rows: Arc<dyn StateRows>,
    clock: Arc<dyn Clock>,
    ids: IdGenerator,
    types: Vec<Arc<dyn Mapped>>,
}

/// Puts an [`Adoption`] together.
#[derive(Debug)]
pub struct AdoptionBuilder {
    store: Arc<dyn EventStore>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    types: Vec<Result<Arc<dyn Mapped>, StartError>>,
}

impl AdoptionBuilder {
    /// The settings, which may name other tables than the mappings do.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A mapped type. Settings must be given before.
    #[must_use]
    pub fn aggregate<A: StateRow>(self) -> Self {
        self.aggregate_with::<A>([])
    }

    /// A mapped type some of whose events have older schemas.
    #[must_use]
    pub fn aggregate_with<A: StateRow>(
        mut self,
        upcasters: impl IntoIterator<Item = Upcaster>,
    ) -> Self {
        let table = table_of::<A>(&self.settings);
        let typed = Typed::<A>::new(table.as_deref(), upcasters.into_iter().collect());
        let mapped = typed.map(|typed| Arc::new(typed) as Arc<dyn Mapped>);
        self.types.push(mapped);
        self
    }

    /// All types together.
    ///
    /// # Errors
    /// [`StartError`] where the store has no state tables, or a type is wrong in itself.
    pub fn build(self) -> Result<Adoption, StartError> {
        let rows = self.store.state_rows().ok_or(StartError::NoStateTables)?;
        let types = self.types.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Adoption {
            inner: Arc::new(Inner {
                ids: IdGenerator::new(Arc::clone(&self.clock)),
                store: self.store,
                clock: self.clock,
                rows,
                types,
            }),
        })
    }
}

/// The table that the settings name for a type.
fn table_of<A: StateRow>(settings: &Settings) -> Option<String> {
    let table = settings.aggregate(A::TYPE).state_table;
    (!table.is_empty()).then_some(table)
}

impl Adoption {
    /// Begins with a store.
    #[must_use]
    pub fn builder(store: Arc<dyn EventStore>) -> AdoptionBuilder {
        AdoptionBuilder {
            store,
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
            types: Vec::new(),
        }
    }

    /// The names of the mapped types.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let types = self.inner.types.iter();
        types.map(|mapped| mapped.aggregate_type().as_str())
    }

    /// The table of a type.
    ///
    /// # Errors
    /// [`AdoptionError::UnknownType`].
    pub fn table(&self, aggregate_type: &str) -> Result<&StateTable, AdoptionError> {
        self.mapped(aggregate_type).map(|mapped| &**mapped.table())
    }

    /// How many rows the table of a type has.
    ///
    /// # Errors
    /// [`AdoptionError`] where the type is unknown or the table cannot be read.
    pub async fn count_rows(&self, aggregate_type: &str) -> Result<u64, AdoptionError> {
        let mapped = self.checked(aggregate_type, RowAccess::Read).await?;
        let rows = &self.inner.rows;
        Ok(rows.count(mapped.table()).await?)
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// A walk of a type, in pages of one at least.
    fn walk(&self, mapped: &Arc<dyn Mapped>, cursor: Cursor, page: u32) -> Walk {
        Walk {
            store: Arc::clone(&self.inner.store),
            rows: Arc::clone(&self.inner.rows),
            mapped: Arc::clone(mapped),
            page: page.max(1),
            tracks: false,
            cursor: Some(cursor),
        }
    }

    fn mapped(&self, aggregate_type: &str) -> Result<&Arc<dyn Mapped>, AdoptionError> {
        let mut types = self.inner.types.iter();
        types
            .find(|mapped| mapped.aggregate_type().as_str() == aggregate_type)
            .ok_or_else(|| AdoptionError::UnknownType {
                wanted: aggregate_type.to_owned(),
                known: self.types().collect::<Vec<_>>().join(", "),
            })
    }

    /// The type, once its table is known to fit.
    async fn checked(
        &self,
        aggregate_type: &str,
        access: RowAccess,
    ) -> Result<Arc<dyn Mapped>, AdoptionError> {
        let mapped = self.mapped(aggregate_type)?;
        self.inner.rows.check(mapped.table(), access).await?;
        Ok(Arc::clone(mapped))
    }
}
