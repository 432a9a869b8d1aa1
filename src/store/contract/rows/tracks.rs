//! What stands beside a row, and versions that are kept there.

use super::{Beside, THINGS, change, is_committed, row, track, tracked};
use crate::{
    domain::{RowMarks, StreamId, Version},
    store::{
        EventStore, Loss, RowTrack, Verdict,
        contract::{
            Fixture, append, assert_lost_version, commit, key, positions, raw, receipt, stream,
            whole_log,
        },
    },
};

/// Where rows alone are kept a commit has no events: its version is that of the track.
pub async fn a_track_versions_a_row_without_events(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two, three) = (row("one"), row("two"), row("three"));

    let ahead = append(&*beside.store, vec![tracked("a", 1, None, Some(&one))]).await;
    let batch = vec![
        tracked("a", 0, None, Some(&one)),
        tracked("a", 1, Some(&one), Some(&two)),
    ];
    let verdicts = append(&*beside.store, batch).await;
    let stale = append(
        &*beside.store,
        vec![tracked("a", 1, Some(&two), Some(&three))],
    )
    .await;
    let mut leap = tracked("a", 2, Some(&two), Some(&three));
    if let Some(row) = &mut leap.row {
        row.track = track(5, 0, Some(&three));
    }
    let next = append(
        &*beside.store,
        vec![leap, tracked("a", 5, Some(&three), None)],
    )
    .await;

    assert_lost_version(&ahead[0], 0);
    assert_eq!(positions(&verdicts), [0, 0]);
    assert_lost_version(&stale[0], 2);
    assert_eq!(positions(&next), [0, 0]);
    let loaded = beside.load("a").await;
    assert_eq!(loaded.row, None);
    assert_eq!(loaded.track.expect("a track").version.get(), 6);
    assert!(whole_log(&*beside.store).await.is_empty());
}

/// A commit without events is known by its receipt, whatever the row and the track are by then.
pub async fn a_row_without_events_appended_again_is_known(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two) = (row("one"), row("two"));
    let first = tracked("a", 0, None, Some(&one));
    append(&*beside.store, vec![first.clone()]).await;
    append(
        &*beside.store,
        vec![tracked("a", 1, Some(&one), Some(&two))],
    )
    .await;

    let again = append(&*beside.store, vec![first.clone()]).await;
    let mut retried = tracked("a", 2, Some(&two), Some(&one));
    let sent = first.receipt.as_ref().expect("a receipt");
    retried.receipt = Some(receipt(sent.key.as_str(), None));
    let retried = append(&*beside.store, vec![retried]).await;

    assert_eq!(positions(&again), [0]);
    let Verdict::Lost(Loss::Key(found)) = &retried[0] else {
        panic!("not a lost key: {retried:?}");
    };
    assert_eq!(found.id, sent.id);
    assert!(!found.has_events());
    assert_eq!((found.first_version.get(), found.versions()), (1, 1));
    assert_eq!(beside.row("a").await, Some(two));
}

/// Of two that expect one version of a track one wins, and in one batch as well.
pub async fn of_two_writers_at_one_track_one_wins(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let other = fixture.open().await;
    for round in 0..20 {
        let id = format!("a{round}");
        append(&*beside.store, vec![tracked(&id, 0, None, None)]).await;
        let rival = |store: std::sync::Arc<dyn EventStore>| {
            let commit = tracked(&id, 1, None, None);
            async move { super::super::append_among_others(&*store, vec![commit]).await }
        };

        let (one, two) = tokio::join!(
            rival(std::sync::Arc::clone(&beside.store)),
            rival(std::sync::Arc::clone(&other))
        );

        let won = [&one[0], &two[0]].map(is_committed);
        assert!(
            won == [true, false] || won == [false, true],
            "{one:?} {two:?}"
        );
        let lost = if won[0] { &two[0] } else { &one[0] };
        assert_lost_version(lost, 2);
    }
}

/// A track keeps what it is given, and its version never goes back.
pub async fn a_track_is_kept_as_it_is_given(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two) = (row("one"), row("two"));
    append(&*beside.store, vec![commit(&stream("a"), 0, 3)]).await;
    let mut first = tracked("a", 0, None, Some(&one));
    let mut given = track(7, 3, Some(&one));
    given.agreed = Some(RowMarks::of(&two));
    given.rowless = Some(raw(r#"{"deleted":true,"name":"ü"}"#));
    if let Some(row) = &mut first.row {
        row.track = given.clone();
    }
    append(&*beside.store, vec![first]).await;

    let kept = beside.load("a").await.track.expect("a track");
    append(&*beside.store, vec![change("a", 3, Some(&one), None)]).await;
    let later = beside.load("a").await.track.expect("a track");

    assert_eq!(
        (kept.version, kept.log_version),
        (given.version, given.log_version)
    );
    assert_eq!((&kept.marks, &kept.agreed), (&given.marks, &given.agreed));
    let rowless: serde_json::Value = kept
        .rowless
        .and_then(|state| serde_json::from_str(state.get()).ok())
        .expect("a state");
    assert_eq!(rowless, serde_json::json!({ "deleted": true, "name": "ü" }));
    assert_eq!((later.version.get(), later.log_version.get()), (7, 4));
    assert!(later.marks.is_none() && later.agreed.is_none() && later.rowless.is_none());
}

/// Whether a track is written by a commit with events or by one without, the later one counts.
pub async fn the_later_of_two_tracks_counts(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two, three) = (row("one"), row("two"), row("three"));
    // The log is where it was when the track was.
    let tracked = |expected, before, after| {
        let mut commit = tracked("a", expected, before, after);
        if let Some(row) = &mut commit.row {
            row.track.log_version = Version::new(expected);
        }
        commit
    };

    let told = append(&*beside.store, vec![change("a", 0, None, Some(&one))]).await;
    let by_event = beside.load("a").await.track.expect("a track");
    let stale = append(&*beside.store, vec![tracked(0, Some(&one), Some(&two))]).await;
    let alone = append(&*beside.store, vec![tracked(1, Some(&one), Some(&two))]).await;
    let without = beside.load("a").await.track.expect("a track");
    let mut last = change("a", 1, Some(&two), Some(&three));
    last.events.extend(commit(&stream("a"), 2, 1).events);
    if let Some(row) = &mut last.row {
        row.track = track(3, 3, Some(&three));
    }
    let last = append(&*beside.store, vec![last]).await;
    let with_two = beside.load("a").await.track.expect("a track");
    let StreamId { aggregate_type, .. } = stream("a");
    let page = beside
        .rows
        .page(Some(&aggregate_type), &THINGS, None, 10)
        .await;
    let page = page.expect("a page");

    assert!(is_committed(&told[0]), "{told:?}");
    assert!(is_committed(&alone[0]), "{alone:?}");
    assert!(is_committed(&last[0]), "{last:?}");
    assert_lost_version(&stale[0], 1);
    let versions = |track: &RowTrack| (track.version.get(), track.log_version.get());
    assert_eq!(versions(&by_event), (1, 1));
    assert_eq!(by_event.marks, Some(RowMarks::of(&one)));
    assert_eq!(by_event.agreed, Some(RowMarks::of(&one)));
    assert_eq!(versions(&without), (2, 1));
    assert_eq!(without.marks, Some(RowMarks::of(&two)));
    assert_eq!(without.agreed, None);
    assert_eq!(versions(&with_two), (3, 3));
    assert_eq!(with_two.marks, Some(RowMarks::of(&three)));
    let walked = page[0].1.track.as_ref().expect("a track");
    assert_eq!(versions(walked), (3, 3));
    assert_eq!(walked.marks, with_two.marks);
}

/// However many events came after it that say nothing of the row, a track is found.
pub async fn a_track_is_found_behind_many_events(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let (one, two) = (row("one"), row("two"));
    append(&*beside.store, vec![change("a", 0, None, Some(&one))]).await;
    append(&*beside.store, vec![commit(&stream("a"), 1, 100)]).await;
    let tracked = |expected, log_version| {
        let mut commit = tracked("a", expected, Some(&one), Some(&two));
        if let Some(row) = &mut commit.row {
            row.track.log_version = Version::new(log_version);
        }
        commit
    };

    let behind = beside.load("a").await.track.expect("a track");
    let StreamId { aggregate_type, .. } = stream("a");
    let page = beside
        .rows
        .page(Some(&aggregate_type), &THINGS, None, 10)
        .await;
    let stale = append(&*beside.store, vec![tracked(0, 0)]).await;
    let next = append(&*beside.store, vec![tracked(1, 101)]).await;
    let later = beside.load("a").await.track.expect("a track");

    let versions = |track: &RowTrack| (track.version.get(), track.log_version.get());
    assert_eq!(versions(&behind), (1, 1));
    assert_eq!(behind.agreed, Some(RowMarks::of(&one)));
    let page = page.expect("a page");
    assert_eq!(page[0].1.track.as_ref().map(versions), Some((1, 1)));
    assert!(!is_committed(&stale[0]), "{stale:?}");
    assert!(is_committed(&next[0]), "{next:?}");
    assert_eq!(versions(&later), (2, 101));
}

/// Of two that expect one version of a track, one with an event and one without, one wins.
pub async fn of_a_row_alone_and_an_event_one_wins(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    let other = fixture.open().await;
    for round in 0..40 {
        let id = format!("a{round}");
        let (one, two) = (row(&format!("one {round}")), row(&format!("two {round}")));
        append(&*beside.store, vec![change(&id, 0, None, Some(&one))]).await;
        // The event leaves the row as it is, so that no row tells of it.
        let with_event = change(&id, 1, Some(&one), Some(&one));
        let mut alone = tracked(&id, 1, Some(&one), Some(&two));
        if let Some(row) = &mut alone.row {
            row.track.log_version = Version::new(1);
        }

        let (with_event, alone) = tokio::join!(
            super::super::append_among_others(&*beside.store, vec![with_event]),
            super::super::append_among_others(&*other, vec![alone])
        );

        let won = [&with_event[0], &alone[0]].map(is_committed);
        assert!(
            won == [true, false] || won == [false, true],
            "{with_event:?} {alone:?}"
        );
    }
}

/// A commit of the log with a row and without events is checked like any other.
pub async fn a_row_may_be_written_without_an_event(fixture: &impl Fixture) {
    let Some(beside) = Beside::open(fixture).await else {
        return;
    };
    append(&*beside.store, vec![commit(&stream("a"), 0, 2)]).await;
    let rewrite = |expected| {
        let mut commit = change("a", expected, None, Some(&row("one")));
        commit.events.clear();
        commit.receipt = Some(receipt("key", None));
        commit
    };

    let stale = append(&*beside.store, vec![rewrite(1)]).await;
    let right = append(&*beside.store, vec![rewrite(2)]).await;

    assert_lost_version(&stale[0], 2);
    assert!(is_committed(&right[0]));
    assert_eq!(beside.row("a").await, Some(row("one")));
    let found = beside.store.receipt(&stream("a"), &key("key")).await;
    let found = found.expect("an answer").expect("a receipt");
    assert_eq!((found.first_version.get(), found.event_count), (3, 0));
}
