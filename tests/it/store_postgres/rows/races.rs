//! What comes between a statement's view of the rows and its writing them.

use std::{sync::Arc, time::Duration};

use dormouse::store::{EventStore, Loss, Verdict, contract::OtherProgram};
use sqlx::{Connection as _, Executor as _};

use super::{
    super::{Database, commit, position, wait_for_locked},
    Neighbour, load, thing, things, writing,
};

fn is_lost_row(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Lost(Loss::Row))
}

#[tokio::test]
async fn a_row_changed_while_an_append_waits_for_the_log_loses_it_alone() {
    let database = Database::fresh().await;
    let store = Arc::new(database.store().await);
    let neighbour = Neighbour::at(&database.url).await;
    neighbour.make_tables().await;
    for id in ["mapped", "note", "gone", "kept"] {
        neighbour.insert(id, id).await;
    }
    let mut other = database.connection().await;
    other
        .execute("begin; update log_head set position = position")
        .await
        .unwrap();

    let mut batch = Vec::new();
    for id in ["mapped", "note", "gone", "kept", "made"] {
        let before = (id != "made").then(|| thing(id, "ON"));
        let after = thing(id, "OFF");
        let change = writing(commit(id, 0, 1), &things(), before.as_ref(), Some(&after));
        batch.push(change);
    }
    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.append(Arc::from(batch)).await });
    wait_for_locked(&mut database.connection().await, 1).await;
    neighbour.grow("mapped", 1).await;
    neighbour.set("note", "note", Some("theirs")).await;
    neighbour.remove("gone").await;
    neighbour.insert("made", "theirs").await;
    other.execute("commit").await.unwrap();

    let verdicts = appended.await.unwrap().unwrap();
    let lost: Vec<bool> = verdicts.iter().map(is_lost_row).collect();
    assert_eq!(lost, [true, false, true, false, true], "{verdicts:?}");
    assert_eq!([&verdicts[1], &verdicts[3]].map(position), [1, 2]);
    assert_eq!(neighbour.text("note", "note").await.unwrap(), "theirs");
    assert_eq!(neighbour.text("note", "status").await.unwrap(), "OFF");
    assert_eq!(neighbour.text("mapped", "size").await.unwrap(), "1");
}

#[tokio::test]
async fn a_row_that_another_transaction_holds_makes_nobody_wait() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour.make_tables().await;
    for id in ["held", "free", "tagged"] {
        neighbour.insert(id, id).await;
    }
    neighbour.tag("tagged", "a", true).await;
    let mut other = database.connection().await;
    other
        .execute(
            "begin; update things set size = 7 where id = 'held'; \
             delete from thing_tags where thing_id = 'tagged'",
        )
        .await
        .unwrap();

    let mut tagged = thing("tagged", "ON");
    tagged.links.insert("thing_tags", ["a".to_owned()].into());
    let batch = [
        ("held", thing("held", "ON"), thing("held", "OFF")),
        ("free", thing("free", "ON"), thing("free", "OFF")),
        ("tagged", tagged, thing("tagged", "ON")),
    ]
    .map(|(id, before, after)| writing(commit(id, 0, 1), &things(), Some(&before), Some(&after)));
    let appending = store.append(Arc::from(batch));
    let appended = tokio::time::timeout(Duration::from_secs(4), appending).await;

    let verdicts = appended.expect("less than a lock's timeout").unwrap();
    assert!(is_lost_row(&verdicts[0]), "{verdicts:?}");
    assert_eq!(position(&verdicts[1]), 1);
    assert!(is_lost_row(&verdicts[2]), "{verdicts:?}");
    other.execute("rollback").await.unwrap();
    let again = writing(
        commit("held", 0, 1),
        &things(),
        Some(&thing("held", "ON")),
        Some(&thing("held", "OFF")),
    );
    assert_eq!(position(&store.save(again).await.unwrap()), 2);
}

#[tokio::test]
async fn a_program_that_changes_its_row_and_then_the_log_does_not_meet_a_deadlock() {
    let database = Database::fresh().await;
    let store = Arc::new(database.store().await);
    let neighbour = Neighbour::at(&database.url).await;
    neighbour.make_tables().await;
    neighbour.insert("a", "a").await;
    let mut other = database.connection().await;
    other
        .execute("begin; update things set size = 7 where id = 'a'")
        .await
        .unwrap();

    let change = writing(
        commit("a", 0, 1),
        &things(),
        Some(&thing("a", "ON")),
        Some(&thing("a", "OFF")),
    );
    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.save(change).await });
    let inserted = other
        .execute(
            "insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
             event_data, occurred_at, correlation_id) \
             values ('theirs', 'Thing', 'a', 1, 'ThingHappened', '{}', now(), ''); commit",
        )
        .await;

    inserted.unwrap();
    let verdict = appended.await.unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Lost(_)), "{verdict:?}");
    assert_eq!(neighbour.text("a", "size").await.unwrap(), "7");
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_table_that_its_owner_alters_is_looked_at_again() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour.make_tables().await;
    let (one, two, three) = (thing("a", "ON"), thing("a", "OFF"), thing("a", "ON"));
    let first = writing(commit("a", 0, 1), &things(), None, Some(&one));
    store.save(first).await.unwrap();

    neighbour
        .run("alter table things alter column status type text using status::text")
        .await;
    let second = writing(commit("a", 1, 1), &things(), Some(&one), Some(&two));
    let verdict = loop {
        // The first may fail as unavailable: it is what makes the store look.
        if let Ok(verdict) = store.save(second.clone()).await {
            break verdict;
        }
    };

    assert_eq!(position(&verdict), 2);
    assert_eq!(load(&store, &things(), "a").await.row, Some(two.clone()));
    let third = writing(commit("a", 2, 1), &things(), Some(&two), Some(&three));
    assert_eq!(position(&store.save(third).await.unwrap()), 3);
}
