//! Whether a table can be used as it is mapped.

use super::shape::{Shape, TableShape};
use crate::{
    domain::{Column, StateTable},
    store::TableError,
};

/// Checks a table and its link tables.
pub(super) fn check(table: &StateTable, shape: &Shape) -> Result<(), TableError> {
    check_table(&table.name, table, &shape.table)?;
    for link in &table.links {
        let shape = &shape.links[link.name];
        check_exists(link.name, shape)?;
        for name in [link.owner, link.member] {
            check_column(link.name, name, shape)?;
        }
        check_given(link.name, shape, &[link.owner, link.member])?;
    }
    Ok(())
}

fn check_table(name: &str, table: &StateTable, shape: &TableShape) -> Result<(), TableError> {
    check_exists(name, shape)?;
    check_column(name, table.key, shape)?;
    let key = table.key;
    if !shape.column(key).can_be_key() {
        return Err(unfit(
            name,
            format!("has a key `{key}` that is no text, uuid or whole number"),
        ));
    }
    if !shape.is_unique(&[key]) {
        return Err(unfit(
            name,
            format!("has no unique index on its key `{key}` alone"),
        ));
    }
    for column in table.columns.iter().chain(&table.stamps) {
        check_column(name, column.name, shape)?;
        check_kind(name, column, shape)?;
    }
    let mapped = table.columns.iter().chain(&table.stamps);
    let given: Vec<&str> = mapped.map(|column| column.name).chain([key]).collect();
    check_given(name, shape, &given)
}

fn check_exists(name: &str, shape: &TableShape) -> Result<(), TableError> {
    if !shape.exists {
        return Err(unfit(name, "is not there"));
    }
    if !shape.is_table {
        return Err(unfit(name, "is no table but something like a view"));
    }
    Ok(())
}

fn check_column(table: &str, name: &str, shape: &TableShape) -> Result<(), TableError> {
    match shape.columns.get(name) {
        None => Err(unfit(table, format!("has no column `{name}`"))),
        Some(column) if column.is_generated => Err(unfit(
            table,
            format!("has a column `{name}` that is generated and cannot be written"),
        )),
        Some(_) => Ok(()),
    }
}

fn check_kind(table: &str, column: &Column, shape: &TableShape) -> Result<(), TableError> {
    let found = shape.column(column.name);
    if found.fits(column.kind) {
        return Ok(());
    }
    let (name, is) = (column.name, &found.type_name);
    let problem = format!("has a column `{name}` of the type {is}, which is mapped to another");
    Err(unfit(table, problem))
}

/// Whether a row can be inserted by giving these columns.
fn check_given(table: &str, shape: &TableShape, given: &[&str]) -> Result<(), TableError> {
    let mut columns: Vec<_> = shape.columns.iter().collect();
    columns.sort_by_key(|(name, _)| *name);
    let missing = columns
        .into_iter()
        .find(|(name, column)| column.is_required && !given.contains(&name.as_str()));
    match missing {
        None => Ok(()),
        Some((name, _)) => Err(unfit(
            table,
            format!("has a column `{name}` that must be given and is not mapped"),
        )),
    }
}

fn unfit(table: &str, problem: impl Into<String>) -> TableError {
    TableError::Unfit {
        table: table.to_owned(),
        problem: problem.into(),
    }
}
