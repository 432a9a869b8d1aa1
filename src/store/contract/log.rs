//! Questions to the log: every filter, both orders, and cursors while events are appended.

use std::{collections::HashSet, sync::Arc};

use chrono::TimeDelta;

use super::{Fixture, append, commit, fresh_id, instant, stream_of, whole_log};
use crate::{
    domain::{
        AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, Position,
        StreamId, Version,
    },
    store::{
        AggregateHead, Commit, EventFilter, EventStore, LogPage, LogQuery, Order, RecordedEvent,
    },
};

/// Those that are set in every filter of the tests below.
const CONDITIONS: u32 = 8;

fn query(filter: EventFilter, order: Order, after: Option<Position>, limit: u32) -> LogQuery {
    LogQuery {
        filter,
        order,
        after,
        limit,
    }
}

async fn ask(store: &dyn EventStore, query: &LogQuery) -> LogPage {
    let page = store.query_log(query).await.expect("a page");
    assert!(page.events.len() <= query.limit as usize, "{query:?}");
    page
}

fn numbers(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

/// What `query` is to find, by the definition of a filter.
fn expected(log: &[RecordedEvent], filter: &EventFilter, order: Order) -> Vec<u64> {
    let meant = log.iter().filter(|event| filter.matches(event));
    let mut meant: Vec<u64> = meant.map(|event| event.position.get()).collect();
    if order == Order::Descending {
        meant.reverse();
    }
    meant
}

/// All pages, each begun where the one before it ended.
async fn pages(store: &dyn EventStore, filter: &EventFilter, order: Order, limit: u32) -> Vec<u64> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = ask(store, &query(filter.clone(), order, after, limit)).await;
        found.extend(numbers(&page.events));
        if page.events.len() < limit as usize {
            return found;
        }
        after = page.events.last().map(|event| event.position);
        assert_eq!(after, Some(page.read_to));
    }
}

/// Commits whose columns take few values each, in many combinations: two types, ids that both
/// types have, and times that do not follow the order of the log.
fn varied() -> (Vec<Commit>, CorrelationId, CausationId) {
    let (correlation, causation) = (CorrelationId(fresh_id()), CausationId(fresh_id()));
    let mut versions = std::collections::HashMap::new();
    let commits = (0..120_u64).map(|number| {
        let one = stream_of(
            ["User", "Role"][usize::from(number % 3 == 0)],
            ["a", "b", "c"][usize::from(number % 2 == 0) + usize::from(number % 7 == 0)],
        );
        let version: &mut u64 = versions.entry(one.clone()).or_default();
        let mut varied = commit(&one, *version, 1 + number % 2);
        *version += 1 + number % 2;
        for (index, event) in varied.events.iter_mut().enumerate() {
            event.event_type = ["Made", "Changed", "Moved"]
                [usize::from(index > 0) + usize::from(number % 5 == 0)]
            .into();
        }
        varied.occurred_at =
            instant() + TimeDelta::seconds((i64::try_from(number).unwrap_or(0) * 37) % 50);
        varied.created_by = match number % 4 {
            0 => None,
            1 => CreatedBy::parse("ada").ok(),
            _ => CreatedBy::parse("bob ü").ok(),
        };
        if number % 3 == 1 {
            varied.correlation_id = correlation;
        }
        if number % 8 > 4 {
            varied.causation_id = Some(causation);
        }
        varied
    });
    (commits.collect(), correlation, causation)
}

/// A filter with the conditions that are set in `which`, a bit each.
fn filter(which: u32, correlation: CorrelationId, causation: CausationId) -> EventFilter {
    let one = stream_of("User", "b");
    let set = |bit: u32| which & (1 << bit) != 0;
    EventFilter {
        aggregate_type: set(0).then_some(one.aggregate_type),
        aggregate_id: set(1).then_some(one.aggregate_id),
        event_types: if set(2) {
            // One of them twice, and one that no event has.
            ["Made", "Moved", "Made", "None"].map(str::to_owned).into()
        } else {
            Vec::new()
        },
        created_by: CreatedBy::parse("bob ü").ok().filter(|_| set(3)),
        correlation_id: set(4).then_some(correlation),
        causation_id: set(5).then_some(causation),
        from: set(6).then(|| instant() + TimeDelta::seconds(5)),
        to: set(7).then(|| instant() + TimeDelta::seconds(44)),
    }
}

/// Every filter alone and every combination of them, in both orders, whole and in pages.
pub async fn a_query_finds_what_every_filter_means(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (commits, correlation, causation) = varied();
    append(&*store, commits).await;
    let log = whole_log(&*store).await;

    let mut most = 0;
    for which in 0..1 << CONDITIONS {
        let filter = filter(which, correlation, causation);
        for order in [Order::Ascending, Order::Descending] {
            let expected = expected(&log, &filter, order);
            let whole = ask(&*store, &query(filter.clone(), order, None, 1_000)).await;
            let in_pages = pages(&*store, &filter, order, 7).await;

            assert_eq!(numbers(&whole.events), expected, "{order:?} of {filter:?}");
            assert_eq!(whole.read_to.get(), log.len() as u64, "{filter:?}");
            assert_eq!(in_pages, expected, "pages, {order:?} of {filter:?}");
            most = most.max(which.count_ones() * u32::from(!expected.is_empty()));
        }
    }
    assert_eq!(most, CONDITIONS, "all conditions at once find something");
}

/// One event type, which is not as several are; and values that no event has.
pub async fn a_query_for_what_is_not_there_finds_nothing(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (commits, ..) = varied();
    append(&*store, commits).await;
    let log = whole_log(&*store).await;
    let only = |event_type: &str| EventFilter {
        event_types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };

    for order in [Order::Ascending, Order::Descending] {
        let changed = ask(&*store, &query(only("Changed"), order, None, 1_000)).await;
        assert_eq!(
            numbers(&changed.events),
            expected(&log, &only("Changed"), order)
        );
        for bit in 0..CONDITIONS {
            let (correlation, causation) = (CorrelationId(fresh_id()), CausationId(fresh_id()));
            let mut absent = filter(1 << bit, correlation, causation);
            absent.aggregate_type = absent
                .aggregate_type
                .map(|_| stream_of("X", "x").aggregate_type);
            absent.aggregate_id = absent
                .aggregate_id
                .map(|_| stream_of("X", "x").aggregate_id);
            if bit == 2 {
                absent.event_types = vec!["None".into(), "' or true --".into()];
            }
            absent.created_by = absent.created_by.and_then(|_| CreatedBy::parse("'").ok());
            absent.from = absent.from.map(|_| instant() + TimeDelta::days(1));
            absent.to = absent.to.map(|_| instant() - TimeDelta::days(1));

            let page = ask(&*store, &query(absent.clone(), order, None, 10)).await;

            assert!(page.events.is_empty(), "{absent:?}");
            assert_eq!(page.read_to.get(), log.len() as u64, "{absent:?}");
        }
    }
}

/// Limits and cursors below, at and beyond both ends, and the bounds of times.
pub async fn a_query_ends_where_its_limit_and_its_cursor_say(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let all = EventFilter::default;
    let empty = ask(&*store, &query(all(), Order::Ascending, None, 5)).await;
    assert!(empty.events.is_empty());
    assert_eq!(empty.read_to, Position::ZERO);
    let batch = (0..5).map(|n| commit(&stream_of("Thing", &format!("s{n}")), 0, 1));
    append(&*store, batch.collect()).await;

    for (order, after, limit, found, read_to) in [
        (Order::Ascending, None, 2, &[1, 2][..], 2),
        (Order::Ascending, Some(0), 5, &[1, 2, 3, 4, 5], 5),
        (Order::Ascending, Some(3), 5, &[4, 5], 5),
        (Order::Ascending, Some(5), 5, &[], 5),
        (Order::Ascending, Some(900), 5, &[], 900),
        (Order::Ascending, Some(u64::MAX), u32::MAX, &[], u64::MAX),
        (Order::Ascending, Some(3), 0, &[], 3),
        (Order::Descending, None, 2, &[5, 4], 4),
        (Order::Descending, Some(4), 5, &[3, 2, 1], 5),
        (Order::Descending, Some(u64::MAX), 1, &[5], 5),
        (Order::Descending, Some(900), u32::MAX, &[5, 4, 3, 2, 1], 5),
        (Order::Descending, Some(1), 5, &[], 5),
        (Order::Descending, Some(0), 5, &[], 5),
    ] {
        let asked = query(all(), order, after.map(Position::new), limit);
        let page = ask(&*store, &asked).await;

        assert_eq!(numbers(&page.events), found, "{asked:?}");
        assert_eq!(page.read_to.get(), read_to, "{asked:?}");
    }
    for (from, to, found) in [(0, 0, 5), (1, 1, 0), (-1, -1, 0), (1, -1, 0), (-1, 1, 5)] {
        let filter = EventFilter {
            from: Some(instant() + TimeDelta::microseconds(from)),
            to: Some(instant() + TimeDelta::microseconds(to)),
            ..all()
        };
        let page = ask(&*store, &query(filter, Order::Ascending, None, 10)).await;
        assert_eq!(page.events.len(), found, "from {from} to {to}");
    }
}

/// Batches of events that are meant and others that are not, until a number of batches.
async fn write(store: Arc<dyn EventStore>, batches: u64) {
    let (meant, other) = (stream_of("User", "a"), stream_of("Role", "a"));
    for number in 0..batches {
        append(
            &*store,
            vec![commit(&meant, number * 2, 2), commit(&other, number, 1)],
        )
        .await;
    }
}

/// A reader that goes on from `read_to` sees each event that is meant once, in order, whatever
/// is being appended; and a page that is not full never says that it reached what it missed.
pub async fn an_ascending_cursor_skips_nothing_while_events_are_appended(fixture: &impl Fixture) {
    let filter = EventFilter {
        aggregate_type: Some(stream_of("User", "a").aggregate_type),
        ..EventFilter::default()
    };
    let writing = tokio::spawn(write(fixture.open().await, 100));
    let reader = fixture.open().await;

    let mut found = Vec::new();
    let mut after = Position::ZERO;
    loop {
        let finished = writing.is_finished();
        let page = ask(
            &*reader,
            &query(filter.clone(), Order::Ascending, Some(after), 7),
        )
        .await;
        assert!(page.read_to >= after);
        after = page.read_to;
        let done = finished && page.events.is_empty();
        found.extend(page.events);
        if done {
            break;
        }
    }

    writing.await.expect("the writer's end");
    let versions: Vec<u64> = found.iter().map(|event| event.version.get()).collect();
    assert_eq!(versions, (1..=200).collect::<Vec<u64>>());
    assert_eq!(after.get(), 300);
}

/// A reader that pages backwards sees each event once that was there when it began, and none
/// that came later.
pub async fn a_descending_cursor_shows_nothing_twice_while_events_are_appended(
    fixture: &impl Fixture,
) {
    let store = fixture.open().await;
    let old: StreamId = stream_of("User", "old");
    append(&*store, vec![commit(&old, 0, 50)]).await;
    let writing = tokio::spawn(write(fixture.open().await, 50));
    let filter = EventFilter {
        aggregate_type: Some(old.aggregate_type.clone()),
        ..EventFilter::default()
    };

    loop {
        let finished = writing.is_finished();
        let found = pages(&*store, &filter, Order::Descending, 7).await;

        let distinct: HashSet<u64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "none twice");
        assert!(found.is_sorted_by(|one, next| one > next));
        assert!((1..=50).all(|position| distinct.contains(&position)));
        if finished {
            break;
        }
    }

    writing.await.expect("the writer's end");
}

/// One event by its id, and nothing under another.
pub async fn an_event_is_found_by_its_id(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (commits, ..) = varied();
    append(&*store, commits).await;

    for event in whole_log(&*store).await.iter().step_by(17) {
        let found = store.event(event.id).await.expect("an answer");
        assert_eq!(format!("{:?}", found.expect("it")), format!("{event:?}"));
    }
    let found = store.event(EventId(fresh_id())).await;
    assert!(found.expect("an answer").is_none());
}

/// The aggregates of one type, each once, by id, with where they stand.
pub async fn the_aggregates_of_a_type_are_listed_by_id(fixture: &impl Fixture) {
    let store = fixture.open().await;
    // In no order; ids are compared byte by byte, so upper case comes before lower.
    let ids = ["b", "a", "B", "_", "a-1", "Z", "10", "9"];
    let mut commits = Vec::new();
    for (number, id) in (1..).zip(ids) {
        let mut one = commit(&stream_of("User", id), 0, number);
        one.occurred_at = instant() + TimeDelta::seconds(i64::try_from(number).unwrap_or(0));
        commits.push(one);
        commits.push(commit(&stream_of("Role", &format!("{id}x")), 0, 1));
    }
    append(&*store, commits).await;
    let list = async |name: &'static str, after: Option<&str>, limit| {
        let after = after.map(|after| AggregateId::parse(after).expect("a valid id"));
        let aggregate_type = AggregateType::parse(name).expect("a valid type");
        let found = store
            .aggregates(&aggregate_type, after.as_ref(), limit)
            .await;
        found.expect("a list")
    };
    let of_ids = |heads: &[AggregateHead]| -> Vec<String> {
        heads
            .iter()
            .map(|head| head.aggregate_id.to_string())
            .collect()
    };

    let all = list("User", None, 100).await;

    assert_eq!(of_ids(&all), ["10", "9", "B", "Z", "_", "a", "a-1", "b"]);
    for head in &all {
        let place = ids.iter().position(|id| *id == head.aggregate_id.as_str());
        let number = place.expect("one of them") as u64 + 1;
        let seconds = i64::try_from(number).unwrap_or(0);
        assert_eq!(head.version, Version::new(number));
        assert_eq!(head.updated_at, instant() + TimeDelta::seconds(seconds));
    }
    assert_eq!(of_ids(&list("User", None, 3).await), ["10", "9", "B"]);
    assert_eq!(of_ids(&list("User", Some("B"), 2).await), ["Z", "_"]);
    assert_eq!(of_ids(&list("User", Some("a0"), 9).await), ["b"]);
    assert!(list("User", Some("b"), 9).await.is_empty());
    assert!(list("User", None, 0).await.is_empty());
    assert!(list("Nothing", None, 9).await.is_empty());
    for (name, aggregates) in [("User", 8), ("Role", 8), ("Nothing", 0)] {
        let aggregate_type = AggregateType::parse(name).expect("a valid type");
        let counted = store.count_aggregates(&aggregate_type).await;
        assert_eq!(counted.expect("a count"), aggregates, "{name}");
    }
}
