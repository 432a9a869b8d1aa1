//! The names of all sections and keys, taken from the structs themselves, and the nearest of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{
    AggregateSettings, AuthSettings, DriftSettings, HttpSettings, IamSettings, JournalSettings,
    LogSettings, OtlpSettings, ProjectionSettings, RateSettings, RuntimeSettings, Settings,
    StoreSettings, StreamSettings, TlsSettings,
};

/// The section whose keys are one level deeper, below the name of a type.
pub(super) const AGGREGATES: &str = "aggregates";

/// The keys of a section, or nothing when there is no such section.
///
/// For [`AGGREGATES`] they are the keys of one type.
pub(super) fn keys_of(section: &str) -> Option<&'static [&'static str]> {
    match section {
        "http" => Some(fields::<HttpSettings>()),
        "tls" => Some(fields::<TlsSettings>()),
        "rate" => Some(fields::<RateSettings>()),
        "auth" => Some(fields::<AuthSettings>()),
        "store" => Some(fields::<StoreSettings>()),
        "journal" => Some(fields::<JournalSettings>()),
        "runtime" => Some(fields::<RuntimeSettings>()),
        "streams" => Some(fields::<StreamSettings>()),
        "projections" => Some(fields::<ProjectionSettings>()),
        "drift" => Some(fields::<DriftSettings>()),
        "log" => Some(fields::<LogSettings>()),
        "otlp" => Some(fields::<OtlpSettings>()),
        "iam" => Some(fields::<IamSettings>()),
        AGGREGATES => Some(fields::<AggregateSettings>()),
        _ => None,
    }
}

/// The names of all sections.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    fields::<Settings>().iter().copied()
}

/// The section that was probably meant.
pub(super) fn nearest_section(section: &str) -> Option<String> {
    let sections = fields::<Settings>().iter().map(|name| (*name).to_owned());
    nearest(section, sections)
}

/// The key that was probably meant, in its own section or in another.
pub(super) fn nearest_key(path: &[String]) -> Option<String> {
    if let [section, type_name, _] = path
        && section == AGGREGATES
    {
        let keys = fields::<AggregateSettings>().iter();
        let keys = keys.map(|key| format!("{AGGREGATES}.{type_name}.{key}"));
        return nearest(&path.join("."), keys);
    }
    let sections = fields::<Settings>()
        .iter()
        .filter(|name| **name != AGGREGATES);
    let all = sections.flat_map(|section| {
        let keys = keys_of(section).unwrap_or_default().iter();
        keys.map(move |key| format!("{section}.{key}"))
    });
    let all: Vec<String> = all.collect();
    let elsewhere = path.last().and_then(|last| {
        let same = |name: &&String| name.rsplit('.').next() == Some(last);
        all.iter().find(same).cloned()
    });
    elsewhere.or_else(|| nearest(&path.join("."), all.into_iter()))
}

fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let ranked = candidates.map(|candidate| (distance(name, &candidate), candidate));
    let (distance, candidate) = ranked.min()?;
    // A third of the name wrong is a slip; more is another word.
    (distance <= (name.len() / 3).clamp(1, 4)).then_some(candidate)
}

/// Levenshtein's edit distance, one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// The names that serde was given for the fields of a struct.
fn fields<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(FieldNames) {
        Err(Found(names)) => names,
        Ok(_) => &[],
    }
}

/// A deserializer that gives up at once, with the names it was asked for.
struct FieldNames;

#[derive(Debug)]
struct Found(&'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames {
    type Error = Found;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Found> {
        Err(Found(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl de::Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl std::error::Error for Found {}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fields {:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_keys() {
        for section in fields::<Settings>() {
            assert!(!keys_of(section).unwrap().is_empty(), "{section}");
        }
    }

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(distance("bind", "bind"), 0);
        assert_eq!(distance("bnd", "bind"), 1);
        assert_eq!(distance("", "log"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn another_word_has_no_nearest() {
        assert_eq!(nearest_section("zebra"), None);
        assert_eq!(nearest_section("htpp"), Some("http".to_owned()));
    }
}
