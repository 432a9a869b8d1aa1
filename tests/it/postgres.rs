//! The throwaway clusters themselves: that they start, hold data, crash, and leave nothing behind.

use std::path::PathBuf;

use sqlx::{Connection, PgConnection};

use crate::support::postgres::{Cluster, Options, shared};
use crate::support::{Backend, backends};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

#[tokio::test]
async fn every_database_of_the_shared_cluster_is_fresh() {
    let (first, second) = tokio::join!(shared().create_database(), shared().create_database());

    assert_ne!(first, second);
    let mut connection = connect(&first).await;
    sqlx::query("create table t (n bigint)")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut other = connect(&second).await;
    assert!(
        sqlx::query("select n from t")
            .execute(&mut other)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_backend_is_of_each_kind_and_names_its_store() {
    let [sqlite, postgres] = backends().await;

    assert!(matches!(sqlite, Backend::Sqlite(_)));
    assert!(sqlite.store_url().starts_with("sqlite:///"));
    assert!(postgres.store_url().starts_with("postgres://"));
}

#[tokio::test]
async fn a_private_cluster_keeps_what_was_committed_through_a_crash() {
    let cluster = Cluster::start(Options::default());
    let url = cluster.create_database().await;
    let mut connection = connect(&url).await;
    sqlx::query("create table t (n bigint)")
        .execute(&mut connection)
        .await
        .unwrap();

    cluster.stop_immediate();
    assert!(PgConnection::connect(&url).await.is_err());
    cluster.start_again();

    let mut connection = connect(&url).await;
    let rows = sqlx::query("select n from t")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(rows.is_empty());
    cluster.terminate_backends().await;
    assert!(
        sqlx::query("select 1")
            .execute(&mut connection)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = Cluster::start(Options { fsync: false });
    let url = cluster.create_database().await;
    let mut connection = connect(&url).await;
    let (data,): (String,) = sqlx::query_as("show data_directory")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let directory = PathBuf::from(data).parent().unwrap().to_owned();
    assert!(directory.is_dir());

    drop(cluster);

    assert!(!directory.exists());
    assert!(PgConnection::connect(&url).await.is_err());
}
