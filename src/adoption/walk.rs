//! All there is of a type, page by page: the rows of its table, then the aggregates of its log.
//!
//! The two are not walked side by side: a database orders keys as their column's type or its
//! language does, and the log by bytes.

use std::sync::Arc;

use super::mapping::Mapped;
use crate::{
    domain::AggregateId,
    store::{EventStore, LoadedRow, ReadError, StateRows},
};

/// Where a walk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// Among the rows, after this key; before the first where there is none.
    Rows(Option<String>),
    /// All rows are done; in the log, after this aggregate.
    Log(Option<AggregateId>),
}

impl Cursor {
    /// Before everything.
    pub const START: Self = Self::Rows(None);
}

/// What is walked by.
#[derive(Debug)]
pub(super) enum Page {
    Rows(Vec<(String, LoadedRow)>),
    Log(Vec<AggregateId>),
}

/// Walks a type from a cursor on. It holds one page, however much there is.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) rows: Arc<dyn StateRows>,
    pub(super) mapped: Arc<dyn Mapped>,
    /// How many in a page, one at least.
    pub(super) page: u32,
    /// Whether rows come with their tracks.
    pub(super) tracks: bool,
    /// Nothing at the end.
    pub(super) cursor: Option<Cursor>,
}

impl Walk {
    /// It reads rows with what is known of them.
    pub(super) fn with_tracks(self) -> Self {
        Self {
            tracks: true,
            ..self
        }
    }

    /// The next page; none at the end. It may be empty where the rows end.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, ReadError> {
        let aggregate_type = self.mapped.aggregate_type();
        Ok(match &self.cursor {
            None => None,
            Some(Cursor::Rows(after)) => {
                let table = self.mapped.table();
                let log = self.tracks.then_some(aggregate_type);
                let page = self.rows.page(log, table, after.as_deref(), self.page);
                let page = page.await?;
                self.cursor = Some(if page.len() < self.page as usize {
                    Cursor::Log(None)
                } else {
                    Cursor::Rows(page.last().map(|(key, _)| key.clone()))
                });
                Some(Page::Rows(page))
            }
            Some(Cursor::Log(after)) => {
                let heads = self
                    .store
                    .aggregates(aggregate_type, after.as_ref(), self.page);
                let ids = heads.await?.into_iter().map(|head| head.aggregate_id);
                let ids: Vec<AggregateId> = ids.collect();
                self.cursor = if ids.len() < self.page as usize {
                    None
                } else {
                    Some(Cursor::Log(ids.last().cloned()))
                };
                Some(Page::Log(ids))
            }
        })
    }
}
