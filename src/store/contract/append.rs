//! A batch: each commit on its own, all of them in order.

use super::{Fixture, append, assert_lost_version, claim, commit, event_ids, first_position};
use super::{key, positions, receipt, stream, whole_log};
use crate::store::{Commit, EventStore, Loss, Verdict};

/// A batch of nothing has no verdicts.
pub async fn an_empty_batch_is_stored(fixture: &impl Fixture) {
    let store = fixture.open().await;

    let verdicts = append(&*store, Vec::new()).await;

    assert!(verdicts.is_empty());
    assert!(whole_log(&*store).await.is_empty());
}

/// Whatever number of rows an adapter writes in one statement, none is lost at its edges.
pub async fn a_batch_of_any_size_keeps_its_order(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut ids = Vec::new();
    for size in [1_u64, 2, 3, 31, 32, 33, 63, 64, 65, 200] {
        let batch: Vec<Commit> = (0..size)
            .map(|index| {
                let name = format!("s{size}-{index}");
                let mut commit = commit(&stream(&name), 0, index % 3);
                commit.takes = (0..index % 4)
                    .map(|n| claim(&format!("{name}-{n}")))
                    .collect();
                commit.receipt = Some(receipt("key", None));
                commit
            })
            .collect();
        ids.extend(event_ids(&batch));

        let verdicts = append(&*store, batch.clone()).await;

        assert!(
            verdicts
                .iter()
                .all(|verdict| first_position(verdict).is_some())
        );
        for commit in &batch {
            let found = store.receipt(&commit.stream, &key("key")).await;
            assert!(found.expect("an answer").is_some(), "{}", commit.stream);
            for taken in &commit.takes {
                let holder = store
                    .claim_holder(&commit.stream.aggregate_type, taken)
                    .await;
                assert_eq!(
                    holder.expect("it"),
                    Some(commit.stream.aggregate_id.clone())
                );
            }
        }
    }
    let log = whole_log(&*store).await;
    assert_eq!(log.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
}

/// Who expects a version that is past leaves nothing.
pub async fn a_stale_writer_gets_a_version_conflict(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 3)]).await;

    for stale in [0, 1, 2] {
        let verdicts = append(&*store, vec![commit(&one, stale, 1)]).await;

        assert_lost_version(&verdicts[0], 3);
    }
    assert_eq!(whole_log(&*store).await.len(), 3);
}

/// Who expects a version that is yet to come leaves nothing: no gap can arise.
pub async fn a_writer_ahead_of_its_stream_gets_a_version_conflict(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, absent) = (stream("one"), stream("absent"));
    append(&*store, vec![commit(&one, 0, 2)]).await;

    let batch = vec![commit(&one, 3, 1), commit(&absent, 1, 1)];
    let verdicts = append(&*store, batch).await;

    assert_lost_version(&verdicts[0], 2);
    assert_lost_version(&verdicts[1], 0);
    assert_eq!(whole_log(&*store).await.len(), 2);
}

/// A no-op with a receipt says of which version it is one, and loses at another.
pub async fn a_commit_without_events_is_checked_like_any_other(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 2)]).await;
    let no_op = |expected, key| Commit {
        receipt: Some(receipt(key, None)),
        ..commit(&one, expected, 0)
    };

    let batch = vec![no_op(1, "stale"), no_op(2, "right"), no_op(3, "ahead")];
    let verdicts = append(&*store, batch).await;
    let first = append(&*store, vec![no_op(0, "first")]).await;

    assert_lost_version(&verdicts[0], 2);
    assert_eq!(first_position(&verdicts[1]), Some(0));
    assert_lost_version(&verdicts[2], 2);
    assert_lost_version(&first[0], 2);
    let stored = [
        ("stale", false),
        ("right", true),
        ("ahead", false),
        ("first", false),
    ];
    for (name, stored) in stored {
        let found = store.receipt(&one, &key(name)).await.expect("an answer");
        assert_eq!(found.is_some(), stored, "{name}");
    }
}

/// Appends 64 commits of two events each, of which the one in the middle loses.
async fn lose_one_of_64(store: &dyn EventStore, spoil: impl Fn(&mut Commit)) -> Verdict {
    let before = whole_log(store).await.len() as u64;
    let mut batch: Vec<Commit> = (0..64)
        .map(|index| commit(&stream(&format!("s{index}")), 0, 2))
        .collect();
    spoil(&mut batch[31]);

    let mut verdicts = append(store, batch.clone()).await;

    let lost = verdicts.remove(31);
    let spoilt = batch.remove(31);
    let expected: Vec<u64> = (0..63).map(|index| before + 1 + 2 * index).collect();
    assert_eq!(positions(&verdicts), expected);
    let log = whole_log(store).await;
    let ids: Vec<_> = log
        .iter()
        .skip(usize::try_from(before).unwrap_or(0))
        .map(|e| e.id)
        .collect();
    assert_eq!(ids, event_ids(&batch));
    for taken in &spoilt.takes {
        let holder = store
            .claim_holder(&spoilt.stream.aggregate_type, taken)
            .await;
        assert_ne!(
            holder.expect("it"),
            Some(spoilt.stream.aggregate_id.clone())
        );
    }
    lost
}

/// One of 64 is stale; the other 63 are stored without a gap.
pub async fn a_commit_that_loses_its_version_fails_no_neighbour(fixture: &impl Fixture) {
    let store = fixture.open().await;
    append(&*store, vec![commit(&stream("s31"), 0, 1)]).await;

    let lost = lose_one_of_64(&*store, |_| {}).await;

    assert_lost_version(&lost, 1);
}

/// One of 64 takes what another holds; the other 63 are stored without a gap.
pub async fn a_commit_that_loses_its_claim_fails_no_neighbour(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut holder = commit(&stream("holder"), 0, 1);
    holder.takes = vec![claim("wanted")];
    append(&*store, vec![holder]).await;

    let lost = lose_one_of_64(&*store, |commit| {
        commit.takes = vec![claim("free"), claim("wanted")];
    })
    .await;

    match &lost {
        Verdict::Lost(Loss::Claim {
            claim: taken,
            holder,
        }) => {
            assert_eq!(*taken, claim("wanted"));
            assert_eq!(holder.as_str(), "holder");
        }
        Verdict::Lost(_) | Verdict::Committed { .. } => panic!("not a lost claim: {lost:?}"),
    }
}

/// One of 64 was sent before, under its key; the other 63 are stored without a gap.
pub async fn a_commit_that_loses_its_key_fails_no_neighbour(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut first = commit(&stream("s31"), 0, 2);
    first.receipt = Some(receipt("key", Some("[1]")));
    append(&*store, vec![first.clone()]).await;

    let lost = lose_one_of_64(&*store, |commit| {
        commit.receipt = Some(receipt("key", Some("[2]")));
    })
    .await;

    match &lost {
        Verdict::Lost(Loss::Key(found)) => {
            assert_eq!(Some(found.id), first.receipt.map(|receipt| receipt.id));
            assert_eq!((found.first_version.get(), found.event_count), (1, 2));
            assert_eq!(found.correlation_id, first.correlation_id);
            assert_eq!(found.reply.as_ref().expect("a reply").get(), "[1]");
        }
        Verdict::Lost(_) | Verdict::Committed { .. } => panic!("not a lost key: {lost:?}"),
    }
}

/// Decisions made on top of one another are stored together, others between them.
pub async fn commits_of_one_stream_follow_one_another_in_a_batch(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let batch = vec![
        commit(&one, 0, 2),
        commit(&other, 0, 1),
        commit(&one, 2, 1),
        commit(&other, 1, 1),
        commit(&one, 3, 2),
    ];

    let verdicts = append(&*store, batch.clone()).await;

    assert_eq!(positions(&verdicts), [1, 3, 4, 5, 6]);
    let log = whole_log(&*store).await;
    assert_eq!(
        log.iter().map(|event| event.id).collect::<Vec<_>>(),
        event_ids(&batch)
    );
}

/// What was decided on a state that came to nothing comes to nothing; the rest stays.
pub async fn a_commit_loses_with_the_one_it_follows(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let mut holder = commit(&stream("holder"), 0, 1);
    holder.takes = vec![claim("wanted")];
    append(&*store, vec![holder]).await;
    let mut middle = commit(&one, 1, 1);
    middle.takes = vec![claim("wanted")];
    let batch = vec![
        commit(&one, 0, 1),
        commit(&other, 0, 1),
        middle,
        commit(&one, 2, 1),
        commit(&other, 1, 1),
    ];

    let verdicts = append(&*store, batch).await;

    let found: Vec<_> = verdicts.iter().map(first_position).collect();
    assert_eq!(found, [Some(2), Some(3), None, None, Some(4)]);
    assert!(matches!(verdicts[2], Verdict::Lost(Loss::Claim { .. })));
    assert_lost_version(&verdicts[3], 1);
    assert_eq!(whole_log(&*store).await.len(), 4);
}

/// Another writer's events may lead to the very version that a loser would have led to. What was
/// decided on top of the loser was not decided on them, in one statement or in several.
pub async fn a_follower_of_a_loser_is_not_taken_for_one_of_another_writer(fixture: &impl Fixture) {
    let store = fixture.open().await;
    for other_statement in [false, true] {
        let one = stream(&format!("s{other_statement}"));
        append(&*store, vec![commit(&one, 0, 1), commit(&one, 1, 1)]).await;
        let mut loser = commit(&one, 1, 1);
        let mut follower = commit(&one, 2, 1);
        if other_statement {
            // A statement frees before it takes, so these two need one each.
            loser.takes = vec![claim("moved")];
            follower.frees = vec![claim("moved")];
        }
        let batch = vec![loser, follower, commit(&one, 3, 1)];

        let verdicts = append(&*store, batch).await;

        for verdict in &verdicts {
            assert_lost_version(verdict, 2);
        }
        let version = store.current_version(&one).await.expect("a version");
        assert_eq!(version.get(), 2);
    }
}

/// A retried command that meets its receipt takes along what was decided on its second effect.
pub async fn a_follower_of_a_met_key_loses_with_it(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let mut first = commit(&one, 0, 1);
    first.receipt = Some(receipt("key", None));
    append(&*store, vec![first]).await;
    let mut again = commit(&one, 0, 1);
    again.receipt = Some(receipt("key", None));

    let verdicts = append(&*store, vec![again, commit(&one, 1, 1)]).await;

    assert!(matches!(verdicts[0], Verdict::Lost(Loss::Key(_))));
    assert_lost_version(&verdicts[1], 1);
    assert_eq!(whole_log(&*store).await.len(), 1);
}

/// A caller that sends a command twice at once gets one effect and hears of it.
pub async fn the_second_of_two_commits_under_one_key_loses(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let mut first = commit(&one, 0, 1);
    first.receipt = Some(receipt("key", None));
    let mut second = commit(&one, 1, 1);
    second.receipt = Some(receipt("key", None));

    let batch = vec![first.clone(), second, commit(&one, 1, 1)];
    let verdicts = append(&*store, batch).await;

    assert_eq!(first_position(&verdicts[0]), Some(1));
    let Verdict::Lost(Loss::Key(found)) = &verdicts[1] else {
        panic!("not a lost key: {:?}", verdicts[1]);
    };
    assert_eq!(Some(found.id), first.receipt.map(|receipt| receipt.id));
    assert_eq!(first_position(&verdicts[2]), Some(2));
    assert_eq!(whole_log(&*store).await.len(), 2);
}

/// The same key on two streams names two commands.
pub async fn a_key_belongs_to_its_stream(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let mut first = commit(&one, 0, 1);
    first.receipt = Some(receipt("key", None));
    let mut second = commit(&other, 0, 3);
    second.receipt = Some(receipt("key", None));

    let verdicts = append(&*store, vec![first, second]).await;

    assert_eq!(positions(&verdicts), [1, 2]);
    for (stream, events) in [(&one, 1), (&other, 3)] {
        let found = store.receipt(stream, &key("key")).await.expect("an answer");
        assert_eq!(found.expect("a receipt").event_count, events);
    }
}
