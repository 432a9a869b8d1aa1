//! A statement that appends, from when it is made until it is run.

use std::sync::Arc;

use sqlx::{Error, Row as _, postgres::PgConnection};

use super::{
    insert::{self, Look},
    reads::Statement,
    state::{Catalog, Shapes},
};
use crate::{
    domain::Position,
    store::{Commit, rounds::InsertError},
};

/// A statement that appends, and how many events it has.
pub(super) struct Inserting<'q> {
    statement: Statement<'q>,
    events: u64,
}

impl Inserting<'_> {
    pub(super) fn new(
        commits: &[&Commit],
        shapes: &Shapes,
        look: Look,
    ) -> Result<Self, InsertError> {
        let statement = insert::statement(commits, shapes, look).map_err(InsertError::Failed)?;
        Ok(Self {
            statement,
            events: insert::event_count(commits),
        })
    }

    /// The position of the first event, or `RowNotFound` where a stream is at another version.
    pub(super) async fn now(self, connection: &mut PgConnection) -> Result<Position, Error> {
        let row = self.statement.fetch_one(connection).await?;
        let head: i64 = row.try_get(0)?;
        let head = u64::try_from(head).map_err(|error| Error::Decode(error.into()))?;
        Ok(Position::new(head + 1 - self.events))
    }
}

/// A statement that was made before its turn came, while another batch was stored.
pub(super) struct Ready {
    pub(super) inserting: Inserting<'static>,
    shapes: Shapes,
    commits: usize,
}

impl Ready {
    /// For a whole batch; none where the shape of a table has to be asked for, or a row has no place.
    pub(super) fn of(batch: &[Commit], catalog: &Catalog) -> Option<Self> {
        let commits: Vec<&Commit> = batch.iter().collect();
        let shapes = catalog.known_of_all(&commits)?;
        let inserting = Inserting::new(&commits, &shapes, Look::Later).ok()?;
        Some(Self {
            inserting,
            shapes,
            commits: commits.len(),
        })
    }

    /// A round has commits of the batch in their order, so it has all or fewer.
    pub(super) fn is_for(&self, commits: &[&Commit], shapes: &Shapes) -> bool {
        let is_as_then = |(name, shape)| {
            let then = self.shapes.get::<String>(name);
            then.is_some_and(|then| Arc::ptr_eq(then, shape))
        };
        self.commits == commits.len() && shapes.iter().all(is_as_then)
    }
}
