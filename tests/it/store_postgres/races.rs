//! What comes between a statement's view of the log and the lock it waits for.

use std::sync::Arc;

use dormouse::store::{EventStore, Loss, Verdict};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{Database, commit, position, receipt, wait_for_locked};

/// Another writer's commit of version 2 of a stream, not committed yet.
async fn second_version_of(id: &str, connection: &mut PgConnection) {
    let writes = format!(
        "begin; update log_head set position = position + 1; \
         insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
             event_data, occurred_at, correlation_id, position) \
         select 'other', 'Thing', '{id}', 2, 'ThingHappened', '{{}}', now(), '', position \
         from log_head"
    );
    connection.execute(AssertSqlSafe(writes)).await.unwrap();
}

#[tokio::test]
async fn events_lose_to_what_was_committed_while_they_waited() {
    let database = Database::fresh().await;
    let (store, mut other) = (
        Arc::new(database.store().await),
        database.connection().await,
    );
    store.save(commit("a", 0, 1)).await.unwrap();
    second_version_of("a", &mut other).await;

    let batch = Arc::from([commit("a", 1, 1), commit("b", 0, 1)]);
    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.append(batch).await });
    wait_for_locked(&mut database.connection().await, 1).await;
    other.execute("commit").await.unwrap();

    let verdicts = appended.await.unwrap().unwrap();
    assert!(matches!(&verdicts[0], Verdict::Lost(Loss::Version { current }) if current.get() == 2));
    assert_eq!(position(&verdicts[1]), 3);
}

#[tokio::test]
async fn a_receipt_alone_loses_to_what_was_committed_while_it_waited() {
    let database = Database::fresh().await;
    let (store, mut other) = (
        Arc::new(database.store().await),
        database.connection().await,
    );
    store.save(commit("a", 0, 1)).await.unwrap();
    second_version_of("a", &mut other).await;

    let mut keyed = commit("a", 1, 0);
    keyed.receipt = Some(receipt("k", None));
    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.save(keyed).await });
    wait_for_locked(&mut database.connection().await, 1).await;
    other.execute("commit").await.unwrap();

    let verdict = appended.await.unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Lost(Loss::Version { current }) if current.get() == 2));
}

#[tokio::test]
async fn a_batch_waits_for_another_that_is_undone_and_takes_its_position() {
    let database = Database::fresh().await;
    let (store, mut other) = (
        Arc::new(database.store().await),
        database.connection().await,
    );
    store.save(commit("a", 0, 1)).await.unwrap();
    second_version_of("a", &mut other).await;

    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.save(commit("a", 1, 1)).await });
    wait_for_locked(&mut database.connection().await, 1).await;
    other.execute("rollback").await.unwrap();

    assert_eq!(position(&appended.await.unwrap().unwrap()), 2);
}
