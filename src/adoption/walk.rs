//! All there is of a type, page by page: its rows and its aggregates, side by side by their keys.

use std::{collections::VecDeque, sync::Arc};

use super::mapping::Mapped;
use crate::{
    domain::{AggregateId, Version},
    store::{AggregateHead, EventStore, LoadedRow, ReadError, StateRows},
};

/// A row, an aggregate, or both under one key.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) key: String,
    /// The row and its track; none where there is no row.
    pub(super) row: Option<LoadedRow>,
    /// How far the events go; zero where there are none.
    pub(super) version: Version,
}

/// Walks a type from a key on. It holds a page of each side, however much there is.
#[derive(Debug)]
pub(super) struct Walk {
    store: Arc<dyn EventStore>,
    rows: Arc<dyn StateRows>,
    mapped: Arc<dyn Mapped>,
    page: u32,
    row_side: Side<(String, LoadedRow)>,
    log_side: Side<AggregateHead>,
}

/// What was read of one side and not handed on, and where the next page begins.
#[derive(Debug)]
struct Side<T> {
    waiting: VecDeque<T>,
    after: Option<String>,
    ended: bool,
}

impl<T> Side<T> {
    fn after(key: Option<&str>) -> Self {
        Self {
            waiting: VecDeque::new(),
            after: key.map(str::to_owned),
            ended: false,
        }
    }

    fn wants_page(&self) -> bool {
        self.waiting.is_empty() && !self.ended
    }

    fn took(&mut self, page: Vec<T>, limit: u32, last: Option<String>) {
        self.ended = page.len() < limit as usize;
        self.after = last.or_else(|| self.after.take());
        self.waiting = page.into();
    }
}

impl Walk {
    pub(super) fn new(
        store: &Arc<dyn EventStore>,
        rows: &Arc<dyn StateRows>,
        mapped: &Arc<dyn Mapped>,
        after: Option<&str>,
        page: u32,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            rows: Arc::clone(rows),
            mapped: Arc::clone(mapped),
            page: page.max(1),
            row_side: Side::after(after),
            log_side: Side::after(after),
        }
    }

    /// The next ones, a page at most; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Met>, ReadError> {
        let mut met = Vec::with_capacity(self.page as usize);
        while met.len() < self.page as usize {
            self.read().await?;
            let Some(next) = self.merge() else { break };
            met.push(next);
        }
        Ok(met)
    }

    /// Reads a page of each side that has none left.
    async fn read(&mut self) -> Result<(), ReadError> {
        let aggregate_type = self.mapped.aggregate_type();
        if self.row_side.wants_page() {
            let after = self.row_side.after.as_deref();
            let table = self.mapped.table();
            let page = self.rows.page(aggregate_type, table, after, self.page);
            let page = page.await?;
            let last = page.last().map(|(key, _)| key.clone());
            self.row_side.took(page, self.page, last);
        }
        // Only a page after a key that is no id may have to be passed over whole.
        while self.log_side.wants_page() {
            let page = self.aggregates_after().await?;
            let started_after = self.log_side.after.clone().unwrap_or_default();
            let last = page.last().map(|head| head.aggregate_id.to_string());
            self.log_side.took(page, self.page, last);
            let waiting = &mut self.log_side.waiting;
            waiting.retain(|head| head.aggregate_id.as_str() > started_after.as_str());
        }
        Ok(())
    }

    async fn aggregates_after(&self) -> Result<Vec<AggregateHead>, ReadError> {
        let aggregate_type = self.mapped.aggregate_type();
        let key = self.log_side.after.as_deref();
        // A key that is no id is a row's. All ids after it are after the longest of its
        // beginnings that is one; those that are not after the key are passed over.
        let id = key.and_then(longest_id);
        let page = self
            .store
            .aggregates(aggregate_type, id.as_ref(), self.page);
        page.await
    }

    fn merge(&mut self) -> Option<Met> {
        let row = self.row_side.waiting.front().map(|(key, _)| key.as_str());
        let head = self.log_side.waiting.front();
        let id = head.map(|head| head.aggregate_id.as_str());
        let (take_row, take_head) = match (row, id) {
            (None, None) => return None,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            // Both sides come in the order of their bytes.
            (Some(row), Some(id)) => (row <= id, id <= row),
        };
        let row = take_row
            .then(|| self.row_side.waiting.pop_front())
            .flatten();
        let head = take_head
            .then(|| self.log_side.waiting.pop_front())
            .flatten();
        let id = head.as_ref().map(|head| head.aggregate_id.to_string());
        let version = head.map_or(Version::ZERO, |head| head.version);
        let (key, row) = match row {
            Some((key, row)) => (key, Some(row)),
            None => (id?, None),
        };
        Some(Met { key, row, version })
    }
}

/// The longest beginning of a key that is an id.
fn longest_id(key: &str) -> Option<AggregateId> {
    let valid = key
        .bytes()
        .take(64)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(byte))
        .count();
    AggregateId::parse(&key[..valid]).ok()
}
