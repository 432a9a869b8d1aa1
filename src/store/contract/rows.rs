//! Rows of state tables, which commit with the events and which others may write.
//!
//! A store without state tables has nothing to promise; a fixture of one that has them plays the
//! other program too.

mod batches;
mod beside;
mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;

pub use batches::*;
pub use beside::*;
pub use tracks::*;

use super::{Fixture, commit, stream};
use crate::{
    domain::{
        AggregateId, Column, ColumnKind, LinkTable, Row, RowMarks, RowValue, Secret, StateTable,
        StreamId, Version,
    },
    store::{
        Commit, EventStore, LoadedRow, RowAccess, RowChange, RowTrack, StateRows, Verdict,
        VersionedBy,
    },
};

/// A program that writes the state tables without dormouse.
///
/// Its tables are `things`, with the columns `id` (text, the key), `name` (text, unique, never
/// null), `status` (`ON` or `OFF`), `password` (text), `active` (a truth value), `size` (a whole
/// number), `seen_at` (a time, in milliseconds at least), `doc` (JSON), `made_by` and `changed_by`
/// (text), and `note` (text, `unset` where nothing is given), which is not mapped; and
/// `thing_tags`, with the columns `thing_id` and `tag` (text, together the key).
#[async_trait]
pub trait OtherProgram: Send + Sync {
    /// Makes the tables.
    async fn make_tables(&self);

    /// Inserts a row that has a name, the status `ON`, is not active and has the size 0.
    async fn insert(&self, id: &str, name: &str);

    /// Sets a column of text; false where there is no such row.
    async fn set(&self, id: &str, column: &'static str, value: Option<&str>) -> bool;

    /// Adds to the size of a row.
    async fn grow(&self, id: &str, by: i64);

    /// Removes a row.
    async fn remove(&self, id: &str);

    /// Adds a tag to a row, or takes it away.
    async fn tag(&self, id: &str, tag: &str, add: bool);

    /// A column of text, as it stands; nothing where there is no such row, or it is null.
    async fn text(&self, id: &str, column: &'static str) -> Option<String>;
}

const TAGS: &str = "thing_tags";

static THINGS: LazyLock<Arc<StateTable>> = LazyLock::new(|| {
    Arc::new(StateTable {
        name: "things".into(),
        key: "id",
        columns: vec![
            Column::text("name"),
            Column::text("status"),
            Column::new("password", ColumnKind::Secret),
            Column::new("active", ColumnKind::Bool),
            Column::new("size", ColumnKind::Int),
            Column::new("seen_at", ColumnKind::Time),
            Column::new("doc", ColumnKind::Json),
        ],
        stamps: vec![Column::text("made_by"), Column::text("changed_by")],
        links: vec![LinkTable {
            name: TAGS,
            owner: "thing_id",
            member: "tag",
        }],
    })
});

/// A store with the tables of the other program.
struct Beside {
    store: Arc<dyn EventStore>,
    rows: Arc<dyn StateRows>,
    other: Arc<dyn OtherProgram>,
}

impl Beside {
    /// Nothing where the store has no state tables.
    async fn open(fixture: &impl Fixture) -> Option<Self> {
        let store = fixture.open().await;
        let rows = store.state_rows()?;
        let other = fixture.other_program().await;
        let other = other.expect("another program, as the store has state tables");
        other.make_tables().await;
        rows.check(&THINGS, RowAccess::Write)
            .await
            .expect("a table that fits");
        Some(Self { store, rows, other })
    }

    async fn load(&self, id: &str) -> LoadedRow {
        let StreamId {
            aggregate_type,
            aggregate_id,
        } = stream(id);
        let ids = [aggregate_id];
        let loaded = self.rows.load(&aggregate_type, &THINGS, &ids).await;
        let mut loaded = loaded.expect("a row");
        assert_eq!(loaded.len(), 1);
        loaded.remove(0)
    }

    async fn row(&self, id: &str) -> Option<Row> {
        self.load(id).await.row
    }
}

/// A row without tags.
fn row(name: &str) -> Row {
    let text = |text: &str| RowValue::Text(text.to_owned());
    Row {
        values: BTreeMap::from([
            ("name", text(name)),
            ("status", text("ON")),
            ("password", RowValue::Null),
            ("active", RowValue::Bool(false)),
            ("size", RowValue::Int(0)),
            ("seen_at", RowValue::Null),
            ("doc", RowValue::Null),
        ]),
        links: BTreeMap::from([(TAGS, BTreeSet::new())]),
    }
}

/// A row with a value in each column, and tags.
fn full_row(name: &str) -> Row {
    let seen_at = chrono::DateTime::from_timestamp_millis(1_714_885_505_123);
    let mut full = with(&row(name), "status", RowValue::Text("OFF".to_owned()));
    for (column, value) in [
        (
            "password",
            RowValue::Secret(Secret::new("$2a$ü'\"\\".to_owned())),
        ),
        ("active", RowValue::Bool(true)),
        ("size", RowValue::Int(-7_000_000_000)),
        ("seen_at", RowValue::Time(seen_at.expect("a valid time"))),
        (
            "doc",
            RowValue::Json(serde_json::json!({ "a": [1, "é", null] })),
        ),
    ] {
        full = with(&full, column, value);
    }
    tagged(&full, &["1", "-1", "ü:,\n'"])
}

fn with(row: &Row, column: &'static str, value: RowValue) -> Row {
    let mut row = row.clone();
    row.values.insert(column, value);
    row
}

fn tagged(row: &Row, tags: &[&str]) -> Row {
    let mut row = row.clone();
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    row.links.insert(TAGS, tags);
    row
}

/// A commit of one event that makes one row of another.
fn change(id: &str, expected: u64, before: Option<&Row>, after: Option<&Row>) -> Commit {
    let mut change = commit(&stream(id), expected, 1);
    change.row = Some(Box::new(RowChange {
        table: Arc::clone(&THINGS),
        before: before.cloned(),
        after: after.cloned(),
        on_insert: vec![
            ("made_by", RowValue::Text("-1".to_owned())),
            ("changed_by", RowValue::Null),
        ],
        on_update: vec![("changed_by", RowValue::Text(format!("v{}", expected + 1)))],
        track: track(expected + 1, expected + 1, after),
        versioned_by: VersionedBy::Log,
    }));
    change
}

fn track(version: u64, log_version: u64, row: Option<&Row>) -> RowTrack {
    RowTrack {
        version: Version::new(version),
        log_version: Version::new(log_version),
        marks: row.map(RowMarks::of),
        agreed: row.map(RowMarks::of),
        rowless: None,
    }
}

/// As [`change`], by a commit without events whose version is the track's.
fn tracked(id: &str, expected: u64, before: Option<&Row>, after: Option<&Row>) -> Commit {
    let mut commit = change(id, expected, before, after);
    commit.events.clear();
    let key = format!("dormouse:{}", super::fresh_id());
    commit.receipt = Some(super::receipt(&key, None));
    if let Some(row) = &mut commit.row {
        row.versioned_by = VersionedBy::Track;
        row.track.log_version = Version::ZERO;
        row.track.agreed = None;
    }
    commit
}

fn id(id: &str) -> AggregateId {
    let StreamId { aggregate_id, .. } = stream(id);
    aggregate_id
}

fn is_committed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Committed { .. })
}
