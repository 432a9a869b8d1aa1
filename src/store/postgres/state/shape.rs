//! What a state table is made of, and how SQL says its values.

use std::collections::HashMap;

use super::catalog::quoted;
use crate::domain::{Column, ColumnKind, RowValue, StateTable};

/// A state table and its link tables.
#[derive(Debug)]
pub(in crate::store::postgres) struct Shape {
    pub(super) table: TableShape,
    pub(super) links: HashMap<&'static str, TableShape>,
}

/// One table.
#[derive(Debug)]
pub(super) struct TableShape {
    /// Its name as SQL reads it.
    pub(super) name: String,
    pub(super) exists: bool,
    /// Whether rows can be locked in it by their addresses.
    pub(super) is_table: bool,
    pub(super) columns: HashMap<String, ColumnShape>,
    pub(super) uniques: Vec<Unique>,
}

/// A unique index.
#[derive(Debug)]
pub(super) struct Unique {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// Whether it is over these columns as they are, in every row.
    pub(super) is_whole: bool,
}

impl Shape {
    pub(super) fn has_links_of(&self, table: &StateTable) -> bool {
        let mut links = table.links.iter();
        links.all(|link| self.links.contains_key(link.name))
    }
}

impl TableShape {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            exists: false,
            is_table: false,
            columns: HashMap::new(),
            uniques: Vec::new(),
        }
    }

    /// A mapped column. One that is not there reads as text, and the statement that names it fails.
    pub(super) fn column(&self, name: &str) -> ColumnShape {
        let shape = self.columns.get(name).cloned();
        shape.unwrap_or_else(|| ColumnShape::new("text".to_owned(), "text", false, false, false))
    }

    pub(super) fn is_unique(&self, columns: &[&str]) -> bool {
        self.uniques.iter().any(|unique| {
            let names = unique.columns.iter();
            unique.is_whole
                && unique.columns.len() == columns.len()
                && names
                    .into_iter()
                    .all(|name| columns.contains(&name.as_str()))
        })
    }
}

/// What a column's type is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeKind {
    /// Compared byte by byte.
    Text,
    /// `character(n)`, whose blanks at the end mean nothing.
    Padded,
    Bool,
    Whole,
    /// A number with places after the point.
    Number,
    Uuid,
    Enum,
    /// A time or a date, without a zone.
    Time,
    /// A time with a zone.
    ZonedTime,
    Json,
    JsonBinary,
    /// Anything else: compared by its text.
    Other,
}

/// A column of a table that is not ours.
#[derive(Debug, Clone)]
pub(super) struct ColumnShape {
    pub(super) kind: TypeKind,
    /// Its type as SQL reads it, with its length or precision.
    pub(super) type_name: String,
    /// Whether it must be given a value.
    pub(super) is_required: bool,
    /// Whether it takes no value.
    pub(super) is_generated: bool,
}

impl ColumnShape {
    pub(super) fn new(
        type_name: String,
        built_in: &str,
        is_enum: bool,
        is_required: bool,
        is_generated: bool,
    ) -> Self {
        let kind = match built_in {
            _ if is_enum => TypeKind::Enum,
            "text" | "varchar" => TypeKind::Text,
            "bpchar" => TypeKind::Padded,
            "bool" => TypeKind::Bool,
            "int2" | "int4" | "int8" => TypeKind::Whole,
            "numeric" => TypeKind::Number,
            "uuid" => TypeKind::Uuid,
            "timestamp" | "date" => TypeKind::Time,
            "timestamptz" => TypeKind::ZonedTime,
            "json" => TypeKind::Json,
            "jsonb" => TypeKind::JsonBinary,
            _ => TypeKind::Other,
        };
        Self {
            kind,
            type_name,
            is_required,
            is_generated,
        }
    }

    /// A parameter as a value of this column. Text keeps its length, so that what is too long is
    /// refused where it is stored: a cast to its type would cut it off in silence.
    pub(super) fn cast(&self, parameter: &str) -> String {
        match self.kind {
            TypeKind::Text => parameter.to_owned(),
            TypeKind::Padded => format!("{parameter}::bpchar"),
            TypeKind::Bool
            | TypeKind::Whole
            | TypeKind::Number
            | TypeKind::Uuid
            | TypeKind::Enum
            | TypeKind::Time
            | TypeKind::ZonedTime
            | TypeKind::Json
            | TypeKind::JsonBinary
            | TypeKind::Other => format!("{parameter}::{}", self.type_name),
        }
    }

    /// Whether the column of a row is what a parameter says, null being what null is.
    pub(super) fn is(&self, row: &str, name: &str, parameter: &str) -> String {
        let column = format!("{row}.{}", quoted(name));
        let given = self.cast(parameter);
        match self.kind {
            // The collation "C" for those that take two texts for one.
            TypeKind::Text => format!("{column} collate \"C\" is not distinct from {given}"),
            TypeKind::Json => format!("{column}::jsonb is not distinct from {given}::jsonb"),
            TypeKind::Other => {
                format!("{column}::text collate \"C\" is not distinct from {given}::text")
            }
            TypeKind::Padded
            | TypeKind::Bool
            | TypeKind::Whole
            | TypeKind::Number
            | TypeKind::Uuid
            | TypeKind::Enum
            | TypeKind::Time
            | TypeKind::ZonedTime
            | TypeKind::JsonBinary => format!("{column} is not distinct from {given}"),
        }
    }

    /// The column of a row as text; a time as the microseconds since 1970.
    pub(super) fn read(&self, row: &str, column: &Column) -> String {
        let value = format!("{row}.{}", quoted(column.name));
        if self.is_time_of(column) {
            // One that is infinite is no time that a state has.
            return format!(
                "case when isfinite({value}) \
                 then (extract(epoch from {value}) * 1000000)::bigint::text end"
            );
        }
        format!("{value}::text")
    }

    /// Whether values are read as microseconds.
    pub(super) fn is_time_of(&self, column: &Column) -> bool {
        column.kind == ColumnKind::Time && matches!(self.kind, TypeKind::Time | TypeKind::ZonedTime)
    }

    /// A value as the text that the column's type reads.
    pub(super) fn text_of(&self, value: &RowValue) -> Option<String> {
        Some(match value {
            RowValue::Null => return None,
            RowValue::Bool(value) if matches!(self.kind, TypeKind::Whole | TypeKind::Number) => {
                i32::from(*value).to_string()
            }
            RowValue::Bool(value) => value.to_string(),
            RowValue::Int(number) => number.to_string(),
            RowValue::Text(text) => text.clone(),
            RowValue::Secret(secret) => secret.expose().clone(),
            RowValue::Json(value) => value.to_string(),
            RowValue::Time(time) if self.kind == TypeKind::ZonedTime => {
                time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
            }
            RowValue::Time(time) => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        })
    }

    /// Whether the column can hold what is mapped to it.
    pub(super) fn fits(&self, kind: ColumnKind) -> bool {
        use TypeKind::{
            Bool, Json, JsonBinary, Number, Other, Padded, Text, Time, Whole, ZonedTime,
        };
        let any_text = matches!(self.kind, Text | Padded | Other);
        match kind {
            ColumnKind::Text => true,
            ColumnKind::Secret => any_text,
            ColumnKind::Bool => any_text || matches!(self.kind, Bool | Whole | Number),
            ColumnKind::Int => any_text || matches!(self.kind, Whole | Number),
            ColumnKind::Time => any_text || matches!(self.kind, Time | ZonedTime),
            ColumnKind::Json => any_text || matches!(self.kind, Json | JsonBinary),
        }
    }

    /// The id of an aggregate as a key of this column; nothing where none can be equal to it.
    pub(super) fn key<'a>(&self, id: &'a str) -> Option<&'a str> {
        let is_a_key = match self.kind {
            TypeKind::Text | TypeKind::Padded => true,
            // Only what it would be read back as: two ids never mean one row.
            TypeKind::Uuid => is_uuid(id),
            TypeKind::Whole => id.parse::<i64>().is_ok_and(|number| {
                number.to_string() == id && number.unsigned_abs() <= self.largest()
            }),
            TypeKind::Bool
            | TypeKind::Number
            | TypeKind::Enum
            | TypeKind::Time
            | TypeKind::ZonedTime
            | TypeKind::Json
            | TypeKind::JsonBinary
            | TypeKind::Other => false,
        };
        is_a_key.then_some(id)
    }

    /// The most characters that it holds, where its type says so.
    pub(super) fn max_chars(&self) -> Option<usize> {
        let (_, length) = self.type_name.split_once('(')?;
        length.trim_end_matches(')').parse().ok()
    }

    fn largest(&self) -> u64 {
        match self.type_name.as_str() {
            "smallint" => i16::MAX.unsigned_abs().into(),
            "integer" => i32::MAX.unsigned_abs().into(),
            _ => i64::MAX.unsigned_abs(),
        }
    }

    /// Whether it may be the key of a state table.
    pub(super) fn can_be_key(&self) -> bool {
        matches!(
            self.kind,
            TypeKind::Text | TypeKind::Padded | TypeKind::Uuid | TypeKind::Whole
        )
    }
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
