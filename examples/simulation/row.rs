//! The row of a tally, in the mode in which events and rows are both kept.

use std::collections::BTreeMap;

use dormouse::domain::{
    AggregateId, Column, ColumnKind, Row, RowOrigin, RowValue, Stamp, StateRow, StateTable,
    UnmappableRow,
};
use dormouse::store::memory::{MemoryRow, MemoryStore};

use crate::tally::{Tally, TallyEvent};

pub(crate) const TABLE: &str = "tallies";

impl StateRow for Tally {
    fn table() -> StateTable {
        StateTable {
            name: TABLE.into(),
            key: "id",
            columns: vec![
                Column::new("events", ColumnKind::Int),
                Column::text("digest"),
                Column::text("name"),
                Column::text("note"),
            ],
            stamps: Vec::new(),
            links: Vec::new(),
        }
    }

    fn to_row(&self) -> Option<Row> {
        let events = i64::try_from(self.events).expect("few events");
        (*self != Self::default()).then(|| Row {
            values: BTreeMap::from([
                ("events", RowValue::Int(events)),
                ("digest", RowValue::Text(self.digest.to_string())),
                ("name", RowValue::text(self.name.as_deref())),
                ("note", RowValue::text(self.note.as_deref())),
            ]),
            links: BTreeMap::new(),
        })
    }

    fn from_row(row: &Row) -> Result<Self, UnmappableRow> {
        let unfit = |column| UnmappableRow {
            column,
            problem: "is none that a tally writes".into(),
        };
        let RowValue::Int(events @ 0..) = row.values["events"] else {
            return Err(unfit("events"));
        };
        let digest = text(row, "digest").and_then(|digest| digest.parse().ok());
        Ok(Self {
            events: events.unsigned_abs(),
            digest: digest.ok_or_else(|| unfit("digest"))?,
            name: text(row, "name"),
            note: text(row, "note"),
        })
    }

    fn stamps_on_insert(_: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        Vec::new()
    }

    fn stamps_on_update(_: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        Vec::new()
    }

    fn origin(_: &[(&'static str, RowValue)]) -> RowOrigin {
        RowOrigin::default()
    }

    fn adopted(&self) -> TallyEvent {
        kept(self)
    }

    fn reconciled(&self, _: &str) -> TallyEvent {
        kept(self)
    }
}

fn kept(state: &Tally) -> TallyEvent {
    TallyEvent::Kept {
        state: state.clone(),
        token: None,
    }
}

fn text(row: &Row, column: &str) -> Option<String> {
    if let RowValue::Text(text) = &row.values[column] {
        Some(text.clone())
    } else {
        None
    }
}

/// Writes a note into a tally's row as another program does, and makes the row where there is none.
pub(crate) fn write_note(memory: &MemoryStore, tally: &AggregateId, note: &str) {
    memory.with_state_table(TABLE, |table| {
        let row = table.rows.entry(tally.to_string());
        let row = row.or_insert_with(|| MemoryRow {
            values: BTreeMap::from([
                ("events".to_owned(), RowValue::Int(0)),
                ("digest".to_owned(), RowValue::Text("0".to_owned())),
            ]),
            links: BTreeMap::new(),
        });
        let note = RowValue::Text(note.to_owned());
        row.values.insert("note".to_owned(), note);
    });
}

/// The state that a tally's row says as it stands; none where there is none.
pub(crate) fn as_it_stands(memory: &MemoryStore, tally: &AggregateId) -> Option<Tally> {
    memory.with_state_table(TABLE, |table| {
        let row = table.rows.get(tally.as_str())?;
        let column = |name: &'static str| {
            let value = row.values.get(name).cloned();
            (name, value.unwrap_or(RowValue::Null))
        };
        let row = Row {
            values: ["events", "digest", "name", "note"].map(column).into(),
            links: BTreeMap::new(),
        };
        Some(Tally::from_row(&row).expect("a tally's row"))
    })
}
