//! What the rows of users and roles have in common: how columns are read, and who stamps them.
//!
//! The tables are those of an admin system as many teams have it (`examples/data/admin_api.sql`);
//! whoever has others writes a mapping like these two.

use crate::domain::{
    Column, ColumnKind, CreatedBy, Row, RowOrigin, RowValue, Secret, Stamp, UnmappableRow,
};

use super::Status;

const CREATED_AT: &str = "created_at";
const CREATED_BY: &str = "created_by";
const UPDATED_AT: &str = "updated_at";
const UPDATED_BY: &str = "updated_by";
/// Who wrote a row that nobody is named for: so the system that owns the tables writes it.
const NOBODY: &str = "-1";

/// The columns that tell who wrote a row and when.
pub(super) fn stamps() -> Vec<Column> {
    vec![
        Column::new(CREATED_AT, ColumnKind::Time),
        Column::text(CREATED_BY),
        Column::new(UPDATED_AT, ColumnKind::Time),
        Column::text(UPDATED_BY),
    ]
}

pub(super) fn on_insert(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
    vec![
        (CREATED_AT, RowValue::Time(stamp.now)),
        (CREATED_BY, who(stamp)),
    ]
}

pub(super) fn on_update(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
    vec![
        (UPDATED_AT, RowValue::Time(stamp.now)),
        (UPDATED_BY, who(stamp)),
    ]
}

fn who(stamp: &Stamp<'_>) -> RowValue {
    let who = stamp.created_by.map_or(NOBODY, CreatedBy::as_str);
    RowValue::Text(who.to_owned())
}

/// Who made a row is not told where the name is longer than the log holds: a part of it might be
/// another's name.
pub(super) fn origin(stamps: &[(&'static str, RowValue)]) -> RowOrigin {
    let value = |wanted: &str| {
        let found = stamps.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value)
    };
    RowOrigin {
        created_by: match value(CREATED_BY) {
            Some(RowValue::Text(name)) => CreatedBy::parse(name).ok(),
            _ => None,
        },
        created_at: match value(CREATED_AT) {
            Some(RowValue::Time(time)) => Some(*time),
            _ => None,
        },
    }
}

/// The columns of a row, as a mapping reads them.
pub(super) struct Columns<'a>(pub(super) &'a Row);

impl Columns<'_> {
    /// A text that may be missing.
    pub(super) fn optional(&self, column: &'static str) -> Result<Option<String>, UnmappableRow> {
        match self.0.values.get(column) {
            Some(RowValue::Text(text)) => Ok(Some(text.clone())),
            Some(RowValue::Null) => Ok(None),
            Some(_) | None => Err(unmappable(column, "is no text")),
        }
    }

    /// A text.
    pub(super) fn text(&self, column: &'static str) -> Result<String, UnmappableRow> {
        self.optional(column)?
            .ok_or_else(|| unmappable(column, "is null"))
    }

    /// A secret.
    pub(super) fn secret(&self, column: &'static str) -> Result<Secret<String>, UnmappableRow> {
        match self.0.values.get(column) {
            Some(RowValue::Secret(secret)) => Ok(secret.clone()),
            Some(RowValue::Null) => Err(unmappable(column, "is null")),
            Some(_) | None => Err(unmappable(column, "is no secret text")),
        }
    }

    /// A status.
    pub(super) fn status(&self, column: &'static str) -> Result<Status, UnmappableRow> {
        Status::named(&self.text(column)?)
            .ok_or_else(|| unmappable(column, "is none of ENABLED, DISABLED and BANNED"))
    }

    /// The members of a link table.
    pub(super) fn members(&self, link: &str) -> Vec<String> {
        let members = self.0.links.get(link);
        members.into_iter().flatten().cloned().collect()
    }
}

fn unmappable(column: &'static str, problem: &'static str) -> UnmappableRow {
    UnmappableRow {
        column,
        problem: problem.into(),
    }
}
