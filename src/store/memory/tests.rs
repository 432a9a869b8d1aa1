use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
};

use super::*;
use crate::{
    domain::RowValue,
    store::contract::{Fixture, OtherProgram},
};

impl Fixture for MemoryStore {
    async fn open(&self) -> Arc<dyn EventStore> {
        Arc::new(self.clone())
    }

    async fn other_program(&self) -> Option<Arc<dyn OtherProgram>> {
        Some(Arc::new(self.clone()))
    }
}

crate::store_contract!(memory_keeps, || ready(MemoryStore::new()));

const TABLE: &str = "things";

fn text(text: &str) -> RowValue {
    RowValue::Text(text.to_owned())
}

#[async_trait]
impl OtherProgram for MemoryStore {
    async fn make_tables(&self) {
        self.with_state_table(TABLE, |table| {
            table.unique = BTreeSet::from(["name".to_owned()]);
            table.defaults = BTreeMap::from([("note".to_owned(), text("unset"))]);
        });
    }

    async fn insert(&self, id: &str, name: &str) {
        let values = [
            ("name", text(name)),
            ("status", text("ON")),
            ("active", RowValue::Bool(false)),
            ("size", RowValue::Int(0)),
            ("note", text("unset")),
        ];
        let row = MemoryRow {
            values: values
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
            links: BTreeMap::new(),
        };
        self.with_state_table(TABLE, |table| table.rows.insert(id.to_owned(), row));
    }

    async fn set(&self, id: &str, column: &'static str, value: Option<&str>) -> bool {
        let value = match value {
            Some(value) if column == "password" => {
                RowValue::Secret(crate::domain::Secret::new(value.to_owned()))
            }
            value => RowValue::text(value),
        };
        self.with_state_table(TABLE, |table| {
            let row = table.rows.get_mut(id);
            row.map(|row| row.values.insert(column.to_owned(), value))
                .is_some()
        })
    }

    async fn grow(&self, id: &str, by: i64) {
        self.with_state_table(TABLE, |table| {
            let row = table.rows.get_mut(id).unwrap();
            let RowValue::Int(size) = row.values.get_mut("size").unwrap() else {
                panic!("no size");
            };
            *size += by;
        });
    }

    async fn remove(&self, id: &str) {
        self.with_state_table(TABLE, |table| table.rows.remove(id));
    }

    async fn tag(&self, id: &str, tag: &str, add: bool) {
        self.with_state_table(TABLE, |table| {
            let row = table.rows.get_mut(id).unwrap();
            let tags = row.links.entry("thing_tags".to_owned()).or_default();
            if add {
                tags.insert(tag.to_owned());
            } else {
                tags.remove(tag);
            }
        });
    }

    async fn text(&self, id: &str, column: &'static str) -> Option<String> {
        let value = self.with_state_table(TABLE, |table| {
            table.rows.get(id)?.values.get(column).cloned()
        });
        if let RowValue::Text(text) = value? {
            return Some(text);
        }
        None
    }
}
