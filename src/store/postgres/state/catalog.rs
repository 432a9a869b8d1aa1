//! What PostgreSQL's catalog says of a state table: each mapped column's own type, so that values
//! are written and compared as what they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::{
    Error,
    postgres::{PgBindIterExt as _, PgConnection, PgRow},
};

use super::{
    super::{
        reads::{Readers, Statement},
        rows::column,
    },
    shape::{ColumnShape, Shape, TableShape, Unique},
};
use crate::{
    domain::StateTable,
    store::{Commit, ReadError},
};

const COLUMNS: &str = include_str!("../sql/state_columns.sql");
const INDEXES: &str = include_str!("../sql/state_indexes.sql");

/// The shapes of some state tables by their names.
pub(in crate::store::postgres) type Shapes = HashMap<String, Arc<Shape>>;

/// The shapes of the state tables that were met. Clones share them.
#[derive(Clone, Default)]
pub(in crate::store::postgres) struct Catalog(Arc<Mutex<HashMap<String, Arc<Shape>>>>);

impl Catalog {
    fn known(&self, table: &StateTable) -> Option<Arc<Shape>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = known.get(&*table.name)?;
        // Another aggregate type may map the table too, with other links.
        shape.has_links_of(table).then(|| Arc::clone(shape))
    }

    fn keep(&self, table: &StateTable, shape: Shape) -> Arc<Shape> {
        let shape = Arc::new(shape);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(table.name.to_string(), Arc::clone(&shape));
        shape
    }

    /// The shapes of all tables that commits write, for the connection that appends.
    pub(in crate::store::postgres) async fn of_all(
        &self,
        connection: &mut PgConnection,
        commits: &[&Commit],
    ) -> Result<Shapes, Error> {
        let mut shapes = Shapes::new();
        for change in commits.iter().filter_map(|commit| commit.row.as_ref()) {
            let name = &*change.table.name;
            if !shapes.contains_key(name) {
                let shape = self.of(&mut *connection, &change.table).await?;
                shapes.insert(name.to_owned(), shape);
            }
        }
        Ok(shapes)
    }

    /// As [`Self::of_all`], where the database need not be asked.
    pub(in crate::store::postgres) fn known_of_all(&self, commits: &[&Commit]) -> Option<Shapes> {
        let mut shapes = Shapes::new();
        for change in commits.iter().filter_map(|commit| commit.row.as_ref()) {
            let name = &*change.table.name;
            if !shapes.contains_key(name) {
                shapes.insert(name.to_owned(), self.known(&change.table)?);
            }
        }
        Some(shapes)
    }

    /// Forgets what commits write to.
    pub(in crate::store::postgres) fn forget_all(&self, commits: &[&Commit]) {
        for change in commits.iter().filter_map(|commit| commit.row.as_ref()) {
            self.forget(&change.table);
        }
    }

    /// Forgets a table, whose owner may have changed it.
    pub(super) fn forget(&self, table: &StateTable) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&*table.name);
    }

    async fn of(
        &self,
        connection: &mut PgConnection,
        table: &StateTable,
    ) -> Result<Arc<Shape>, Error> {
        if let Some(shape) = self.known(table) {
            return Ok(shape);
        }
        let names = names(table);
        let columns = asking(COLUMNS, &names).fetch_all(&mut *connection).await?;
        let indexes = asking(INDEXES, &names).fetch_all(connection).await?;
        let shape = shape(table, &columns, &indexes);
        let shape = shape.map_err(|error| Error::Decode(error.into()))?;
        Ok(self.keep(table, shape))
    }

    /// The shape of a table, for readers.
    pub(super) async fn read(
        &self,
        readers: &Readers,
        table: &StateTable,
    ) -> Result<Arc<Shape>, ReadError> {
        if let Some(shape) = self.known(table) {
            return Ok(shape);
        }
        let names = names(table);
        let read_error = super::super::errors::read_error;
        let columns = readers.rows(|| asking(COLUMNS, &names)).await;
        let columns = columns.map_err(read_error)?;
        let indexes = readers.rows(|| asking(INDEXES, &names)).await;
        let shape = shape(table, &columns, &indexes.map_err(read_error)?)?;
        Ok(self.keep(table, shape))
    }
}

/// A name as SQL reads it: each part between quotes, so that it is the table that is meant.
pub(super) fn quoted(name: &str) -> String {
    let parts = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

/// The table, then its link tables.
fn names(table: &StateTable) -> Vec<String> {
    let links = table.links.iter().map(|link| link.name);
    std::iter::once(&*table.name)
        .chain(links)
        .map(quoted)
        .collect()
}

fn asking<'q>(text: &'static str, names: &[String]) -> Statement<'q> {
    sqlx::query(text).bind(names.iter().map(String::as_str).bind_iter())
}

fn place(row: &PgRow) -> Result<usize, ReadError> {
    let place: i64 = column(row, 0)?;
    Ok(usize::try_from(place).unwrap_or(usize::MAX) - 1)
}

fn shape(table: &StateTable, columns: &[PgRow], indexes: &[PgRow]) -> Result<Shape, ReadError> {
    let mut tables: Vec<TableShape> = names(table).into_iter().map(TableShape::new).collect();
    for row in columns {
        let found = &mut tables[place(row)?];
        found.exists = true;
        found.is_table = column::<&str>(row, 1)? == "r" || column::<&str>(row, 1)? == "p";
        let Some(name) = column::<Option<String>>(row, 2)? else {
            continue;
        };
        let shape = ColumnShape::new(
            column(row, 3)?,
            column(row, 4)?,
            column(row, 5)?,
            column(row, 6)?,
            column(row, 7)?,
        );
        found.columns.insert(name, shape);
    }
    for row in indexes {
        tables[place(row)?].uniques.push(Unique {
            name: column(row, 1)?,
            columns: column(row, 2)?,
            is_whole: column(row, 3)?,
        });
    }
    let links = tables.split_off(1);
    let names = table.links.iter().map(|link| link.name);
    Ok(Shape {
        table: tables.remove(0),
        links: names.zip(links).collect(),
    })
}
