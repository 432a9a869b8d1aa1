//! A row held against the fold of its events: where they differ, and which event should have set it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::{Unfoldable, mapping::Folding};
use crate::{
    domain::{EventId, Position, Row, RowValue, Version, error_chain},
    store::RecordedEvent,
};

/// An event that is named for what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRef {
    /// Its identity.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// Its number in the aggregate.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
    /// When it happened; as JSON like everywhere in dormouse.
    #[serde(serialize_with = "time")]
    pub occurred_at: DateTime<Utc>,
}

fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl From<&RecordedEvent> for EventRef {
    fn from(event: &RecordedEvent) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type.clone(),
            version: event.version,
            position: event.position,
            occurred_at: event.occurred_at,
        }
    }
}

/// A column, or a link table, in which a row and its events differ. Secrets are not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column or link table.
    pub column: &'static str,
    /// What the row has; nothing where there is no row.
    pub row: Option<String>,
    /// What the events lead to; nothing where that has no row.
    pub events: Option<String>,
    /// The event that set it last.
    pub event: Option<EventRef>,
}

/// How a row and its events differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Drift {
    /// The events lead to a row, and there is none.
    RowMissing {
        /// The event that made the row.
        event: Option<EventRef>,
    },
    /// The row has no events.
    NoEvents,
    /// The row has no events, and could not be adopted.
    NotAdoptable {
        /// Why.
        problem: String,
    },
    /// There is a row, and the events have ended it.
    RowLeft {
        /// The event that ended it.
        event: Option<EventRef>,
    },
    /// They differ.
    Differs {
        /// The first column that differs.
        first: ColumnDifference,
        /// The others, by name.
        others: Vec<&'static str>,
    },
    /// The events cannot be folded.
    Unfoldable {
        /// Why.
        problem: String,
    },
    /// It was written again and again while it was compared.
    Unsettled,
    /// Another program has stored events of it that have no position yet. Whoever only reads cannot
    /// give them one; a server does.
    Unnumbered,
}

impl Drift {
    /// The name by which programs know it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RowMissing { .. } => "row-missing",
            Self::NoEvents => "no-events",
            Self::NotAdoptable { .. } => "not-adoptable",
            Self::RowLeft { .. } => "row-left",
            Self::Differs { .. } => "differs",
            Self::Unfoldable { .. } => "unfoldable",
            Self::Unsettled => "unsettled",
            Self::Unnumbered => "unnumbered",
        }
    }
}

/// A row and its events that do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The key of the row, the id of the aggregate.
    pub key: String,
    /// How far the events go.
    pub version: Version,
    /// How they differ.
    #[serde(flatten)]
    pub drift: Drift,
}

/// Which event set what.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// By column or link table.
    columns: BTreeMap<&'static str, EventRef>,
    /// The last event that made the row, or ended it.
    presence: Option<EventRef>,
}

impl Blame {
    /// Folds an event and notes what it set.
    pub(super) fn fold(
        &mut self,
        folding: &mut dyn Folding,
        event: &RecordedEvent,
    ) -> Result<(), Unfoldable> {
        let before = folding.row();
        folding.fold(event)?;
        let after = folding.row();
        if before.is_some() != after.is_some() {
            self.presence = Some(event.into());
        }
        let Some(after) = after else { return Ok(()) };
        // What was not there differs in everything.
        for column in after.differences(&before.unwrap_or_default()) {
            self.columns.insert(column, event.into());
        }
        Ok(())
    }

    /// How a row and the row of its fold differ; nothing where they agree.
    pub(super) fn drift(&self, row: Option<&Row>, fold: Option<&Row>) -> Option<Drift> {
        match (row, fold) {
            (None, None) => None,
            (None, Some(_)) => Some(Drift::RowMissing {
                event: self.presence.clone(),
            }),
            (Some(_), None) => Some(Drift::RowLeft {
                event: self.presence.clone(),
            }),
            (Some(_), Some(_)) => {
                let mut differences = self.differences(row, fold).into_iter();
                let first = differences.next()?;
                let others = differences.map(|difference| difference.column).collect();
                Some(Drift::Differs { first, others })
            }
        }
    }

    /// Every column in which they differ.
    pub(super) fn differences(
        &self,
        row: Option<&Row>,
        fold: Option<&Row>,
    ) -> Vec<ColumnDifference> {
        let nothing = Row::default();
        let columns = match (row, fold) {
            (None, None) => Vec::new(),
            (Some(row), fold) => row.differences(fold.unwrap_or(&nothing)),
            (None, Some(fold)) => fold.differences(&nothing),
        };
        let columns = columns.into_iter();
        columns
            .map(|column| ColumnDifference {
                column,
                row: row.map(|row| shown(row, column)),
                events: fold.map(|fold| shown(fold, column)),
                event: self.columns.get(column).cloned(),
            })
            .collect()
    }
}

/// What a row has in a column or link table, for people.
fn shown(row: &Row, column: &str) -> String {
    if let Some(members) = row.links.get(column) {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        return format!("{{{}}}", members.join(", "));
    }
    match row.values.get(column) {
        None | Some(RowValue::Null) => "null".to_owned(),
        Some(RowValue::Bool(value)) => value.to_string(),
        Some(RowValue::Int(value)) => value.to_string(),
        Some(RowValue::Text(value)) => format!("{value:?}"),
        Some(RowValue::Time(value)) => value.to_rfc3339(),
        Some(RowValue::Json(value)) => value.to_string(),
        Some(RowValue::Secret(_)) => "(hidden)".to_owned(),
    }
}

pub(super) fn unfoldable(error: &Unfoldable) -> Drift {
    Drift::Unfoldable {
        problem: error_chain(error),
    }
}
