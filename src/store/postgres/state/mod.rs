//! State tables: tables of others, whose rows commit with the log.

mod catalog;
mod fit;
mod judge;
mod links;
mod read;
mod read_tracks;
mod refusal;
mod rights;
mod shape;
mod tracks;
mod write;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use self::shape::Shape;
pub(super) use self::{
    catalog::{Catalog, Shapes},
    judge::judge_rows,
    refusal::{RowRefusal, refused_columns},
    write::{OTHER_ROW, RowWrites},
};
use super::{reads::Readers, rows::number};
use crate::{
    domain::{AggregateId, AggregateType, StateTable},
    store::{LoadedRow, ReadError, RowAccess, StateRows, TableError},
};

/// The reading side of state tables.
#[derive(Clone)]
pub(super) struct StateTables {
    readers: Readers,
    catalog: Catalog,
}

impl fmt::Debug for StateTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The readers know the password.
        f.debug_struct("StateTables").finish_non_exhaustive()
    }
}

impl StateTables {
    pub(super) fn new(readers: Readers, catalog: Catalog) -> Self {
        Self { readers, catalog }
    }

    async fn counted(&self, shape: &Shape) -> Result<u64, ReadError> {
        // Safe: a name between quotes.
        let text: Arc<str> = format!("select count(*) from {}", shape.table.name).into();
        let counting = || sqlx::query(sqlx::AssertSqlSafe(Arc::clone(&text)));
        let row = self.readers.row(counting).await?;
        row.map_or(Ok(0), |row| number(&row, 0))
    }

    /// Forgets a table that could not be read: its owner may have changed it.
    fn noted<T>(&self, table: &StateTable, read: Result<T, ReadError>) -> Result<T, ReadError> {
        if read.is_err() {
            self.catalog.forget(table);
        }
        read
    }
}

#[async_trait]
impl StateRows for StateTables {
    async fn check(&self, table: &StateTable, access: RowAccess) -> Result<(), TableError> {
        // As it is now, whatever was met before.
        self.catalog.forget(table);
        rights::check_schemas(&self.readers, table).await?;
        let shape = self.catalog.read(&self.readers, table).await?;
        fit::check(table, &shape)?;
        rights::check(&self.readers, table, access).await
    }

    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let shape = self.catalog.read(&self.readers, table).await?;
        let loaded = read::load(&self.readers, &shape, aggregate_type, table, ids).await;
        self.noted(table, loaded)
    }

    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError> {
        let shape = self.catalog.read(&self.readers, table).await?;
        let page = read::page(&self.readers, &shape, aggregate_type, table, after, limit).await;
        self.noted(table, page)
    }

    async fn count(&self, table: &Arc<StateTable>) -> Result<u64, ReadError> {
        let shape = self.catalog.read(&self.readers, table).await?;
        let counted = self.counted(&shape).await;
        self.noted(table, counted)
    }
}
