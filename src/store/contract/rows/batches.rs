//! Rows and the commits that write them: both or neither.

use super::{Beside, change, full_row, is_committed, row, tagged, with};
use crate::{
    domain::{RowMarks, RowValue},
    store::{
        AppendError, Commit, Loss, Verdict,
        contract::{Fixture, append, claim, positions, stream, whole_log},
    },
};

/// A row is inserted, changed and deleted with the events of its commits, links and all; stamps are
/// written with it, and a column that is not mapped is left alone.
pub async fn a_row_is_written_with_its_events(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (plain, full) = (row("one"), full_row("two"));

    let inserted = append(&*beside.store, vec![change("a", 0, None, Some(&full))]).await;
    let after_insert = beside.load("a").await;
    beside.other.set("a", "note", Some("theirs")).await;
    let changed = append(
        &*beside.store,
        vec![change("a", 1, Some(&full), Some(&plain))],
    )
    .await;
    let after_change = beside.load("a").await;

    assert_eq!(positions(&[inserted, changed].concat()), [1, 2]);
    assert_eq!(after_insert.row.as_ref(), Some(&full));
    let stamps = vec![
        ("made_by", RowValue::Text("-1".to_owned())),
        ("changed_by", RowValue::Null),
    ];
    assert_eq!(after_insert.stamps, stamps);
    assert_eq!(after_change.row.as_ref(), Some(&plain));
    let stamps = vec![
        ("made_by", RowValue::Text("-1".to_owned())),
        ("changed_by", RowValue::Text("v2".to_owned())),
    ];
    assert_eq!(after_change.stamps, stamps);
    let track = after_change.track.expect("a track");
    assert_eq!((track.version.get(), track.log_version.get()), (2, 2));
    assert_eq!(track.marks, Some(RowMarks::of(&plain)));
    assert_eq!(track.agreed, Some(RowMarks::of(&plain)));
    let note = beside.other.text("a", "note").await;
    assert_eq!(note.as_deref(), Some("theirs"));
    let deleted = append(&*beside.store, vec![change("a", 2, Some(&plain), None)]).await;
    assert_eq!(positions(&deleted), [3]);
    let gone = beside.load("a").await;
    assert_eq!(gone.row, None);
    assert_eq!(gone.track.expect("a track").marks, None);
    assert_eq!(beside.other.text("a", "name").await, None);
}

/// What is not given when a row is inserted is what its table says.
pub async fn an_inserted_row_has_its_tables_defaults(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };

    append(
        &*beside.store,
        vec![change("a", 0, None, Some(&row("one")))],
    )
    .await;

    let note = beside.other.text("a", "note").await;
    assert_eq!(note.as_deref(), Some("unset"));
}

/// A commit that loses writes no row, and neither do those that follow it.
pub async fn a_commit_that_loses_leaves_its_row(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two, three) = (row("one"), row("two"), row("three"));
    let mut first = change("a", 0, None, Some(&one));
    first.takes = vec![claim("taken")];
    append(&*beside.store, vec![first]).await;
    let mut loser = change("b", 0, None, Some(&two));
    loser.takes = vec![claim("taken")];

    let batch = vec![
        loser,
        change("b", 1, Some(&two), Some(&three)),
        change("a", 0, Some(&one), Some(&three)),
    ];
    let verdicts = append(&*beside.store, batch).await;

    assert!(matches!(verdicts[0], Verdict::Lost(Loss::Claim { .. })));
    assert!(matches!(verdicts[1], Verdict::Lost(Loss::Version { .. })));
    assert!(matches!(verdicts[2], Verdict::Lost(Loss::Version { .. })));
    let b = beside.load("b").await;
    assert!(b.row.is_none() && b.track.is_none());
    assert_eq!(beside.row("a").await, Some(one));
    assert_eq!(whole_log(&*beside.store).await.len(), 1);
}

/// Commits of one aggregate on top of one another write its row once: as the last one says.
pub async fn commits_of_one_row_in_a_batch_lead_to_the_last(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let rows: Vec<_> = (0..20)
        .map(|number| {
            let sized = with(&row("hot"), "size", RowValue::Int(number));
            tagged(&sized, &[&format!("t{}", number % 3), "stays"])
        })
        .collect();
    let mut batch = vec![change("hot", 0, None, Some(&rows[0]))];
    for (version, pair) in (1..).zip(rows.windows(2)) {
        batch.push(change("hot", version, Some(&pair[0]), Some(&pair[1])));
        let other = row(&format!("o{version}"));
        batch.push(change(&format!("o{version}"), 0, None, Some(&other)));
    }

    let verdicts = append(&*beside.store, batch).await;
    let gone = [
        change("hot", 20, Some(&rows[19]), None),
        change("hot", 21, None, Some(&rows[3])),
        change("hot", 22, Some(&rows[3]), Some(&rows[4])),
        change("brief", 0, None, Some(&row("brief"))),
        change("brief", 1, Some(&row("brief")), None),
    ];
    let loaded = beside.load("hot").await;
    let later = append(&*beside.store, gone.to_vec()).await;

    assert!(verdicts.iter().all(is_committed), "{verdicts:?}");
    assert_eq!(loaded.row.as_ref(), Some(&rows[19]));
    assert_eq!(loaded.stamps[1].1, RowValue::Text("v20".to_owned()));
    assert_eq!(loaded.track.expect("a track").version.get(), 20);
    assert!(later.iter().all(is_committed), "{later:?}");
    assert_eq!(beside.row("hot").await.as_ref(), Some(&rows[4]));
    assert_eq!(beside.row("brief").await, None);
    let version = beside.store.current_version(&stream("brief")).await;
    assert_eq!(version.expect("a version").get(), 2);
}

/// A unique index of theirs refuses one of 64 commits; the other 63 are stored without a gap.
pub async fn a_unique_index_refuses_exactly_its_commit(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    beside.other.insert("theirs", "wanted").await;
    let mut batch: Vec<Commit> = (0..64)
        .map(|number| {
            let name = format!("n{number}");
            change(&format!("a{number}"), 0, None, Some(&row(&name)))
        })
        .collect();
    batch[41] = change("a41", 0, None, Some(&row("wanted")));

    let mut verdicts = append(&*beside.store, batch).await;
    let twin = append(&*beside.store, vec![change("b", 0, None, Some(&row("n7")))]).await;

    let refused = verdicts.remove(41);
    let Verdict::Lost(Loss::Refused { claim }) = &refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!((&*claim.name, &*claim.value), ("name", "wanted"));
    assert_eq!(positions(&verdicts), (1..=63).collect::<Vec<u64>>());
    assert!(matches!(twin[0], Verdict::Lost(Loss::Refused { .. })));
    assert_eq!(whole_log(&*beside.store).await.len(), 63);
    let refused = beside.load("a41").await;
    assert!(refused.row.is_none() && refused.track.is_none());
    assert_eq!(beside.row("a63").await, Some(row("n63")));
}

/// A unique value may move from one row to another in a batch, and two that want one at once do not
/// both get it.
pub async fn a_unique_value_moves_between_rows_in_a_batch(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    append(&*beside.store, vec![change("a", 0, None, Some(&row("x")))]).await;

    let batch = vec![
        change("a", 1, Some(&row("x")), Some(&row("y"))),
        change("b", 0, None, Some(&row("x"))),
        change("c", 0, None, Some(&row("x"))),
        change("d", 0, None, Some(&row("z"))),
    ];
    let verdicts = append(&*beside.store, batch).await;

    let stored: Vec<bool> = verdicts.iter().map(is_committed).collect();
    assert_eq!(stored, [true, true, false, true], "{verdicts:?}");
    assert!(matches!(verdicts[2], Verdict::Lost(Loss::Refused { .. })));
    assert_eq!(beside.row("b").await, Some(row("x")));
}

/// A commit with a row is known again, though the row has changed since.
pub async fn a_commit_with_a_row_appended_again_is_known(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let batch = vec![
        change("a", 0, None, Some(&row("one"))),
        change("a", 1, Some(&row("one")), Some(&row("two"))),
    ];
    let first = append(&*beside.store, batch.clone()).await;
    beside.other.set("a", "name", Some("theirs")).await;

    let again = append(&*beside.store, batch).await;

    assert_eq!(positions(&first), [1, 2]);
    assert_eq!(positions(&again), [1, 2]);
    assert_eq!(beside.row("a").await, Some(row("theirs")));
}

/// What was stored of a batch is known, and the rest is written on top of it.
pub async fn a_batch_of_rows_stored_in_part_is_completed(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let batch = vec![
        change("a", 0, None, Some(&row("one"))),
        change("b", 0, None, Some(&row("other"))),
        change("a", 1, Some(&row("one")), Some(&row("two"))),
        change("b", 1, Some(&row("other")), Some(&row("another"))),
    ];
    append(&*beside.store, batch[..2].to_vec()).await;

    let verdicts = append(&*beside.store, batch).await;

    assert_eq!(positions(&verdicts), [1, 2, 3, 4]);
    assert_eq!(beside.row("a").await, Some(row("two")));
    assert_eq!(beside.row("b").await, Some(row("another")));
}

/// Any text comes back as it was; what a database cannot hold, a NUL, fails its commit and no other.
pub async fn any_text_of_a_row_is_kept_or_refused(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    for (number, name) in ["", " ü𝄞 ", "'\"\\,{}NULL", "a\0b", "null"]
        .iter()
        .enumerate()
    {
        let id = format!("a{number}");
        let given = with(&row(name), "status", RowValue::Text("OFF".to_owned()));
        let batch = vec![change(&id, 0, None, Some(&tagged(&given, &[name])))];

        let appended = beside.store.append(batch.into()).await;

        let loaded = beside.row(&id).await;
        match appended {
            Ok(verdicts) => {
                assert!(is_committed(&verdicts[0]), "{name:?} {verdicts:?}");
                assert_eq!(loaded, Some(tagged(&given, &[name])));
            }
            Err(AppendError::Unstorable(_)) if name.contains('\0') => assert_eq!(loaded, None),
            Err(error) => panic!("{name:?}: {error:?}"),
        }
    }
}
