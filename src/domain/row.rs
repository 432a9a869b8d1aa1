//! Rows of a state table that is not dormouse's own, as values.
//!
//! A store reads and writes them; an aggregate maps itself to one and back ([`StateRow`]). Only
//! columns that are mapped are ever named: all others are their owner's.
//!
//! [`StateRow`]: super::StateRow

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Utc};

use super::Secret;

/// A table with one row for each aggregate of a type, and which of its columns are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTable {
    /// Its name, with its schema where it is not on the search path (`admin.sys_user`).
    pub name: Cow<'static, str>,
    /// The column that holds the aggregate's id.
    pub key: &'static str,
    /// The columns that are the aggregate's state.
    pub columns: Vec<Column>,
    /// Columns that tell who wrote the row and when: written with it, read when it is adopted, and
    /// never compared.
    pub stamps: Vec<Column>,
    /// Tables with a row for each member of a set of the state.
    pub links: Vec<LinkTable>,
}

/// A mapped column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// How its values are read.
    pub kind: ColumnKind,
}

impl Column {
    /// A column that is read as `kind`.
    #[must_use]
    pub const fn new(name: &'static str, kind: ColumnKind) -> Self {
        Self { name, kind }
    }

    /// A column of text, or of a type that reads and writes as text: an enum, a uuid, a number
    /// that is not counted with.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, ColumnKind::Text)
    }
}

/// How the values of a column are read. They are written as what the table's own type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// [`RowValue::Text`].
    Text,
    /// [`RowValue::Bool`].
    Bool,
    /// [`RowValue::Int`].
    Int,
    /// [`RowValue::Time`]; without a time zone it is UTC.
    Time,
    /// [`RowValue::Json`].
    Json,
    /// [`RowValue::Secret`]: text that nobody is shown.
    Secret,
}

/// A table with two columns: an aggregate's id, and one member of a set of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTable {
    /// Its name.
    pub name: &'static str,
    /// The column that holds the aggregate's id.
    pub owner: &'static str,
    /// The column that holds the member.
    pub member: &'static str,
}

/// A value of a mapped column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowValue {
    /// SQL's null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// A time, in whole microseconds or as exact as the column is.
    Time(DateTime<Utc>),
    /// A document.
    Json(serde_json::Value),
    /// Text that nobody is shown.
    Secret(Secret<String>),
}

impl RowValue {
    /// Text, or null where there is none.
    #[must_use]
    pub fn text(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }
}

/// What is mapped of one aggregate's row and of its links; without its key and its stamps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The values of the table's [`StateTable::columns`], every one.
    pub values: BTreeMap<&'static str, RowValue>,
    /// The members in each of the table's [`StateTable::links`], by the link table's name.
    pub links: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Row {
    /// The columns and link tables in which this row differs from another, sorted.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let values = self
            .values
            .iter()
            .filter_map(|(name, value)| (other.values.get(name) != Some(value)).then_some(*name));
        let links = self.links.iter().filter_map(|(name, members)| {
            (other.links.get(name) != Some(members)).then_some(*name)
        });
        values.chain(links).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::domain) fn row(name: &str, roles: &[&str]) -> Row {
        Row {
            values: BTreeMap::from([("name", RowValue::Text(name.to_owned()))]),
            links: BTreeMap::from([(
                "roles",
                roles.iter().map(|role| (*role).to_owned()).collect(),
            )]),
        }
    }

    #[test]
    fn a_row_tells_in_which_columns_and_links_it_differs() {
        assert_eq!(
            row("a", &["1"]).differences(&row("a", &["1"])),
            Vec::<&str>::new()
        );
        assert_eq!(
            row("a", &["1"]).differences(&row("b", &["1", "2"])),
            ["name", "roles"]
        );
    }
}
