//! Tables as they are in the world, and which of them cannot be used.

use std::sync::Arc;

use dormouse::{
    domain::{Column, ColumnKind, LinkTable, RowValue, Secret, StateTable},
    store::{EventStore, RowAccess, TableError},
};
use serde_json::json;

use super::{
    super::{Database, commit, position},
    Neighbour, load, row, table, text, writing,
};

async fn problem(store: &impl EventStore, table: &StateTable) -> String {
    let checked = store
        .state_rows()
        .unwrap()
        .check(table, RowAccess::Write)
        .await;
    match checked {
        Ok(()) => "none".to_owned(),
        Err(error @ TableError::Unfit { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
    }
}

/// Tables of which few fit.
const TABLES: &str = "create table t (id text primary key, a text, b text not null); \
    create table no_key (id text, a text); \
    create table odd_key (id jsonb primary key, a text); \
    create table twice (id text, a text, primary key (id, a)); \
    create table made (id text primary key, a text generated always as (id) stored); \
    create view seen as select * from t; \
    create table links (t text, m text, n text not null)";

#[tokio::test]
async fn a_table_that_does_not_fit_is_told_with_its_column() {
    let database = Database::fresh().await;
    Neighbour::at(&database.url).await.run(TABLES).await;
    let store = database.store().await;
    let linked = |name| {
        let mut linked = StateTable::clone(&table("t", &["a", "b"]));
        linked.links = vec![LinkTable {
            name,
            owner: "t",
            member: "m",
        }];
        linked
    };
    let mut timed = StateTable::clone(&table("t", &["b"]));
    timed.columns.push(Column::new("a", ColumnKind::Time));
    let mut whole = StateTable::clone(&table("odd_key", &["a"]));
    whole.key = "a";

    for (table, expected) in [
        (StateTable::clone(&table("t", &["a", "b"])), "none"),
        (timed, "none"),
        (
            StateTable::clone(&table("t", &["a"])),
            "`t` has a column `b` that must be given",
        ),
        (
            StateTable::clone(&table("t", &["a", "b", "c"])),
            "`t` has no column `c`",
        ),
        (
            StateTable::clone(&table("gone", &["a"])),
            "`gone` is not there",
        ),
        (
            StateTable::clone(&table("no_key", &["a"])),
            "no unique index on its key `id` alone",
        ),
        (
            StateTable::clone(&table("twice", &["a"])),
            "no unique index on its key `id` alone",
        ),
        (
            StateTable::clone(&table("odd_key", &["a"])),
            "key `id` that is no text, uuid or",
        ),
        (whole, "no unique index on its key `a` alone"),
        (
            StateTable::clone(&table("made", &["a"])),
            "column `a` that is generated",
        ),
        (
            StateTable::clone(&table("seen", &["a", "b"])),
            "`seen` is no table",
        ),
        (
            linked("links"),
            "`links` has a column `n` that must be given",
        ),
        (linked("absent"), "`absent` is not there"),
    ] {
        let problem = problem(&store, &table).await;

        assert!(problem.contains(expected), "{problem}");
    }
}

#[tokio::test]
async fn keys_and_columns_of_many_types_are_read_as_they_were_written() {
    let database = Database::fresh().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour
        .run(
            "create schema \"Odd.s\"; create schema other; \
             create table other.\"Numbers\" (id integer primary key, yes smallint, \
             amount numeric(10,2), day date, at timestamptz(0), doc json, code char(8), \
             real double precision, \"Weird \"\"name\" text, list text[]); \
             create table other.uuids (id uuid primary key, a text)",
        )
        .await;
    let store = database.store().await;
    let mut numbers = StateTable::clone(&table(
        "other.Numbers",
        &["amount", "code", "real", "Weird \"name", "list"],
    ));
    for (name, kind) in [
        ("yes", ColumnKind::Bool),
        ("day", ColumnKind::Time),
        ("at", ColumnKind::Time),
        ("doc", ColumnKind::Json),
    ] {
        numbers.columns.push(Column::new(name, kind));
    }
    let numbers = Arc::new(numbers);
    let time = |text: &str| RowValue::Time(text.parse().unwrap());
    let given = row(&[
        ("amount", text("12.505")),
        ("code", text("ab")),
        ("real", text("0.1")),
        ("Weird \"name", text("ü")),
        ("list", text("{a,\"b c\"}")),
        ("yes", RowValue::Bool(true)),
        ("day", time("2024-05-15T13:00:00Z")),
        ("at", time("2024-05-15T01:02:03.4Z")),
        ("doc", RowValue::Json(json!({ "b": 1, "a": [null] }))),
    ]);
    assert_eq!(problem(&store, &numbers).await, "none");

    let made = writing(commit("7", 0, 1), &numbers, None, Some(&given));
    let verdict = store.save(made).await.unwrap();
    let read = load(&store, &numbers, "7").await.row.unwrap();
    // What was rounded on its way in is still what it was decided on.
    let mut next = given.clone();
    next.values.insert("code", text("xyz"));
    let changed = writing(commit("7", 1, 1), &numbers, Some(&given), Some(&next));
    let changed = store.save(changed).await.unwrap();

    assert_eq!((position(&verdict), position(&changed)), (1, 2));
    let mut expected = given.clone();
    expected.values.insert("amount", text("12.51"));
    expected.values.insert("day", time("2024-05-15T00:00:00Z"));
    expected.values.insert("at", time("2024-05-15T01:02:03Z"));
    assert_eq!(read, expected);
    // Another writing of a number is another id, and no row.
    for id in ["07", "x", "99999999999"] {
        assert!(load(&store, &numbers, id).await.row.is_none(), "{id}");
    }
}

#[tokio::test]
async fn an_id_that_can_be_no_key_has_no_row_and_gets_none() {
    let database = Database::fresh().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour
        .run("create table uuids (id uuid primary key, a text)")
        .await;
    let store = database.store().await;
    let uuids = table("uuids", &["a"]);
    let given = row(&[("a", text("x"))]);
    let id = "0190a3c4-5f6b-7d8e-9f00-112233445566";

    let made = writing(commit(id, 0, 1), &uuids, None, Some(&given));
    let made = store.save(made).await.unwrap();
    let odd = writing(commit("odd", 0, 1), &uuids, None, Some(&given));
    let odd = store.save(odd).await;
    let rowless = writing(commit("rowless", 0, 1), &uuids, None, None);
    let rowless = store.save(rowless).await.unwrap();

    assert_eq!((position(&made), position(&rowless)), (1, 2));
    assert!(odd.is_err(), "{odd:?}");
    assert_eq!(load(&store, &uuids, id).await.row, Some(given));
    assert!(load(&store, &uuids, &id.to_uppercase()).await.row.is_none());
    assert!(load(&store, &uuids, "odd").await.row.is_none());
}

#[tokio::test]
async fn values_of_another_kind_than_mapped_stay_text() {
    let database = Database::fresh().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour
        .run(
            "create table t (id text primary key, a text, b text, c timestamp, d text); \
             insert into t values ('1', 'maybe', '2024-05-15 01:02:03.5', 'infinity', 's')",
        )
        .await;
    let store = database.store().await;
    let mapped = Arc::new(StateTable {
        columns: vec![
            Column::new("a", ColumnKind::Bool),
            Column::new("b", ColumnKind::Time),
            Column::new("c", ColumnKind::Time),
            Column::new("d", ColumnKind::Secret),
        ],
        ..StateTable::clone(&table("t", &[]))
    });

    let read = load(&store, &mapped, "1").await.row.unwrap();

    let time = "2024-05-15T01:02:03.5Z".parse().unwrap();
    let secret = RowValue::Secret(Secret::new("s".to_owned()));
    let expected = row(&[
        ("a", text("maybe")),
        ("b", RowValue::Time(time)),
        ("c", RowValue::Null),
        ("d", secret),
    ]);
    assert_eq!(read, expected);
}
