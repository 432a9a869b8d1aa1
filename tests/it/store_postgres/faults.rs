//! Broken connections, lost answers, limits and crashes.

use std::{sync::Arc, time::Duration};

use dormouse::{
    domain::{Position, Version},
    store::{
        AppendError, EventStore, ReadError,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use sqlx::{Executor as _, PgConnection};
use tokio::time::timeout;

use super::{Database, commit, options, position, receipt, stream, wait_for_locked};
use crate::support::{
    postgres::{Cluster, Options},
    proxy::Proxy,
};

const LOCK_THE_HEAD: &str = "begin; select position from log_head for update";

async fn terminate_the_stores_backends(connection: &mut PgConnection) {
    let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and application_name = 'dormouse'";
    connection.execute(terminate).await.unwrap();
}

#[tokio::test]
async fn an_append_whose_first_try_still_runs_is_stored_once() {
    let database = Database::fresh().await;
    let mut blocker = database.connection().await;
    let mut watcher = database.connection().await;
    let proxy = Proxy::before(&database.url).await;
    // The first try is to wait until the end, not to be tried in another way.
    let patient = PostgresOptions {
        contested_wait: Duration::from_secs(4),
        ..options()
    };
    let store = PostgresStore::connect(&proxy.url, patient).await.unwrap();
    let store = Arc::new(store);
    store.save(commit("a", 0, 1)).await.unwrap();
    let mut keyed = commit("b", 0, 1);
    keyed.receipt = Some(receipt("k", None));
    let batch = Arc::from([commit("a", 1, 2), keyed]);
    let append = || {
        let (store, batch) = (Arc::clone(&store), Arc::clone(&batch));
        tokio::spawn(async move { store.append(batch).await })
    };

    blocker.execute(LOCK_THE_HEAD).await.unwrap();
    let first = append();
    wait_for_locked(&mut watcher, 1).await;
    proxy.cut();
    let first = first.await.unwrap();
    let second = append();
    wait_for_locked(&mut watcher, 2).await;
    blocker.execute("commit").await.unwrap();

    assert!(matches!(first, Err(AppendError::OutcomeUnknown(_))));
    let verdicts = second.await.unwrap().unwrap();
    assert_eq!((position(&verdicts[0]), position(&verdicts[1])), (2, 4));
    let log = store.read_log(Position::ZERO, 10).await.unwrap();
    assert_eq!(log.len(), 4);
}

#[tokio::test]
async fn a_store_whose_backends_were_terminated_goes_on() {
    let database = Database::fresh().await;
    let store = database.store().await;
    store.save(commit("a", 0, 1)).await.unwrap();
    let stream = stream("a");
    let read = || store.current_version(&stream);
    // As many readers as there may be, all of them stale from now on.
    let _ = tokio::join!(read(), read());
    terminate_the_stores_backends(&mut database.connection().await).await;

    for _ in 0..4 {
        assert_eq!(read().await.unwrap(), Version::new(1));
    }
    let batch = Arc::from([commit("a", 1, 1)]);
    let verdicts = match store.append(Arc::clone(&batch)).await {
        Err(AppendError::OutcomeUnknown(_) | AppendError::Unavailable(_)) => {
            store.append(batch).await.unwrap()
        }
        appended => appended.unwrap(),
    };
    assert_eq!(position(&verdicts[0]), 2);
    assert_eq!(store.last_position().await.unwrap(), Position::new(2));
}

#[tokio::test]
async fn a_wait_for_a_lock_has_a_limit_and_leaves_nothing() {
    let database = Database::fresh().await;
    let options = PostgresOptions {
        statement_timeout: Duration::from_millis(400),
        ..options()
    };
    let store = PostgresStore::connect(&database.url, options)
        .await
        .unwrap();
    let mut blocker = database.connection().await;

    blocker.execute(LOCK_THE_HEAD).await.unwrap();
    let appended = store.save(commit("a", 0, 1)).await;
    blocker
        .execute("commit; begin; lock table domain_events")
        .await
        .unwrap();
    let read = store.current_version(&stream("a")).await;
    blocker.execute("commit").await.unwrap();

    let cause = appended.unwrap_err();
    assert!(
        matches!(&cause, AppendError::Unavailable(why) if why.to_string().contains("lock timeout"))
    );
    assert!(matches!(read, Err(ReadError::Unavailable(_))));
    assert_eq!(position(&store.save(commit("a", 0, 1)).await.unwrap()), 1);
}

#[tokio::test]
async fn data_that_no_column_holds_is_refused_and_the_connection_kept() {
    let store = Database::fresh().await.store().await;
    let mut unstorable = commit("a", 0, 1);
    // jsonb's numbers end at 131,072 digits before the point.
    unstorable.events[0].data = super::raw("1e200000");

    let refused = store.save(unstorable).await;

    assert!(matches!(refused, Err(AppendError::Unstorable(_))));
    assert_eq!(position(&store.save(commit("a", 0, 1)).await.unwrap()), 1);
}

#[tokio::test]
async fn an_acknowledged_append_survives_a_crash_of_a_server_set_to_lose_it() {
    let cluster = Cluster::start(Options { fsync: true });
    let database = Database {
        url: cluster.create_database().await,
    };
    let mut administrator = database.connection().await;
    for setting in ["synchronous_commit = off", "wal_writer_delay = '10s'"] {
        let set = sqlx::AssertSqlSafe(format!("alter system set {setting}"));
        administrator.execute(set).await.unwrap();
    }
    administrator
        .execute("select pg_reload_conf()")
        .await
        .unwrap();
    let store = database.store().await;

    store.save(commit("a", 0, 1)).await.unwrap();
    cluster.stop_immediate();
    let down = store.save(commit("a", 1, 1)).await;
    let still_down = store.save(commit("a", 1, 1)).await;
    cluster.start_again();

    assert!(matches!(down, Err(AppendError::OutcomeUnknown(_))));
    assert!(matches!(still_down, Err(AppendError::Unavailable(_))));
    assert_eq!(store.last_position().await.unwrap(), Position::new(1));
    assert_eq!(position(&store.save(commit("a", 1, 1)).await.unwrap()), 2);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let store = Database::fresh().await.store().await;
    store.save(commit("a", 0, 1)).await.unwrap();

    store.close().await;

    let appended = store.save(commit("a", 1, 1)).await;
    assert!(matches!(appended, Err(AppendError::Unavailable(_))));
    let read = store.current_version(&stream("a")).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))));
}

#[tokio::test]
async fn a_network_that_swallows_answers_takes_no_place_in_the_pool() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(&database.url).await;
    let options = PostgresOptions {
        // A busy machine takes its time to connect.
        connect_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(5),
        ..options()
    };
    let store = PostgresStore::connect(&proxy.url, options).await.unwrap();
    store.save(commit("a", 0, 1)).await.unwrap();
    let a = stream("a");
    let read = || store.current_version(&a);
    let both = tokio::join!(read(), read());
    assert!(both.0.is_ok() && both.1.is_ok());

    proxy.swallow_answers(true);
    // Their callers go away, as clients do whose patience ends.
    let patience = Duration::from_millis(100);
    let gone = tokio::join!(timeout(patience, read()), timeout(patience, read()));
    let models = store.read_models().unwrap();
    let begun = timeout(patience, models.begin()).await;
    proxy.swallow_answers(false);

    assert!(gone.0.is_err() && gone.1.is_err() && begun.is_err());
    let both = tokio::join!(read(), read());
    assert_eq!(
        (both.0.unwrap(), both.1.unwrap()),
        (Version::new(1), Version::new(1))
    );
    models.begin().await.unwrap().rollback().await;
    let closed = timeout(Duration::from_secs(5), store.close()).await;
    assert!(closed.is_ok(), "a store closes, whatever hangs");
}
