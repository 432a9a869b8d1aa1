//! Plans: whatever is asked, no step reads the whole table or a whole index.

use sqlx::Connection as _;
use ulid::Ulid;

use super::*;
use crate::{
    domain::{AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy},
    store::sqlite::schema,
};

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    assert_eq!(schema::migrate(&mut connection).await.unwrap(), None);
    connection
}

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("explain query plan {statement}"));
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explain).fetch_all(connection).await.unwrap();
    steps.into_iter().map(|(_, _, _, step)| step).collect()
}

fn assert_searches(steps: &[String], asked: &str) {
    let scans = |step: &&String| step.starts_with("SCAN domain_events") || *step == "SCAN e";
    let scan = steps.iter().find(scans);
    assert_eq!(scan, None, "{asked}: {steps:#?}");
}

/// A filter with the conditions that are set in `which`, a bit each.
fn filter(which: u32) -> EventFilter {
    let set = |bit: u32| which & (1 << bit) != 0;
    let time = chrono::DateTime::from_timestamp(1_000_000, 0);
    EventFilter {
        aggregate_type: AggregateType::parse("User").ok().filter(|_| set(0)),
        aggregate_id: AggregateId::parse("a").ok().filter(|_| set(1)),
        event_types: if set(2) {
            vec!["A".into(), "B".into(), "A".into()]
        } else {
            Vec::new()
        },
        created_by: CreatedBy::parse("ada").ok().filter(|_| set(3)),
        correlation_id: set(4).then(|| CorrelationId(Ulid::nil())),
        causation_id: set(5).then(|| CausationId(Ulid::nil())),
        from: time.filter(|_| set(6)),
        to: time.filter(|_| set(7)),
    }
}

#[tokio::test]
async fn no_combination_of_filters_reads_a_whole_table() {
    let mut connection = database().await;
    for which in 0..1 << 8 {
        for order in [Order::Ascending, Order::Descending] {
            for start in [Start::Cursor, Start::At(Position::new(7)), Start::Times] {
                let query = LogQuery {
                    filter: filter(which),
                    order,
                    after: None,
                    limit: 10,
                };
                if start != Start::Cursor && !query.filter.is_mainly_of_times() {
                    continue;
                }
                let statement = Statement::of(&query, start);

                let steps = plan(&mut connection, &statement.text).await;

                assert_searches(&steps, &format!("{start:?} of {query:?}"));
            }
        }
    }
    for statement in [
        COUNT_OF_TIMES,
        NEXT_TIME,
        TIME_BEFORE,
        FIRST_OF_TIMES,
        LAST_OF_TIMES,
    ] {
        assert_searches(&plan(&mut connection, statement).await, statement);
    }
}

#[tokio::test]
async fn each_filter_alone_has_an_index_in_the_order_of_positions() {
    let mut connection = database().await;
    for (bit, start, found) in [
        (
            0,
            Start::Cursor,
            "domain_events_aggregate_type (aggregate_type=? AND rowid>?)",
        ),
        (1, Start::Cursor, "(aggregate_type=? AND aggregate_id=?)"),
        (
            2,
            Start::Cursor,
            "domain_events_event_type (event_type=? AND rowid>?)",
        ),
        (
            3,
            Start::Cursor,
            "domain_events_created_by (created_by=? AND rowid>?)",
        ),
        (
            4,
            Start::Cursor,
            "domain_events_correlation_id (correlation_id=? AND rowid>?)",
        ),
        (
            5,
            Start::Cursor,
            "domain_events_causation_id (causation_id=? AND rowid>?)",
        ),
        (6, Start::Times, "domain_events_occurred_at (occurred_at>?)"),
        (7, Start::Times, "domain_events_occurred_at (occurred_at<?)"),
        (
            6,
            Start::At(Position::new(7)),
            "INTEGER PRIMARY KEY (rowid>?)",
        ),
    ] {
        let query = LogQuery {
            filter: filter(1 << bit),
            order: Order::Ascending,
            after: None,
            limit: 10,
        };

        let steps = plan(&mut connection, &Statement::of(&query, start).text).await;

        assert!(
            steps.iter().any(|step| step.contains(found)),
            "{query:?}: {steps:#?}"
        );
        // What an index finds in no order of positions is sorted, and that is little.
        let sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(
            sorted,
            bit == 1 || start == Start::Times,
            "{query:?}: {steps:#?}"
        );
    }
}
