//! Marks of a row: enough to see what was changed since, column by column.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use sha2::{Digest as _, Sha256};

use super::{CreatedBy, Row, RowOrigin, RowValue};

/// A mark of each column and link table of a row, and of who made it: enough to see what was
/// changed since, and no secret can be read from it. Clones share what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowMarks {
    /// By name.
    columns: Arc<[(Cow<'static, str>, Mark)]>,
    /// Of who made the row, and when; nothing where that is not known.
    made: Option<Arc<str>>,
}

/// 64 bits of a hash: that a change goes unseen is one chance in 10^19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark(u64);

/// Under which the mark of who made a row is stored: no column has this name.
const MADE: &str = "";

impl RowMarks {
    /// The marks of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        let values = row.values.iter();
        let values = values.map(|(name, value)| (Cow::Borrowed(*name), Mark::of(value)));
        let links = row.links.iter();
        let links = links.map(|(name, members)| (Cow::Borrowed(*name), Mark::of_members(members)));
        Self::new(values.chain(links).collect(), None)
    }

    fn new(mut columns: Vec<(Cow<'static, str>, Mark)>, made: Option<Arc<str>>) -> Self {
        columns.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            columns: columns.into(),
            made,
        }
    }

    /// The same, of a row that was made so. Without a time it is not known: the same hand may make
    /// a row twice.
    #[must_use]
    pub fn made(mut self, origin: &RowOrigin) -> Self {
        let by = origin.created_by.as_ref().map_or("", CreatedBy::as_str);
        self.made = origin.created_at.map(|at| {
            let made = Mark::of_text(&[&at.timestamp_micros().to_string(), by]);
            made.to_string().into()
        });
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
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Stored marks; none where the text is none of ours.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The columns and link tables whose mark in `newer` is another. One that either does not know
    /// counts as unchanged: the mapping has changed, not the row.
    #[must_use]
    pub fn changed(&self, newer: &Self) -> BTreeSet<String> {
        let changed = newer.columns.iter().filter(|(name, mark)| {
            let before = self.mark(name);
            before.is_some_and(|before| before != *mark)
        });
        changed.map(|(name, _)| name.to_string()).collect()
    }

    fn mark(&self, name: &str) -> Option<Mark> {
        let found = self.columns.binary_search_by(|(it, _)| (**it).cmp(name));
        found.ok().map(|place| self.columns[place].1)
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

impl Serialize for RowMarks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Its name is the first in their order.
        let made = self.made.as_deref().map(|made| (MADE, Cow::Borrowed(made)));
        let columns = self.columns.iter();
        let columns = columns.map(|(name, mark)| (&**name, Cow::Owned(mark.to_string())));
        serializer.collect_map(made.into_iter().chain(columns))
    }
}

impl<'de> Deserialize<'de> for RowMarks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MarksVisitor)
    }
}

/// Reads marks as they come: each row that is loaded has some.
struct MarksVisitor;

impl<'de> Visitor<'de> for MarksVisitor {
    type Value = RowMarks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mark for each column")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RowMarks, M::Error> {
        let (mut columns, mut made) = (Vec::new(), None);
        while let Some((name, mark)) = map.next_entry::<String, &str>()? {
            if name == MADE {
                made = Some(mark.into());
            } else {
                let mark = u64::from_str_radix(mark, 16).map_err(M::Error::custom)?;
                columns.push((Cow::Owned(name), Mark(mark)));
            }
        }
        Ok(RowMarks::new(columns, made))
    }
}

impl Mark {
    fn of(value: &RowValue) -> Self {
        match value {
            RowValue::Null => Self::of_text(&["n"]),
            RowValue::Bool(value) => Self::of_text(&["b", if *value { "true" } else { "false" }]),
            RowValue::Int(value) => Self::of_text(&["i", &value.to_string()]),
            RowValue::Text(value) => Self::of_text(&["t", value]),
            RowValue::Time(value) => Self::of_text(&["z", &value.timestamp_micros().to_string()]),
            RowValue::Json(value) => Self::of_text(&["j", &value.to_string()]),
            RowValue::Secret(value) => Self::of_text(&["t", value.expose()]),
        }
    }

    fn of_members(members: &BTreeSet<String>) -> Self {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        Self::of_text(&["l", &members.join("\n")])
    }

    /// Of a text in parts.
    fn of_text(parts: &[&str]) -> Self {
        let hash = parts.iter().fold(Sha256::new(), Sha256::chain_update);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;

    use super::{super::row::tests::row, *};

    #[test]
    fn marks_are_stored_as_they_always_were() {
        let row = Row {
            values: BTreeMap::from([
                ("name", RowValue::Text("ann".to_owned())),
                ("age", RowValue::Int(7)),
                ("is_open", RowValue::Bool(true)),
                ("zone", RowValue::Null),
            ]),
            links: BTreeMap::from([("roles", BTreeSet::from(["a".to_owned(), "b".to_owned()]))]),
        };
        let origin = RowOrigin {
            created_by: CreatedBy::parse("ann").ok(),
            created_at: DateTime::from_timestamp(1, 0),
        };

        // SHA-256 of `tann`, `i7`, `btrue`, `n`, `la\nb` and `1000000ann`, the first 8 bytes.
        assert_eq!(
            RowMarks::of(&row).made(&origin).to_text(),
            r#"{"":"871deddbca2b3dd8","age":"5a39f9a9c7598d32","is_open":"1b442341e49af8cf","name":"6fdf5ca0b24edb04","roles":"02c18bab72e3bb06","zone":"1b16b1df538ba12d"}"#
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
    fn what_is_no_mark_tells_nothing() {
        for text in ["", "null", "[]", r#"{"name":7}"#, r#"{"name":"xyz"}"#] {
            assert_eq!(RowMarks::from_text(text), RowMarks::default(), "{text}");
        }
    }

    #[test]
    fn a_column_that_was_not_mapped_before_counts_as_unchanged() {
        let before = RowMarks::from_text("{}");

        assert!(before.changed(&RowMarks::of(&row("a", &[]))).is_empty());
    }
}
