//! Plans: made while the tables were empty, they must be good when those are large.

use std::{sync::Arc, time::Duration};

use dormouse::{
    domain::{Claim, IdempotencyKey, Position, Version},
    store::{Commit, EventStore, SnapshotRetention, postgres::PostgresStore},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Database, commit, receipt, recovery, snapshot, stream};

/// Statistics stay as they are while the tables grow, as they do between two runs of autovacuum; nor
/// are new ranges of the index of times summed up, which reads them in sequence.
const FREEZE: &str = "
    alter table domain_events set (autovacuum_enabled = off);
    alter table aggregate_claims set (autovacuum_enabled = off);
    alter table command_receipts set (autovacuum_enabled = off);
    alter table aggregate_snapshots set (autovacuum_enabled = off);
    alter table log_head set (autovacuum_enabled = off);
    alter index domain_events_times_idx set (autosummarize = off);";

const GROW: &str = "
    insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, event_data,
        occurred_at, correlation_id, position)
    select 'many' || n, 'Thing', 'many' || n % 100, n / 100 + 1, 'ThingHappened', '{}', now(),
        '01ARZ3NDEKTSV4RRFFQ69G5FAV', head.position + n + 1
    from log_head as head cross join generate_series(0, 199999) as n;
    insert into aggregate_claims (aggregate_type, claim, value, aggregate_id)
    select 'Thing', 'name', 'many' || n, 'many' || n from generate_series(1, 100000) as n;
    insert into command_receipts (id, aggregate_type, aggregate_id, idempotency_key, command_hash,
        first_version, event_count, correlation_id, created_at)
    select '', 'Thing', 'many' || n, 'k', '', 1, 1, '', now() from generate_series(1, 100000) as n;
    insert into aggregate_snapshots (id, aggregate_type, aggregate_id, snapshot_data, version,
        position, occurred_at, created_at, fingerprint)
    select '', 'Thing', 'many' || n, '{}', 1, 1, now(), now(), '' from generate_series(1, 100000) as n;
    update log_head set position = position + 200000;";

/// The rows of the large tables that were read in sequence, and those found through an index,
/// once all other connections are closed: a backend reports its counts, at the latest, as it ends.
pub(super) async fn rows_read(connection: &mut PgConnection) -> (i64, i64) {
    let others = "select count(*) from pg_stat_activity where datname = current_database() \
                  and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let others = || sqlx::query_scalar::<_, i64>(others);
    while others().fetch_one(&mut *connection).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let of = |sum: &str, statistics: &str| {
        format!(
            "(select sum({sum})::bigint from {statistics} \
             where relname not in ('_sqlx_migrations', 'log_head'))"
        )
    };
    let counts = format!(
        "select {}, {}",
        of("seq_tup_read", "pg_stat_user_tables"),
        of("idx_tup_read", "pg_stat_user_indexes"),
    );
    sqlx::query_as(AssertSqlSafe(counts))
        .fetch_one(connection)
        .await
        .unwrap()
}

/// What is known of tables when their statements are prepared: nothing, or how small they were.
pub(super) const STATISTICS: [&str; 2] = ["", "analyze"];

/// Every operation, at some version of the streams it writes.
async fn work(store: &PostgresStore, expected: u64) {
    let claim = |value: u64| Claim::new("name", format!("x{value}"));
    let plain: Vec<Commit> = (0..64)
        .map(|n| commit(&format!("s{n}"), expected, 1))
        .collect();
    store.append(plain.into()).await.unwrap();
    let full = (0..64).map(|n| {
        let mut full = commit(&format!("t{n}"), expected, 1);
        full.receipt = Some(receipt(&format!("k{expected}"), None));
        full.takes = vec![claim(1000 * (expected + 1) + n)];
        full.frees = vec![claim(1000 * expected + n)];
        full
    });
    store.append(full.collect()).await.unwrap();
    let mut eventless = commit("s1", expected + 1, 0);
    eventless.receipt = Some(receipt(&format!("k{expected}"), None));
    // The stale one makes the store look the facts up.
    let stale = commit("s2", expected, 1);
    let verdicts = store.append(Arc::from([eventless, stale])).await.unwrap();
    assert_eq!(verdicts.len(), 2);

    store
        .events(&stream("s1"), Version::ZERO, 10)
        .await
        .unwrap();
    store.current_version(&stream("s1")).await.unwrap();
    let requests = (0..64).map(|n| recovery(&format!("s{n}"))).collect();
    store.recover(requests, 10).await.unwrap();
    let last = store.last_position().await.unwrap();
    store
        .read_log(Position::new(last.get() - 10), 10)
        .await
        .unwrap();
    let key = IdempotencyKey::parse("k0").unwrap();
    store.receipt(&stream("s1"), &key).await.unwrap().unwrap();
    store
        .claim_holder(&stream("s1").aggregate_type, &claim(7))
        .await
        .unwrap();
    store
        .save_snapshots(
            vec![snapshot("s1", expected + 1, "{}")],
            SnapshotRetention::newest(2),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn no_operation_reads_a_whole_table_or_index() {
    for statistics in STATISTICS {
        reads_no_whole_table(statistics).await;
    }
}

async fn reads_no_whole_table(statistics: &'static str) {
    let database = Database::fresh().await;
    let store = database.store().await;
    let mut connection = database.connection().await;
    connection.execute(FREEZE).await.unwrap();

    // Prepares every statement, while the tables are as good as empty.
    work(&store, 0).await;
    connection.execute(statistics).await.unwrap();
    work(&store, 1).await;
    connection.execute(GROW).await.unwrap();
    work(&store, 2).await;
    work(&store, 3).await;
    store.close().await;
    connection.close().await.unwrap();

    let (in_sequence, index_entries) = rows_read(&mut database.connection().await).await;
    assert_eq!(in_sequence, 0, "{statistics}");
    // Each time a few hundred look-ups, of which recovery's find several events.
    assert!(
        index_entries < 10_000,
        "{index_entries} entries of indexes were read ({statistics})"
    );
}
