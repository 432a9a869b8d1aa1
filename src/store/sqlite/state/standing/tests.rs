//! Texts against what is read, on tables that hold anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::json;
use sqlx::Connection as _;

use super::*;
use crate::{
    domain::{AggregateId, AggregateType, Column, ColumnKind, Row, RowValue, Secret, StreamId},
    store::RowTrack,
};

/// As loose as tables can be: names without case, tags that may be there twice, or none.
const TABLES: &str = "
    create table aggregate_rows (aggregate_type, aggregate_id, version, log_version, marks,
        agreed, rowless);
    create table domain_events (position integer primary key, aggregate_type, aggregate_id, version,
        row_marks);
    create table things (id text primary key, name text collate nocase, password text,
        active boolean, size integer, seen_at timestamp, doc json, note);
    create table tags (thing text, tag text collate nocase);
    insert into aggregate_rows (aggregate_type, aggregate_id, version, log_version)
        values ('Thing', 't1', 4, 4);
    insert into things values
        ('t1', 'Ann', 'hash', 1, 7, '2024-05-05 05:05:05.120', '{\"a\":1}', null),
        ('t2', 'Bob', null, 0, 0, null, null, null);
    insert into tags values ('t1', 'blue'), ('t1', 'red'), ('t2', 'green');";

async fn tables() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:")
        .await
        .expect("a database in memory");
    sqlx::raw_sql(TABLES)
        .execute(&mut connection)
        .await
        .expect("tables");
    connection
}

fn table() -> StateTable {
    StateTable {
        name: "things".into(),
        key: "id",
        columns: vec![
            Column::text("name"),
            Column::new("password", ColumnKind::Secret),
            Column::new("active", ColumnKind::Bool),
            Column::new("size", ColumnKind::Int),
            Column::new("seen_at", ColumnKind::Time),
            Column::new("doc", ColumnKind::Json),
        ],
        stamps: Vec::new(),
        links: vec![LinkTable {
            name: "tags",
            owner: "thing",
            member: "tag",
        }],
    }
}

fn row(name: &str, size: i64, tags: &[&str]) -> Row {
    let tags: BTreeSet<String> = tags.iter().map(ToString::to_string).collect();
    Row {
        values: BTreeMap::from([
            ("name", RowValue::Text(name.to_owned())),
            ("password", RowValue::Null),
            ("active", RowValue::Bool(false)),
            ("size", RowValue::Int(size)),
            ("seen_at", RowValue::Null),
            ("doc", RowValue::Null),
        ]),
        links: BTreeMap::from([("tags", tags)]),
    }
}

/// The first row as it is read, with a value of each kind.
fn ann() -> Row {
    let mut ann = row("Ann", 7, &["blue", "red"]);
    let seen_at = DateTime::from_timestamp_millis(1_714_885_505_120).expect("a time");
    ann.values.extend([
        ("password", RowValue::Secret(Secret::new("hash".to_owned()))),
        ("active", RowValue::Bool(true)),
        ("seen_at", RowValue::Time(seen_at)),
        ("doc", RowValue::Json(json!({ "a": 1 }))),
    ]);
    ann
}

/// Whether two rows, the first decided on as `before`, are the same as text, and as read.
async fn are_same_as(
    connection: &mut SqliteConnection,
    before: Option<&Row>,
    expected: Option<Version>,
) -> (bool, bool) {
    let (table, bob) = (table(), row("Bob", 0, &["green"]));
    let streams = ["t1", "t2"].map(|id| StreamId {
        aggregate_type: AggregateType::parse("Thing").expect("a name"),
        aggregate_id: AggregateId::parse(id).expect("an id"),
    });
    let track = RowTrack {
        version: Version::new(5),
        log_version: Version::new(5),
        marks: None,
        agreed: None,
        rowless: None,
    };
    let change = |stream, before, expected| NetChange {
        stream,
        table: &table,
        before,
        after: before,
        stamps: Vec::new(),
        track: &track,
        is_carried: false,
        expected,
    };
    let changes = [
        change(&streams[0], before, expected),
        change(&streams[1], Some(&bob), None),
    ];
    let group: Vec<_> = changes.iter().collect();
    let texts = are_same_texts(connection, &group).await;
    let same = are_same(connection, &group).await;
    let both = are_as_decided(connection, &changes)
        .await
        .expect("an answer");
    let (texts, same) = (texts.expect("an answer"), same.expect("an answer"));
    assert_eq!(both, texts || same);
    (texts, same)
}

#[tokio::test]
async fn rows_that_are_other_texts_are_compared_as_they_are_read_and_no_others_are_taken() {
    let (same, only_read, other) = ((true, true), (false, true), (false, false));
    for (change, expected) in [
        ("select 1", same),
        ("update things set note = 'not mapped'", same),
        (
            "update things set active = true, size = '7' where id = 't1'",
            same,
        ),
        (
            "update things set active = 'true' where id = 't1'",
            only_read,
        ),
        ("update things set seen_at = seen_at || '000'", only_read),
        (
            "update things set doc = '{ \"a\": 1 }' where id = 't1'",
            only_read,
        ),
        ("update things set name = 'ANN' where id = 't1'", other),
        ("update things set name = cast(name as blob)", other),
        ("update things set name = cast(x'ff' as text)", other),
        ("update things set name = null", other),
        (
            "update things set password = 'hash2' where id = 't1'",
            other,
        ),
        ("update things set size = 7.5 where id = 't1'", other),
        ("update things set seen_at = null", other),
        ("update things set size = 1 where id = 't2'", other),
        ("delete from things where id = 't1'", other),
        ("delete from things where id = 't2'", other),
        ("update tags set tag = 'RED' where tag = 'red'", other),
        ("update tags set tag = cast(tag as blob)", other),
        ("update tags set tag = 'red' where tag = 'blue'", other),
        ("delete from tags where tag = 'red'", other),
        ("insert into tags values ('t1', 'green')", other),
        ("insert into tags values ('t1', x'00')", other),
        ("insert into tags values ('t1', 'red')", only_read),
        ("insert into tags values ('t1', null), ('t3', 'red')", same),
    ] {
        let mut connection = tables().await;
        sqlx::raw_sql(change)
            .execute(&mut connection)
            .await
            .expect("a change");

        let found = are_same_as(&mut connection, Some(&ann()), None).await;

        assert_eq!(found, expected, "{change}");
    }
}

#[tokio::test]
async fn a_row_that_must_be_absent_and_a_track_that_must_be_somewhere_are_asked_for() {
    let mut connection = tables().await;

    let mut found = Vec::new();
    for (before, expected) in [
        (None, None),
        (Some(ann()), Some(4)),
        (Some(ann()), Some(3)),
        (Some(ann()), Some(0)),
    ] {
        let expected = expected.map(Version::new);
        found.push(are_same_as(&mut connection, before.as_ref(), expected).await);
    }
    sqlx::raw_sql("delete from things where id = 't1'; delete from aggregate_rows")
        .execute(&mut connection)
        .await
        .expect("a change");
    found.push(are_same_as(&mut connection, None, Some(Version::ZERO)).await);

    let (same, other) = ((true, true), (false, false));
    assert_eq!(found, [other, same, other, other, same]);
}

#[tokio::test]
async fn a_member_with_a_nul_is_never_told_by_its_text() {
    let mut connection = tables().await;
    let mut ann = ann();
    ann.links
        .insert("tags", BTreeSet::from(["red\0".to_owned()]));

    let found = are_same_as(&mut connection, Some(&ann), None).await;

    assert_eq!(found, (false, false));
}
