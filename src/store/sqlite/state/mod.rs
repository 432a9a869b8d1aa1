//! State tables: tables of others in the same file, whose rows commit with the log.
//!
//! SQLite's columns hold what they are given, in whatever form a program writes a truth value or a
//! time. So where rows are not what they were as text, they are compared as they are read, not in
//! SQL: inside an append nobody else writes.

mod fit;
mod key;
mod read;
mod standing;
mod tracks;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use self::read::Wanted;
pub(super) use self::write::{Look, write_rows};
use super::{SqliteStore, errors::read_error};
use crate::{
    domain::{AggregateId, AggregateType, StateTable},
    store::{Commit, LoadedRow, ReadError, RowAccess, StateRows, TableError, admission::Facts},
};

#[async_trait]
impl StateRows for SqliteStore {
    async fn check(&self, table: &StateTable, _access: RowAccess) -> Result<(), TableError> {
        fit::check(&mut *self.reader().await?, table).await
    }

    async fn load(
        &self,
        aggregate_type: &AggregateType,
        table: &Arc<StateTable>,
        ids: &[AggregateId],
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let wanted = Wanted::new(table, ids.iter().map(|id| (aggregate_type, id)));
        wanted.load(&mut *self.reader().await?).await
    }

    async fn page(
        &self,
        aggregate_type: Option<&AggregateType>,
        table: &Arc<StateTable>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, LoadedRow)>, ReadError> {
        let mut reader = self.reader().await?;
        read::page(&mut reader, aggregate_type, table, after, limit).await
    }

    async fn count(&self, table: &Arc<StateTable>) -> Result<u64, ReadError> {
        let text = format!("select count(*) from {}", quoted(&table.name));
        // Safe: a name between quotes.
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(read_failed)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

/// A name as SQL reads it.
fn quoted(name: &str) -> String {
    let parts = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

/// Fills in what the facts say of rows and tracks; the caller holds a transaction.
pub(super) async fn look_up_rows(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), ReadError> {
    let changes: Vec<_> = commits
        .iter()
        .enumerate()
        .filter_map(|(place, commit)| Some((place, *commit, commit.row.as_ref()?)))
        .collect();
    for group in by_table(&changes, |(_, _, change)| &*change.table.name) {
        let streams = group.iter().map(|(_, commit, _)| {
            let stream = &commit.stream;
            (&stream.aggregate_type, &stream.aggregate_id)
        });
        let loaded = Wanted::new(&group[0].2.table, streams)
            .load(connection)
            .await?;
        for ((place, commit, change), loaded) in group.into_iter().zip(loaded) {
            if loaded.row != change.before {
                facts.other_rows.insert(*place);
            }
            if let Some(track) = loaded.track {
                facts.tracks.insert(commit.stream.clone(), track.version);
            }
        }
    }
    Ok(())
}

/// Those of one table together.
fn by_table<'i, T>(
    items: impl IntoIterator<Item = &'i T>,
    table: impl Fn(&T) -> &str,
) -> Vec<Vec<&'i T>> {
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for item in items {
        let group = groups
            .iter_mut()
            .find(|group| table(group[0]) == table(item));
        match group {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

fn read_failed(error: sqlx::Error) -> ReadError {
    read_error(error)
}
