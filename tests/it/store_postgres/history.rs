//! Questions to a log of a million events: none reads a table in sequence, and none reads much
//! more of an index than the page it answers.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use dormouse::{
    domain::{AggregateId, AggregateType, CreatedBy, Position},
    store::{EventFilter, EventStore, LogPage, LogQuery, Order},
};
use sqlx::{Connection as _, Executor as _};

use super::{Database, plans::rows_read};

const EVENTS: i64 = 1_000_000;
const LIMIT: u32 = 100;

/// Aggregates of 50 events, most of them of two types; a type, a sender and an event type that are
/// rare, the last only long ago; times that follow positions but for ten seconds.
const GROW: &str = "
    insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, event_data,
        occurred_at, created_by, correlation_id, causation_id, position)
    select '01J' || lpad(n::text, 23, '0'),
        case when n / 50 % 5000 = 7 then 'Rare' when n / 50 % 3 = 0 then 'Role' else 'User' end,
        'a' || n / 50, n % 50 + 1,
        case when n = 4321 then 'OnceEvent' when n % 50 = 0 then 'MadeEvent'
            when n % 3 = 0 then 'MovedEvent' else 'ChangedEvent' end,
        '{\"what\": \"something\", \"how\": 7}',
        timestamptz '2026-01-01' + n * interval '1 second' + (n * 7919 % 11) * interval '1 second',
        case when n % 7 = 0 then null when n % 100000 = 5 then 'rare' else 'user' || n % 40 end,
        '01K' || lpad((n / 4)::text, 23, '0'),
        case when n % 5 = 0 then '01J' || lpad((n - n % 4)::text, 23, '0') end,
        n + 1
    from generate_series(0::bigint, 999999) as n;
    update log_head set position = 1000000;";

/// The time of the event at a position, as [`GROW`] makes it.
fn time_of(position: i64) -> DateTime<Utc> {
    let number = position - 1;
    seconds(number + number * 7919 % 11)
}

fn seconds(seconds: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    start + TimeDelta::seconds(seconds)
}

/// A filter from `name=value` pairs; times are seconds since the first event.
fn filter(pairs: &str) -> EventFilter {
    let mut filter = EventFilter::default();
    for pair in pairs.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        let time = || Some(seconds(value.parse().unwrap()));
        match name {
            "type" => filter.aggregate_type = AggregateType::parse(value.to_owned()).ok(),
            "id" => filter.aggregate_id = AggregateId::parse(value).ok(),
            "event" => filter.event_types.push(value.to_owned()),
            "by" => filter.created_by = CreatedBy::parse(value).ok(),
            "correlation" => filter.correlation_id = value.parse().ok(),
            "causation" => filter.causation_id = value.parse().ok(),
            "from" => filter.from = time(),
            "to" => filter.to = time(),
            other => panic!("{other}"),
        }
    }
    filter
}

/// Each filter alone, with values that are common, rare and absent; and combinations of them.
/// Beside each the most index entries and rows that may be read for a page in either order.
const FILTERS: [(&str, i64); 35] = [
    ("", 300),
    ("type=User", 200),
    ("type=Rare", 200),
    ("type=None", 10),
    ("id=a777", 300),
    ("id=a777 type=User", 300),
    ("id=none", 10),
    ("event=ChangedEvent", 200),
    ("event=OnceEvent", 10),
    ("event=OnceEvent event=MadeEvent", 200),
    ("event=ChangedEvent event=MovedEvent event=MadeEvent", 400),
    ("event=None event=OnceEvent", 10),
    ("by=user7", 200),
    ("by=rare", 50),
    ("by=none", 10),
    ("correlation=01K00000000000000000100000", 20),
    ("correlation=01K00000000000000999999999", 10),
    ("causation=01J00000000000000000400000", 20),
    ("causation=01J00000000000000999999999", 10),
    ("from=500000", 2_000),
    ("from=990000", 2_000),
    ("from=2000000", 2_000),
    ("to=500000", 2_000),
    ("to=1000", 2_000),
    ("to=-1", 2_000),
    ("from=500000 to=500050", 2_000),
    ("from=100 to=900000", 2_000),
    ("type=User event=ChangedEvent", 2_000),
    ("type=Rare event=ChangedEvent", 2_000),
    ("type=User by=rare", 50),
    ("event=ChangedEvent by=rare", 50),
    ("event=OnceEvent by=user7", 50),
    ("type=Rare from=900000", 2_000),
    ("event=ChangedEvent by=user7 from=400000 to=600000", 10_000),
    (
        "type=User id=a777 event=MovedEvent by=user7 from=1 to=999999",
        400,
    ),
];

async fn ask(store: &dyn EventStore, filter: EventFilter, order: Order) -> LogPage {
    let query = LogQuery {
        filter,
        order,
        after: None,
        limit: LIMIT,
    };
    store.query_log(&query).await.unwrap()
}

/// The positions of a page of what happened between two times.
fn of_times(filter: &EventFilter, order: Order) -> Vec<u64> {
    let meant = |position: &i64| {
        let time = time_of(*position);
        filter.from.is_none_or(|from| time >= from) && filter.to.is_none_or(|to| time <= to)
    };
    let page = |positions: &mut dyn Iterator<Item = i64>| -> Vec<u64> {
        let page = positions.filter(meant).take(LIMIT as usize);
        page.map(i64::cast_unsigned).collect()
    };
    match order {
        Order::Ascending => page(&mut (1..=EVENTS)),
        Order::Descending => page(&mut (1..=EVENTS).rev()),
    }
}

#[tokio::test]
async fn no_question_to_a_million_events_reads_much_more_than_its_page() {
    let database = Database::fresh().await;
    database.store().await.close().await;
    let started = Instant::now();
    let mut connection = database.connection().await;
    connection.execute(GROW).await.unwrap();
    connection
        .execute("vacuum (analyze) domain_events")
        .await
        .unwrap();
    connection.close().await.unwrap();
    println!("{EVENTS} events in {:?}", started.elapsed());

    let mut failures = Vec::new();
    for (name, most) in FILTERS {
        for order in [Order::Ascending, Order::Descending] {
            let filter = filter(name);
            let before = rows_read(&mut database.connection().await).await;
            let store = database.store().await;
            let page = ask(&store, filter.clone(), order).await;
            let again = Instant::now();
            ask(&store, filter.clone(), order).await;
            let took = again.elapsed();
            store.close().await;
            let after = rows_read(&mut database.connection().await).await;

            let (sequential, entries) = (after.0 - before.0, (after.1 - before.1) / 2);
            println!(
                "{name:60} {order:10?} {took:10?} {entries:7} entries, {} events",
                page.events.len()
            );
            assert!(
                page.events.iter().all(|event| filter.matches(event)),
                "{name}"
            );
            if name.starts_with("from") || name.starts_with("to") {
                let found: Vec<u64> = page.events.iter().map(|e| e.position.get()).collect();
                assert_eq!(found, of_times(&filter, order), "{name}, {order:?}");
            }
            if page.events.len() < LIMIT as usize {
                assert_eq!(
                    page.read_to,
                    Position::new(EVENTS.cast_unsigned()),
                    "{name}"
                );
            }
            if sequential > 0 || entries > most {
                failures.push(format!(
                    "{name}, {order:?}: {sequential} rows, {entries} entries"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
