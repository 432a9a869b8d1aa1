//! Faults at state tables.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;

use super::{FaultyStore, Operation};
use crate::{
    domain::{AggregateId, AggregateType, StateTable},
    store::{LoadedRow, ReadError, RowAccess, StateRows, TableError},
};

/// The state tables of a [`FaultyStore`].
#[derive(Debug)]
pub(super) struct FaultyRows {
    pub(super) store: FaultyStore,
    pub(super) inner: Arc<dyn StateRows>,
}

impl FaultyRows {
    async fn run<T>(
        &self,
        inner: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        self.store.run(Operation::StateRows, inner).await
    }
}

#[async_trait]
impl StateRows for FaultyRows {
    async fn check(&self, table: &StateTable, access: RowAccess) -> Result<(), TableError> {
        self.inner.check(table, access).await
    }

    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError> {
        self.run(self.inner.load(aggregate_type, table, ids)).await
    }

    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError> {
        let page = self.inner.page(aggregate_type, table, after, limit);
        self.run(page).await
    }

    async fn count(&self, table: &Arc<StateTable>) -> Result<u64, ReadError> {
        self.run(self.inner.count(table)).await
    }
}
