//! What is done with a table of another program's must be good when that is large: found by its key.

use std::sync::Arc;

use dormouse::{
    domain::{AggregateId, AggregateType, LinkTable, Row, StateTable},
    store::{EventStore, Verdict, postgres::PostgresStore},
};
use sqlx::{Connection as _, Executor as _};

use super::{
    super::{
        Database, commit,
        plans::{STATISTICS, rows_read},
    },
    Neighbour, row, table, text, writing,
};

/// Statistics stay as they are while the tables grow.
const TABLES: &str = "create table t (id text primary key, a text not null, b text);
    create table l (t text not null, m text not null, primary key (t, m));
    alter table t set (autovacuum_enabled = off);
    alter table l set (autovacuum_enabled = off);
    alter table domain_events set (autovacuum_enabled = off);
    alter table aggregate_rows set (autovacuum_enabled = off);
    alter table log_head set (autovacuum_enabled = off);
    alter index domain_events_times_idx set (autosummarize = off)";

const GROW: &str = "
    insert into t (id, a) select 'many' || n, 'a' from generate_series(1, 100000) as n;
    insert into l (t, m) select 'many' || n, 'm' from generate_series(1, 100000) as n;
    insert into aggregate_rows (aggregate_type, aggregate_id, version, log_version)
    select 'Thing', 'many' || n, 1, 1 from generate_series(1, 100000) as n;
    insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, event_data,
        occurred_at, correlation_id, position)
    select 'many' || n, 'Thing', 'many' || n, 1, 'ThingHappened', '{}', now(),
        '01ARZ3NDEKTSV4RRFFQ69G5FAV', head.position + n
    from log_head as head cross join generate_series(1, 100000) as n;
    update log_head set position = position + 100000";

fn linked() -> Arc<StateTable> {
    let mut linked = StateTable::clone(&table("t", &["a", "b"]));
    linked.links = vec![LinkTable {
        name: "l",
        owner: "t",
        member: "m",
    }];
    Arc::new(linked)
}

fn of(a: &str, member: &str) -> Row {
    let mut row = row(&[("a", text(a)), ("b", text("b"))]);
    row.links.insert("l", [member.to_owned()].into());
    row
}

/// Rows that come, are changed, stay and go, 16 in a statement; and as many are read.
async fn work(store: &PostgresStore, round: u32) {
    let table = linked();
    let ids: Vec<String> = (0..16).map(|n| format!("r{round}-{n}")).collect();
    let (one, two) = (of("one", "m"), of("two", "n"));
    for (version, before, after) in [
        (0, None, Some(&one)),
        (1, Some(&one), Some(&two)),
        (2, Some(&two), Some(&two)),
        (3, Some(&two), None),
        (4, None, None),
    ] {
        let commits = ids
            .iter()
            .map(|id| writing(commit(id, version, 1), &table, before, after));
        let verdicts = store.append(commits.collect()).await.unwrap();
        let is_stored = |verdict: &Verdict| matches!(verdict, Verdict::Committed { .. });
        assert!(verdicts.iter().all(is_stored), "{verdicts:?}");
    }
    // One that is another by now: the facts are looked up.
    let stale = writing(commit(&ids[0], 5, 1), &table, Some(&one), Some(&two));
    let verdicts = store.append(Arc::from([stale])).await.unwrap();
    assert!(matches!(verdicts[0], Verdict::Lost(_)), "{verdicts:?}");

    let rows = store.state_rows().unwrap();
    let thing = AggregateType::parse("Thing").unwrap();
    let ids = ids.iter().map(|id| AggregateId::parse(id).unwrap());
    rows.load(&thing, &table, &ids.collect::<Vec<_>>())
        .await
        .unwrap();
    // As adopt, verify and the walk after a start read: page after page, from anywhere.
    for after in [None, Some("many4"), Some("many77777")] {
        rows.page(Some(&thing), &table, after, 20).await.unwrap();
        let after = after.map(|id| AggregateId::parse(id).unwrap());
        store.aggregates(&thing, after.as_ref(), 20).await.unwrap();
    }
}

#[tokio::test]
async fn neither_a_dual_write_nor_a_page_of_rows_reads_a_whole_table_or_index() {
    for statistics in STATISTICS {
        reads_no_whole_table(statistics).await;
    }
}

async fn reads_no_whole_table(statistics: &'static str) {
    let database = Database::fresh().await;
    let store = database.store().await;
    Neighbour::at(&database.url).await.run(TABLES).await;
    let mut connection = database.connection().await;

    // Prepares every statement, while the tables are as good as empty.
    work(&store, 0).await;
    connection.execute(statistics).await.unwrap();
    work(&store, 1).await;
    connection.execute(sqlx::raw_sql(GROW)).await.unwrap();
    work(&store, 2).await;
    work(&store, 3).await;
    store.close().await;
    connection.close().await.unwrap();

    let mut connection = database.connection().await;
    let (in_sequence, index_entries) = rows_read(&mut connection).await;
    assert_eq!(in_sequence, 0, "rows read in sequence ({statistics})");
    let most = "select indexrelname::text || ': ' || idx_tup_read from pg_stat_user_indexes \
        order by idx_tup_read desc limit 3";
    let most: Vec<String> = sqlx::query_scalar(most)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(
        index_entries < 10_000,
        "{index_entries} entries of indexes were read ({statistics}): {most:?}"
    );
}
