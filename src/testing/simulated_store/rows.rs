//! State tables, call by call.

use std::sync::Arc;

use async_trait::async_trait;

use super::{CallKind, SimulatedStore, effect};
use crate::{
    domain::{AggregateId, AggregateType, StateTable},
    store::{EventStore, LoadedRow, ReadError, RowAccess, StateRows, TableError},
};

fn rows(store: &dyn EventStore) -> Result<Arc<dyn StateRows>, ReadError> {
    let rows = store.state_rows();
    rows.ok_or_else(|| ReadError::Corrupt {
        what: "a store without state tables".to_owned(),
    })
}

#[async_trait]
impl StateRows for SimulatedStore {
    /// Asked before anything can go wrong.
    async fn check(&self, table: &StateTable, access: RowAccess) -> Result<(), TableError> {
        rows(&*self.inner)?.check(table, access).await
    }

    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let words: Vec<&str> = ids.iter().map(AggregateId::as_str).collect();
        let what = format!("rows [{}]", words.join(", "));
        let given = (aggregate_type.clone(), Arc::clone(table), ids.to_vec());
        self.call(CallKind::Other, what, move |store| {
            let (aggregate_type, table, ids) = given.clone();
            effect(|| async move {
                let rows = rows(&*store)?;
                rows.load(&aggregate_type, &table, &ids).await
            })
        })
        .await
    }

    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError> {
        let what = format!("rows after {after:?} {limit}");
        let after = after.map(str::to_owned);
        let given = (aggregate_type.cloned(), Arc::clone(table), after);
        self.call(CallKind::Other, what, move |store| {
            let (aggregate_type, table, after) = given.clone();
            effect(|| async move {
                let rows = rows(&*store)?;
                rows.page(aggregate_type.as_ref(), &table, after.as_deref(), limit)
                    .await
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::memory::{MemoryRow, MemoryStore},
        testing::simulated_store::Trouble,
    };

    #[tokio::test(start_paused = true)]
    async fn a_trouble_meets_a_load_of_rows() {
        let memory = MemoryStore::new();
        memory.with_state_table("samples", |table| {
            table.rows.insert("a".to_owned(), MemoryRow::default())
        });
        let store = SimulatedStore::new(Arc::new(memory), 1, 1..=5, |_| {});
        store.script(CallKind::Other, 1, Trouble::Fail);
        let table = Arc::new(StateTable {
            name: "samples".into(),
            key: "id",
            columns: Vec::new(),
            stamps: Vec::new(),
            links: Vec::new(),
        });
        let aggregate_type = AggregateType::parse("Sample").unwrap();
        let ids = [AggregateId::parse("a").unwrap()];
        let rows = store.state_rows().unwrap();

        let first = rows.load(&aggregate_type, &table, &ids).await;
        let second = rows.load(&aggregate_type, &table, &ids).await;

        assert!(first.unwrap_err().is_retryable());
        assert!(second.unwrap()[0].row.is_some());
    }
}
