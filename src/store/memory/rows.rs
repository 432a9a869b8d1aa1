//! State tables in memory: made where they are named, with columns as they come.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;

use super::{MemoryStore, Tables};
use crate::{
    domain::{AggregateId, AggregateType, Row, RowValue, StateTable, StreamId},
    store::{
        Commit, LoadedRow, Loss, ReadError, RowAccess, RowChange, StateRows, TableError,
        VersionedBy, state_rows::refused,
    },
};

/// A state table in memory. Whoever works on it ([`MemoryStore::with_state_table`]) is another
/// program: nothing is checked but the unique columns, and those only for the store's own writes.
#[derive(Debug, Clone, Default)]
pub struct MemoryTable {
    /// The rows by their keys.
    pub rows: BTreeMap<String, MemoryRow>,
    /// The columns in which no two rows have the same value.
    pub unique: BTreeSet<String>,
    /// What a row that the store inserts has in columns that it does not name.
    pub defaults: BTreeMap<String, RowValue>,
}

/// A row of a [`MemoryTable`], with columns that are mapped and others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryRow {
    /// The values by column; a column that is not there is null.
    pub values: BTreeMap<String, RowValue>,
    /// The members in each link table.
    pub links: BTreeMap<String, BTreeSet<String>>,
}

impl MemoryRow {
    fn value(&self, column: &str) -> RowValue {
        self.values.get(column).cloned().unwrap_or(RowValue::Null)
    }

    /// What is mapped of it.
    fn mapped(&self, table: &StateTable) -> Row {
        let values = table.columns.iter();
        let links = table.links.iter();
        Row {
            values: values
                .map(|column| (column.name, self.value(column.name)))
                .collect(),
            links: links
                .map(|link| {
                    let members = self.links.get(link.name).cloned();
                    (link.name, members.unwrap_or_default())
                })
                .collect(),
        }
    }

    fn write(&mut self, row: &Row, stamps: &[(&'static str, RowValue)]) {
        let values = row.values.iter().map(|(name, value)| (*name, value));
        let stamps = stamps.iter().map(|(name, value)| (*name, value));
        for (name, value) in values.chain(stamps) {
            self.values.insert(name.to_owned(), value.clone());
        }
        for (name, members) in &row.links {
            self.links.insert((*name).to_owned(), members.clone());
        }
    }
}

impl MemoryStore {
    /// Works on a state table as another program does, at one moment; it is made where it is not
    /// there.
    pub fn with_state_table<T>(&self, name: &str, work: impl FnOnce(&mut MemoryTable) -> T) -> T {
        work(self.tables().rows.entry(name.to_owned()).or_default())
    }
}

impl Tables {
    /// Whether the row that a commit changes is what it was decided on.
    pub(super) fn is_row_before(&self, commit: &Commit, change: &RowChange) -> bool {
        let stored = self.row(&change.table, commit.stream.aggregate_id.as_str());
        stored.map(|row| row.mapped(&change.table)) == change.before
    }

    fn row(&self, table: &StateTable, key: &str) -> Option<&MemoryRow> {
        self.rows.get(&*table.name)?.rows.get(key)
    }

    /// Why a unique column refuses the row of a commit, if one does.
    pub(super) fn refusal(&self, commit: &Commit) -> Option<Loss> {
        let change = commit.row.as_ref()?;
        let after = change.after.as_ref()?;
        let table = self.rows.get(&*change.table.name)?;
        let key = commit.stream.aggregate_id.as_str();
        let taken = |column: &&str| {
            let value = &after.values[*column];
            let mut others = table.rows.iter().filter(|(other, _)| *other != key);
            *value != RowValue::Null && others.any(|(_, row)| row.value(column) == *value)
        };
        let columns = table.unique.iter().map(String::as_str);
        let mut mapped = columns.filter(|column| after.values.contains_key(column));
        mapped.find(taken).map(|column| refused(&[column], after))
    }

    /// Writes the row and the track of a commit.
    pub(super) fn write_row(&mut self, commit: &Commit, change: &RowChange) {
        let table = self.rows.entry(change.table.name.to_string()).or_default();
        let key = commit.stream.aggregate_id.as_str();
        match &change.after {
            None => {
                table.rows.remove(key);
            }
            Some(after) if change.before.as_ref() != Some(after) => {
                let stamps = if change.before.is_none() {
                    &change.on_insert
                } else {
                    &change.on_update
                };
                let row = table
                    .rows
                    .entry(key.to_owned())
                    .or_insert_with(|| MemoryRow {
                        values: table.defaults.clone(),
                        links: BTreeMap::new(),
                    });
                row.write(after, stamps);
            }
            Some(_) => {}
        }
        let mut track = change.track.clone();
        if let Some(met) = self.tracks.get(&commit.stream)
            && change.versioned_by == VersionedBy::Log
        {
            track.version = track.version.max(met.version);
        }
        self.tracks.insert(commit.stream.clone(), track);
    }

    fn loaded(&self, stream: &StreamId, table: &StateTable) -> LoadedRow {
        LoadedRow {
            track: self.tracks.get(stream).cloned(),
            ..self.found(table, stream.aggregate_id.as_str())
        }
    }

    /// A row without its track.
    fn found(&self, table: &StateTable, key: &str) -> LoadedRow {
        let Some(row) = self.row(table, key) else {
            return LoadedRow::default();
        };
        let stamps = table.stamps.iter();
        LoadedRow {
            row: Some(row.mapped(table)),
            stamps: stamps
                .map(|stamp| (stamp.name, row.value(stamp.name)))
                .collect(),
            ..LoadedRow::default()
        }
    }
}

#[async_trait]
impl StateRows for MemoryStore {
    async fn check(&self, _table: &StateTable, _access: RowAccess) -> Result<(), TableError> {
        Ok(())
    }

    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let tables = self.tables();
        let loaded = ids.iter().map(|id| {
            let stream = StreamId {
                aggregate_type: aggregate_type.clone(),
                aggregate_id: id.clone(),
            };
            tables.loaded(&stream, table)
        });
        Ok(loaded.collect())
    }

    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError> {
        let tables = self.tables();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = tables.rows.get(&*table.name).map(|table| &table.rows);
        let later = rows
            .into_iter()
            .flat_map(|rows| rows.range::<str, _>((from, Bound::Unbounded)));
        let page = later.take(limit as usize).map(|(key, _)| {
            // Under a key that is no id nothing can be kept beside the row.
            let loaded = match (aggregate_type, AggregateId::parse(key)) {
                (Some(aggregate_type), Ok(aggregate_id)) => {
                    let stream = StreamId {
                        aggregate_type: aggregate_type.clone(),
                        aggregate_id,
                    };
                    tables.loaded(&stream, table)
                }
                (None, _) | (_, Err(_)) => tables.found(table, key),
            };
            (key.clone(), loaded)
        });
        Ok(page.collect())
    }
}
