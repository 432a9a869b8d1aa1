//! Migrations, and rows that this program did not write.

use dormouse::{
    domain::{Position, Version},
    store::{
        EventStore, NotReady, ReadError,
        postgres::{OpenError, PostgresOptions, PostgresStore},
    },
};
use sqlx::Executor as _;

use super::{Database, commit, options, stream};

#[tokio::test]
async fn several_servers_may_migrate_an_empty_database_at_once() {
    let database = Database::fresh().await;
    let open = || PostgresStore::connect(&database.url, options());

    let opened = tokio::join!(open(), open(), open(), open());

    for store in [opened.0, opened.1, opened.2, opened.3] {
        store.unwrap().ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_not_migrated_says_what_to_do() {
    let database = Database::fresh().await;
    let unmigrated = PostgresOptions {
        migrate: false,
        ..options()
    };

    let refused = PostgresStore::connect(&database.url, unmigrated.clone()).await;
    PostgresStore::migrate(&database.url, &unmigrated)
        .await
        .unwrap();
    let opened = PostgresStore::connect(&database.url, unmigrated).await;

    let refused = refused.unwrap_err();
    assert!(matches!(&refused, OpenError::NotMigrated(what) if what.contains("dormouse migrate")));
    opened.unwrap().ready().await.unwrap();
}

#[tokio::test]
async fn nothing_is_granted_in_a_database_that_is_not_migrated() {
    let database = Database::fresh().await;

    let refused = PostgresStore::grant(&database.url, &options(), "postgres").await;

    assert!(matches!(refused, Err(OpenError::Grant(_))), "{refused:?}");
}

#[tokio::test]
async fn a_store_that_only_reads_writes_nothing() {
    let database = Database::fresh().await;
    let writing = database.store().await;
    writing.save(commit("a", 0, 1)).await.unwrap();

    let reading = PostgresOptions {
        migrate: false,
        read_only: true,
        ..options()
    };
    let reader = PostgresStore::connect(&database.url, reading)
        .await
        .unwrap();
    let refused = reader.save(commit("b", 0, 1)).await;

    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(reader.last_position().await.unwrap(), Position::new(1));
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, \
                 execution_time) values (999, 'newer', true, '', 0)";
    database.connection().await.execute(newer).await.unwrap();

    let ready = store.ready().await;
    let opened = PostgresStore::connect(&database.url, options()).await;

    assert!(matches!(ready, Err(NotReady::NotMigrated(what)) if what.contains("999")));
    assert!(matches!(opened, Err(OpenError::NotMigrated(what)) if what.contains("999")));
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let nowhere = PostgresStore::connect("postgres://postgres@127.0.0.1:1/x", options()).await;
    let no_url = PostgresStore::connect("mysql://h/d", options()).await;

    assert!(matches!(nowhere, Err(OpenError::Unreachable(_))));
    assert!(matches!(no_url, Err(OpenError::Url(_))));
}

#[tokio::test]
async fn a_gap_is_never_passed_over() {
    let database = Database::fresh().await;
    let store = database.store().await;
    store.save(commit("a", 0, 3)).await.unwrap();
    let mut connection = database.connection().await;

    let delete = "delete from domain_events where version = 2";
    connection.execute(delete).await.unwrap();
    let in_stream = store.events(&stream("a"), Version::ZERO, 10).await;
    let in_recovery = store.recover(vec![super::recovery("a")], 10).await;
    let in_log = store.read_log(Position::ZERO, 10).await;

    assert!(says(in_stream, "Thing/a has version 3 where 2 belongs"));
    assert!(says(in_recovery, "Thing/a has version 3 where 2 belongs"));
    assert!(says(in_log, "position 3 where 2 belongs"));
}

fn says<T>(read: Result<T, ReadError>, text: &str) -> bool {
    matches!(read, Err(ReadError::Corrupt { what }) if what.contains(text))
}
