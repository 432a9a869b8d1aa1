//! Stdout: tables for people, lines of JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde::Serialize;

/// A time as everywhere in dormouse.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A table with these columns; on a terminal its text is wrapped to the terminal's width.
pub(super) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(if io::stdout().is_terminal() {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        })
        .set_header(columns);
    table
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
