//! Others write the rows at the same time.

use std::sync::Arc;

use super::{Beside, THINGS, change, id, is_committed, row, tagged, tracked, with};
use crate::{
    domain::{AggregateType, Row, RowValue, Version},
    store::{
        Commit, LoadedRow, Loss, Verdict,
        contract::{Fixture, append, append_among_others, positions, stream, whole_log},
    },
};

fn assert_lost_row(verdict: &Verdict) {
    assert!(matches!(verdict, Verdict::Lost(Loss::Row)), "{verdict:?}");
}

/// Of 64 commits those lose whose rows another program has changed, made or removed since they were
/// decided; the others are stored without a gap.
pub async fn a_row_of_another_program_loses_exactly_its_commit(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let name = |number: usize| row(&format!("n{number}"));
    let ids: Vec<String> = (0..64).map(|number| format!("a{number}")).collect();
    let made = (0..60).map(|number| change(&ids[number], 0, None, Some(&name(number))));
    append(&*beside.store, made.collect()).await;
    beside.other.set("a5", "status", Some("OFF")).await;
    beside.other.set("a6", "password", Some("x")).await;
    beside.other.tag("a17", "new", true).await;
    beside.other.remove("a30").await;
    beside.other.insert("a61", "theirs").await;
    beside.other.set("a7", "note", Some("not mapped")).await;

    let batch = (0..64).map(|number| {
        let after = with(&name(number), "size", RowValue::Int(1));
        match number {
            0..60 => change(&ids[number], 1, Some(&name(number)), Some(&after)),
            _ => change(&ids[number], 0, None, Some(&after)),
        }
    });
    let mut verdicts = append(&*beside.store, batch.collect()).await;

    for number in [61, 30, 17, 6, 5] {
        assert_lost_row(&verdicts.remove(number));
    }
    assert_eq!(positions(&verdicts), (61..120).collect::<Vec<u64>>());
    assert_eq!(whole_log(&*beside.store).await.len(), 60 + 59);
    let off = RowValue::Text("OFF".to_owned());
    assert_eq!(beside.row("a5").await, Some(with(&name(5), "status", off)));
    assert_eq!(beside.row("a17").await, Some(tagged(&name(17), &["new"])));
    assert_eq!(beside.row("a30").await, None);
    assert_eq!(beside.row("a61").await, Some(row("theirs")));
    let note = beside.other.text("a7", "note").await;
    assert_eq!(note.as_deref(), Some("not mapped"));
}

/// A commit that writes only the track, or deletes, loses as well where the row is another.
pub async fn a_commit_that_changes_no_column_still_needs_its_row(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let one = row("one");
    append(&*beside.store, vec![change("kept", 0, None, Some(&one))]).await;
    let two = row("two");
    append(&*beside.store, vec![change("gone", 0, None, Some(&two))]).await;

    let right = append(
        &*beside.store,
        vec![change("kept", 1, Some(&one), Some(&one))],
    )
    .await;
    beside.other.set("kept", "status", Some("OFF")).await;
    beside.other.tag("gone", "tag", true).await;
    beside.other.insert("there", "three").await;
    let batch = vec![
        change("kept", 2, Some(&one), Some(&one)),
        change("gone", 1, Some(&two), None),
        change("there", 0, None, None),
        change("nowhere", 0, None, None),
    ];
    let verdicts = append(&*beside.store, batch).await;

    assert!(is_committed(&right[0]));
    verdicts[..3].iter().for_each(assert_lost_row);
    assert!(is_committed(&verdicts[3]));
    assert!(beside.load("nowhere").await.track.is_some());
}

/// Links go and come one by one, and those of others stay.
pub async fn links_change_by_their_difference(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (none, two) = (row("a"), tagged(&row("a"), &["1", "2"]));
    append(&*beside.store, vec![change("a", 0, None, Some(&two))]).await;
    append(
        &*beside.store,
        vec![change("b", 0, None, Some(&tagged(&row("b"), &["1"])))],
    )
    .await;

    let next = tagged(&none, &["2", "3"]);
    let verdicts = append(
        &*beside.store,
        vec![change("a", 1, Some(&two), Some(&next))],
    )
    .await;
    beside.other.tag("a", "2", false).await;
    let stale = append(
        &*beside.store,
        vec![change("a", 2, Some(&next), Some(&none))],
    )
    .await;
    let now = tagged(&none, &["3"]);
    let right = append(&*beside.store, vec![change("a", 2, Some(&now), None)]).await;

    assert!(is_committed(&verdicts[0]));
    assert_lost_row(&stale[0]);
    assert!(is_committed(&right[0]));
    assert_eq!(beside.row("b").await, Some(tagged(&row("b"), &["1"])));
    beside.other.insert("a", "again").await;
    assert_eq!(
        beside.row("a").await,
        Some(row("again")),
        "no link was left"
    );
}

/// Rows come in pages, those under keys that are no ids too, each with its track, or without where none
/// is asked for.
pub async fn rows_are_paged_by_key(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    for id in ["b", "no id", "d", "a"] {
        beside.other.insert(id, id).await;
    }
    append(
        &*beside.store,
        vec![change("c", 0, None, Some(&tagged(&row("c"), &["1", "2"])))],
    )
    .await;
    let aggregate_type = stream("a").aggregate_type;

    let found = paged(&beside, Some(&aggregate_type)).await;
    let without = paged(&beside, None).await;

    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "no id"]);
    for (key, loaded) in &found {
        let expected = if key == "c" {
            tagged(&row("c"), &["1", "2"])
        } else {
            row(key)
        };
        assert_eq!(loaded.row.as_ref(), Some(&expected));
        assert_eq!(loaded.track.is_some(), key == "c");
    }
    assert_eq!(without.len(), found.len());
    for ((key, alone), (of, loaded)) in without.iter().zip(&found) {
        assert_eq!((key, &alone.row), (of, &loaded.row));
        assert_eq!(alone.stamps, loaded.stamps);
        assert!(alone.track.is_none(), "{key}");
    }
}

async fn paged(beside: &Beside, of: Option<&AggregateType>) -> Vec<(String, LoadedRow)> {
    let mut found: Vec<(String, LoadedRow)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.as_str());
        let page = beside.rows.page(of, &THINGS, after, 2).await;
        let page = page.expect("a page");
        if page.is_empty() {
            return found;
        }
        assert!(page.len() <= 2);
        found.extend(page);
    }
}

/// Rows are loaded in the order in which they are asked for, of whatever is there of them.
pub async fn rows_are_loaded_in_the_order_asked_for(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    beside.other.insert("theirs", "theirs").await;
    let ours = tagged(&row("ours"), &["1"]);
    append(&*beside.store, vec![change("ours", 0, None, Some(&ours))]).await;
    append(&*beside.store, vec![tracked("track", 0, None, None)]).await;
    let aggregate_type = stream("a").aggregate_type;

    let ids = ["track", "theirs", "nothing", "ours", "theirs"].map(id);
    let loaded = beside.rows.load(&aggregate_type, &THINGS, &ids).await;

    let loaded = loaded.expect("the rows");
    let rows: Vec<Option<Row>> = loaded.iter().map(|loaded| loaded.row.clone()).collect();
    let theirs = Some(row("theirs"));
    assert_eq!(rows, [None, theirs.clone(), None, Some(ours), theirs]);
    let tracks: Vec<bool> = loaded.iter().map(|loaded| loaded.track.is_some()).collect();
    assert_eq!(tracks, [true, false, false, true, false]);
}

/// How many rows are fought over, and how often each of eight writers adds to one.
const ROWS: usize = 4;
const ROUNDS: usize = 15;

/// Eight writers add to sizes that another program adds to at the same time: nothing is lost.
pub async fn nothing_that_others_write_is_lost(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let beside = Arc::new(beside);
    for number in 0..ROWS {
        beside
            .other
            .insert(&format!("r{number}"), &format!("n{number}"))
            .await;
    }

    let mut tasks = Vec::new();
    for writer in 0..8 {
        let beside = Arc::clone(&beside);
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                add_one(&beside, (writer + round) % ROWS).await;
            }
        }));
    }
    for updater in 0..2 {
        let beside = Arc::clone(&beside);
        tasks.push(tokio::spawn(async move {
            for round in 0..30 {
                let row = format!("r{}", (updater + round) % ROWS);
                beside.other.grow(&row, 1000).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a writer that ended well");
    }

    let mut total = 0;
    for number in 0..ROWS {
        let row = beside.row(&format!("r{number}")).await.expect("a row");
        let RowValue::Int(size) = row.values["size"] else {
            panic!("no size: {row:?}");
        };
        total += size;
    }
    assert_eq!(
        total,
        8 * i64::try_from(ROUNDS).unwrap_or(0) + 2 * 30 * 1000
    );
    // The rows with even numbers have their versions in the log, the others in their tracks.
    assert_eq!(whole_log(&*beside.store).await.len(), 8 * ROUNDS / 2);
}

/// Decides on what is there, until it is what is written on.
async fn add_one(beside: &Beside, number: usize) {
    let id = format!("r{number}");
    for _ in 0..1000 {
        let version = beside.store.current_version(&stream(&id)).await;
        let version = version.expect("a version");
        let loaded = beside.load(&id).await;
        let commit = one_more(&id, number, version, &loaded);
        let verdicts = append_among_others(&*beside.store, vec![commit]).await;
        if is_committed(&verdicts[0]) {
            return;
        }
        let lost = matches!(
            verdicts[0],
            Verdict::Lost(Loss::Row | Loss::Version { .. } | Loss::Contested)
        );
        assert!(lost, "{verdicts:?}");
        tokio::task::yield_now().await;
    }
    panic!("a writer found no place among others");
}

fn one_more(id: &str, number: usize, version: Version, loaded: &LoadedRow) -> Commit {
    let before = loaded.row.as_ref().expect("a row");
    let RowValue::Int(size) = before.values["size"] else {
        panic!("no size: {before:?}");
    };
    let after = with(before, "size", RowValue::Int(size + 1));
    if number.is_multiple_of(2) {
        return change(id, version.get(), Some(before), Some(&after));
    }
    let track = loaded.track.as_ref();
    let version = track.map_or(0, |track| track.version.get());
    tracked(id, version, Some(before), Some(&after))
}
