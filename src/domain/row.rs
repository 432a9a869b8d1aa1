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
use sha2::{Digest as _, Sha256};

use super::{CreatedBy, RowOrigin, Secret};

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

/// A mark of each column and link table of a row, and of who made it: enough to see what was
/// changed since, and no secret can be read from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowMarks {
    columns: BTreeMap<String, String>,
    /// Of who made the row, and when; nothing where that is not known.
    made: Option<String>,
}

/// Under which the mark of who made a row is stored: no column has this name.
const MADE: &str = "";

impl RowMarks {
    /// The marks of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        let values = row.values.iter().map(|(name, value)| {
            let text = match value {
                RowValue::Null => "n".to_owned(),
                RowValue::Bool(value) => format!("b{value}"),
                RowValue::Int(value) => format!("i{value}"),
                RowValue::Text(value) => format!("t{value}"),
                RowValue::Time(value) => format!("z{}", value.timestamp_micros()),
                RowValue::Json(value) => format!("j{value}"),
                RowValue::Secret(value) => format!("t{}", value.expose()),
            };
            ((*name).to_owned(), mark(&text))
        });
        let links = row.links.iter().map(|(name, members)| {
            let text: Vec<&str> = members.iter().map(String::as_str).collect();
            ((*name).to_owned(), mark(&format!("l{}", text.join("\n"))))
        });
        Self {
            columns: values.chain(links).collect(),
            made: None,
        }
    }

    /// The same, of a row that was made so. Without a time it is not known: the same hand may make
    /// a row twice.
    #[must_use]
    pub fn made(mut self, origin: &RowOrigin) -> Self {
        let by = origin.created_by.as_ref().map_or("", CreatedBy::as_str);
        let at = origin.created_at;
        self.made = at.map(|at| mark(&format!("{}{by}", at.timestamp_micros())));
        self
    }

    /// The same, of the row that had these marks before.
    #[must_use]
    pub fn made_as(mut self, before: Option<&Self>) -> Self {
        self.made = before.and_then(|before| before.made.clone());
        self
    }

    /// The marks as they are stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        let made = self.made.as_ref().map(|made| (MADE, made));
        let columns = self.columns.iter();
        let all: BTreeMap<&str, &String> = columns
            .map(|(name, mark)| (name.as_str(), mark))
            .chain(made)
            .collect();
        serde_json::to_string(&all).unwrap_or_default()
    }

    /// Stored marks; none where the text is none of ours, and then every column counts as changed.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut columns: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
        let made = columns.remove(MADE);
        Self { columns, made }
    }

    /// The columns and link tables whose mark in `newer` is another. One that either does not know
    /// counts as unchanged: the mapping has changed, not the row.
    #[must_use]
    pub fn changed(&self, newer: &Self) -> BTreeSet<String> {
        let changed = newer.columns.iter().filter(|(name, mark)| {
            let before = self.columns.get(*name);
            before.is_some_and(|before| before != *mark)
        });
        changed.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a row says the same in all columns and link tables, whoever made it.
    #[must_use]
    pub fn says(&self, newer: &Self) -> bool {
        self.columns == newer.columns
    }

    /// The mark of who made the row, and when, where that is known.
    #[must_use]
    pub fn maker(&self) -> Option<&str> {
        self.made.as_deref()
    }

    /// Whether `newer` is certainly of another row: it was made by another hand or at another time.
    #[must_use]
    pub fn is_of_another(&self, newer: &Self) -> bool {
        is_another(self.maker(), newer.maker())
    }
}

/// Whether two marks of who made a row are certainly of two rows.
pub(crate) fn is_another(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// 64 bits of a hash: that a change goes unseen is one chance in 10^19.
fn mark(text: &str) -> String {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(text.as_bytes())[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, roles: &[&str]) -> Row {
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

    #[test]
    fn marks_survive_storage_and_tell_what_changed() {
        let marks = RowMarks::of(&row("a", &["1"]));
        let stored = RowMarks::from_text(&marks.to_text());

        assert_eq!(stored, marks);
        assert!(stored.changed(&RowMarks::of(&row("a", &["1"]))).is_empty());
        let changed = stored.changed(&RowMarks::of(&row("a", &["2"])));
        assert_eq!(changed, BTreeSet::from(["roles".to_owned()]));
    }

    #[test]
    fn marks_tell_a_row_from_one_that_was_made_in_its_place() {
        let made = |second, by| RowOrigin {
            created_by: CreatedBy::parse(by).ok(),
            created_at: DateTime::from_timestamp(second, 0),
        };
        let marks = |origin: &RowOrigin| RowMarks::of(&row("a", &["1"])).made(origin);
        let first = marks(&made(1, "ann"));
        let stored = RowMarks::from_text(&first.to_text());

        assert_eq!(stored, first);
        assert!(!stored.is_of_another(&marks(&made(1, "ann"))));
        assert!(stored.is_of_another(&marks(&made(2, "ann"))));
        assert!(stored.is_of_another(&marks(&made(1, "bob"))));
        assert!(stored.says(&marks(&made(2, "ann"))));
        // Who made it is not known: nothing is certain.
        let unknown = marks(&RowOrigin::default());
        assert!(!stored.is_of_another(&unknown) && !unknown.is_of_another(&stored));
        assert!(RowMarks::from_text(&unknown.to_text()).maker().is_none());
    }

    #[test]
    fn a_column_that_was_not_mapped_before_counts_as_unchanged() {
        let before = RowMarks::from_text("{}");

        assert!(before.changed(&RowMarks::of(&row("a", &[]))).is_empty());
    }
}
