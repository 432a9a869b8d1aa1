//! Hand-over, slow consumers, a store that fails: in one process, on a store in memory.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::DateTime;
use serde_json::value::RawValue;
use tokio::time::timeout;
use ulid::Ulid;

use super::*;
use crate::{
    domain::{AggregateId, AggregateType, CorrelationId, EventId, StreamId, Version},
    store::{Commit, NewEvent, RecordedEvent, Verdict, memory::MemoryStore},
    testing::{Fault, FaultyStore, Gate, Operation},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn faulty() -> FaultyStore {
    FaultyStore::new(Arc::new(MemoryStore::new()))
}

fn subscriptions(store: &FaultyStore, settings: StreamSettings) -> Subscriptions {
    Subscriptions::new(Arc::new(store.clone()), settings)
}

/// Hints are all that may wake the tail.
fn no_polling() -> StreamSettings {
    StreamSettings {
        poll_max: Duration::from_hours(24),
        ..StreamSettings::default()
    }
}

fn commit(id: &str, expected: u64, events: usize) -> Commit {
    let fresh = || Ulid::from_parts(1, rand::random());
    let event = |_| NewEvent {
        id: EventId(fresh()),
        event_type: format!("{id}Event").into(),
        schema_version: 1,
        data: RawValue::from_string("{}".into()).unwrap(),
    };
    Commit {
        stream: StreamId {
            aggregate_type: AggregateType::parse("Sample").unwrap(),
            aggregate_id: AggregateId::parse(id).unwrap(),
        },
        expected: Version::new(expected),
        events: (0..events).map(event).collect(),
        occurred_at: DateTime::UNIX_EPOCH,
        created_by: None,
        correlation_id: CorrelationId(fresh()),
        causation_id: None,
        frees: vec![],
        takes: vec![],
        receipt: None,
        row: None,
    }
}

/// Appends events to one aggregate, a commit each.
async fn append(store: &FaultyStore, id: &str, count: usize) {
    for _ in 0..count {
        let last = commit(id, 0, 0).stream;
        let version = store.current_version(&last).await.unwrap();
        let verdict = store.save(commit(id, version.get(), 1)).await.unwrap();
        assert!(matches!(verdict, Verdict::Committed { .. }));
    }
}

async fn next(subscription: &mut Subscription) -> Result<EventPage, SubscriptionError> {
    let page = timeout(PATIENCE, subscription.next_page()).await;
    page.expect("a page in time")
}

/// Reads until a position is reached.
async fn read_to(subscription: &mut Subscription, last: u64) -> Vec<u64> {
    let mut positions = Vec::new();
    while subscription.position().get() < last {
        let page = next(subscription).await.unwrap();
        positions.extend(page.iter().map(|event| event.position.get()));
    }
    positions
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holds)
        .await
        .expect("it comes true in time");
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test]
async fn what_is_stored_comes_first_and_then_what_is_appended_once_each() {
    let store = faulty();
    append(&store, "a", 150).await;
    let subscriptions = subscriptions(&store, no_polling());
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);

    let stored = read_to(&mut subscription, 150).await;
    append(&store, "a", 30).await;
    let live = read_to(&mut subscription, 180).await;

    assert_eq!(stored, numbers(1..=150));
    assert_eq!(live, numbers(151..=180));
}

#[tokio::test]
async fn a_subscription_begins_after_any_position_even_one_that_is_not_there_yet() {
    let store = faulty();
    append(&store, "a", 10).await;
    let subscriptions = subscriptions(&store, no_polling());

    let mut inside = subscriptions.subscribe(EventFilter::default(), Position::new(4));
    let mut at_end = subscriptions.subscribe(EventFilter::default(), Position::new(10));
    let mut beyond = subscriptions.subscribe(EventFilter::default(), Position::new(12));
    let first = read_to(&mut inside, 10).await;
    append(&store, "a", 5).await;

    assert_eq!(first, numbers(5..=10));
    assert_eq!(read_to(&mut inside, 15).await, numbers(11..=15));
    assert_eq!(read_to(&mut at_end, 15).await, numbers(11..=15));
    assert_eq!(read_to(&mut beyond, 15).await, numbers(13..=15));
}

#[tokio::test]
async fn an_append_at_the_very_moment_of_the_hand_over_is_neither_lost_nor_repeated() {
    let store = faulty();
    append(&store, "a", 10).await;
    let (tail, page) = (Gate::new(), Gate::new());
    // The tail knows where the log ends, and the page was read, but neither has heard of it yet.
    store.inject_next(Operation::LastPosition, Fault::HoldAnswer(tail.clone()));
    store.inject_next(Operation::ReadLog, Fault::HoldAnswer(page.clone()));
    let subscriptions = subscriptions(&store, no_polling());
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let reading = tokio::spawn(async move { read_to(&mut subscription, 30).await });

    tail.reached(1).await;
    append(&store, "a", 10).await;
    tail.open();
    page.reached(1).await;
    append(&store, "a", 10).await;
    page.open();

    assert_eq!(reading.await.unwrap(), numbers(1..=30));
}

#[tokio::test]
async fn a_filter_lets_through_what_it_means_and_tells_how_far_it_has_read() {
    let store = faulty();
    let only = EventFilter {
        event_types: vec!["rareEvent".into()],
        ..EventFilter::default()
    };
    append(&store, "common", 20).await;
    append(&store, "rare", 1).await;
    append(&store, "common", 20).await;
    let subscriptions = subscriptions(&store, no_polling());
    let mut subscription = subscriptions.subscribe(only, Position::ZERO);

    let stored = read_to(&mut subscription, 41).await;
    append(&store, "common", 5).await;
    append(&store, "rare", 1).await;
    let live = read_to(&mut subscription, 47).await;

    assert_eq!((stored, live), (vec![21], vec![47]));
}

#[tokio::test]
async fn a_thousand_subscriptions_at_the_end_read_the_store_as_one() {
    let store = faulty();
    append(&store, "a", 1).await;
    let subscriptions = subscriptions(&store, no_polling());
    let all: Vec<_> = (0..1000)
        .map(|_| subscriptions.subscribe(EventFilter::default(), Position::new(1)))
        .collect();
    let readers = all
        .into_iter()
        .map(|mut subscription| tokio::spawn(async move { read_to(&mut subscription, 21).await }));
    let readers: Vec<_> = readers.collect();
    until(|| subscriptions.snapshot().head.is_some()).await;

    append(&store, "a", 20).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), numbers(2..=21));
    }

    // One look at each event at most, and one in vain.
    let reads = store.calls(Operation::ReadLog);
    assert!(reads <= 21, "{reads} reads for 20 events");
    assert_eq!(store.calls(Operation::LastPosition), 1);
}

#[tokio::test]
async fn a_slow_consumer_costs_nothing_and_takes_up_where_it_was() {
    let store = faulty();
    let settings = StreamSettings {
        tail_events: 50,
        page: 20,
        ..no_polling()
    };
    let subscriptions = subscriptions(&store, settings);
    let mut slow = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let mut fast = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    append(&store, "a", 10).await;
    let mut seen = read_to(&mut slow, 10).await;

    for round in 1..=40 {
        append(&store, "a", 25).await;
        read_to(&mut fast, 10 + 25 * round).await;
        let size = subscriptions.snapshot().tail_events;
        assert!(size <= 50, "{size} events are kept");
    }
    let lag = subscriptions.snapshot().subscriptions[0].lag;
    seen.extend(read_to(&mut slow, 1010).await);
    append(&store, "a", 1).await;
    seen.extend(read_to(&mut slow, 1011).await);

    assert_eq!(lag, 1000);
    assert_eq!(seen, numbers(1..=1011));
}

#[tokio::test]
async fn the_tail_is_bounded_in_bytes_even_where_one_event_is_larger() {
    let store = faulty();
    let settings = StreamSettings {
        tail_bytes: 1000,
        ..no_polling()
    };
    let subscriptions = subscriptions(&store, settings);
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let mut large = commit("large", 0, 1);
    let text = format!("\"{}\"", "x".repeat(5000));
    large.events[0].data = RawValue::from_string(text).unwrap();

    append(&store, "a", 20).await;
    store.save(large).await.unwrap();
    append(&store, "a", 20).await;
    let seen = read_to(&mut subscription, 41).await;

    assert_eq!(seen, numbers(1..=41));
    assert!(subscriptions.snapshot().tail_bytes <= 1000);
}

#[tokio::test(start_paused = true)]
async fn without_hints_events_are_found_by_looking_and_an_idle_log_is_looked_at_less() {
    let store = faulty().without_hints();
    let settings = StreamSettings {
        poll_min: Duration::from_millis(10),
        poll_max: Duration::from_secs(1),
        ..StreamSettings::default()
    };
    let subscriptions = subscriptions(&store, settings);
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let waited = timeout(Duration::from_mins(1), subscription.next_page()).await;
    assert!(waited.is_err());
    let looks = store.calls(Operation::ReadLog);

    append(&store, "a", 1).await;
    let asked = tokio::time::Instant::now();
    let seen = read_to(&mut subscription, 1).await;

    // It slowed down from 10 ms to 1 s, and then looked once a second.
    assert!((60..=70).contains(&looks), "{looks} looks in a minute");
    assert_eq!(seen, [1]);
    assert!(asked.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_reached_is_asked_again_and_nothing_is_passed() {
    let store = faulty();
    append(&store, "a", 100).await;
    for operation in [Operation::ReadLog, Operation::LastPosition] {
        store.inject(operation, 1..=4, Fault::Fail);
    }
    let subscriptions = subscriptions(&store, no_polling());
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);

    let mut seen = read_to(&mut subscription, 100).await;
    let reads = store.calls(Operation::ReadLog);
    store.inject(Operation::ReadLog, reads + 1..=reads + 5, Fault::Fail);
    append(&store, "a", 10).await;
    seen.extend(read_to(&mut subscription, 110).await);

    assert_eq!(seen, numbers(1..=110));
}

#[tokio::test]
async fn a_read_that_is_given_up_is_taken_up_again() {
    let store = faulty();
    append(&store, "a", 30).await;
    let gate = Gate::new();
    let subscriptions = subscriptions(&store, no_polling());
    store.inject_next(Operation::ReadLog, Fault::Hold(gate.clone()));
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);

    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = subscription.next_page() => panic!("the store is held"),
            () = gate.reached(1) => {}
        }
    }
    gate.open();
    let seen = read_to(&mut subscription, 30).await;

    assert_eq!(seen, numbers(1..=30));
    // One read by the subscription, one by the tail at most.
    assert!(store.calls(Operation::ReadLog) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_the_log_is_told_and_never_passed() {
    let store = faulty();
    append(&store, "a", 10).await;
    store.hide(Position::new(13));
    let subscriptions = subscriptions(&store, StreamSettings::default());
    let mut at_end = subscriptions.subscribe(EventFilter::default(), Position::new(10));
    append(&store, "a", 20).await;

    let error = next(&mut at_end).await.unwrap_err();
    let again = next(&mut at_end).await.unwrap_err();
    let mut behind = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let error_behind = next(&mut behind).await.unwrap_err();
    store.heal();
    let seen = read_all_after_it_was_healed(&subscriptions).await;

    let SubscriptionError::Corrupt { what } = &error else {
        panic!("{error}");
    };
    assert!(what.contains("13"), "{what}");
    assert_eq!(error, again);
    assert_eq!(error, error_behind);
    assert_eq!(seen, numbers(1..=30));
}

async fn read_all_after_it_was_healed(subscriptions: &Subscriptions) -> Vec<u64> {
    let mut seen = Vec::new();
    let mut after = Position::ZERO;
    while after.get() < 30 {
        let mut subscription = subscriptions.subscribe(EventFilter::default(), after);
        while after.get() < 30 {
            let Ok(page) = next(&mut subscription).await else {
                // The tail has not looked again yet.
                tokio::time::sleep(Duration::from_secs(1)).await;
                break;
            };
            seen.extend(page.iter().map(|event| event.position.get()));
            after = page.read_to();
        }
    }
    seen
}

#[tokio::test]
async fn closing_ends_whoever_waits_and_whoever_comes() {
    let store = faulty();
    let subscriptions = subscriptions(&store, no_polling());
    let mut waiting = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let gate = Gate::new();
    store.inject(Operation::ReadLog, 1.., Fault::Hold(gate.clone()));
    let reading = tokio::spawn(async move { next(&mut waiting).await.map(drop) });
    append(&store, "a", 1).await;
    gate.reached(1).await;

    subscriptions.close();
    let ended = reading.await.unwrap();
    let mut later = subscriptions.subscribe(EventFilter::default(), Position::ZERO);

    assert_eq!(ended, Err(SubscriptionError::Closed));
    assert_eq!(
        next(&mut later).await.unwrap_err(),
        SubscriptionError::Closed
    );
}

#[tokio::test]
async fn where_nobody_follows_nothing_is_read_and_the_next_begins_afresh() {
    let store = faulty();
    let subscriptions = subscriptions(&store, StreamSettings::default());
    append(&store, "a", 5).await;
    let mut first = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    read_to(&mut first, 5).await;

    drop(first);
    until(|| subscriptions.snapshot().head.is_none()).await;
    append(&store, "a", 5).await;
    let reads = store.calls(Operation::ReadLog);
    let mut second = subscriptions.subscribe(EventFilter::default(), Position::new(5));
    let seen = read_to(&mut second, 10).await;

    assert_eq!(seen, numbers(6..=10));
    assert_eq!(store.calls(Operation::ReadLog), reads + 1);
    assert_eq!(subscriptions.snapshot().subscriptions.len(), 1);
}

#[tokio::test]
async fn pages_are_as_large_as_their_bytes_allow() {
    let small = commit("a", 0, 1);
    let event = |bytes: usize| RecordedEvent {
        id: small.events[0].id,
        stream: small.stream.clone(),
        event_type: String::new(),
        schema_version: 1,
        data: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap(),
        version: Version::new(1),
        position: Position::new(1),
        occurred_at: DateTime::UNIX_EPOCH,
        created_by: None,
        correlation_id: small.correlation_id,
        causation_id: None,
    };
    let mut sizer = PageSizer::new(2000, 1_000_000);

    let mut limits = vec![sizer.limit()];
    for bytes in [10, 10, 10, 100_000, 10_000_000, 10] {
        sizer.learn_from(&[event(bytes)]);
        limits.push(sizer.limit());
    }

    assert_eq!(limits, [64, 512, 2000, 2000, 9, 1, 8]);
    let unique: HashSet<_> = limits.iter().collect();
    assert!(unique.len() > 4);
}
