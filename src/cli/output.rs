//! Stdout: tables for people, lines of JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableComponent, Width,
    presets,
};
use serde::Serialize;

/// A time as everywhere in dormouse.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The least width of a column that may be wrapped: narrower, nobody can read it.
const LEAST_WIDTH: u16 = 16;

/// A table with these columns. On a terminal only the columns of `wrapped` are fitted to its width:
/// a time or a name that is broken in two can neither be read nor copied.
pub(super) fn table<const N: usize>(columns: [&str; N], wrapped: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_truncation_indicator("…")
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for (column, name) in table.column_iter_mut().zip(columns) {
            column.set_constraint(if wrapped.contains(&name) {
                ColumnConstraint::LowerBoundary(Width::Fixed(LEAST_WIDTH))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
    }
    table
}

/// A row that on a terminal is one line, with what does not fit cut off.
pub(super) fn line_of(cells: Vec<Cell>) -> Row {
    let mut row = Row::from(cells);
    if io::stdout().is_terminal() {
        row.max_height(1);
    }
    row
}

/// A number, which stands at the right.
pub(super) fn number(number: impl ToString) -> Cell {
    Cell::new(number).set_alignment(CellAlignment::Right)
}

/// Text that may be anything: control characters could move a terminal's cursor.
pub(super) fn text(text: &str) -> Cell {
    let harmless = text.chars().map(|character| match character {
        '\n' => character,
        _ if character.is_control() => '\u{fffd}',
        _ => character,
    });
    Cell::new(harmless.collect::<String>())
}

/// Prints text and a line's end.
///
/// # Errors
/// What writing to stdout says.
pub(super) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`line`].
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(value)?)
}
