//! What is stored is what is read.

use serde_json::Value;

use super::{Fixture, append, claim, commit, fresh_id, key, positions, raw, receipt, stream};
use super::{stream_of, whole_log};
use crate::{
    domain::{CausationId, CreatedBy, Position, Version},
    store::{Commit, RecordedEvent},
};

/// JSON is compared as a value: a store may keep it in a form of its own.
fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("valid JSON")
}

fn assert_recorded(recorded: &RecordedEvent, commit: &Commit, index: usize) {
    let event = &commit.events[index];
    assert_eq!(recorded.id, event.id);
    assert_eq!(recorded.stream, commit.stream);
    assert_eq!(recorded.event_type, event.event_type);
    assert_eq!(recorded.schema_version, event.schema_version);
    assert_eq!(value(recorded.data.get()), value(event.data.get()));
    assert_eq!(recorded.version, commit.expected.plus(index as u64 + 1));
    assert_eq!(recorded.occurred_at, commit.occurred_at);
    assert_eq!(recorded.created_by, commit.created_by);
    assert_eq!(recorded.correlation_id, commit.correlation_id);
    assert_eq!(recorded.causation_id, commit.causation_id);
}

/// Every field of every event is read back from its stream and from the log.
pub async fn what_is_appended_is_read_back_as_it_was(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let first = commit(&one, 0, 2);
    let mut second = commit(&one, 2, 3);
    second.created_by = Some(CreatedBy::parse("ada").expect("a valid name"));
    second.causation_id = Some(CausationId(fresh_id()));
    for event in &mut second.events {
        event.schema_version = 7;
        event.data = raw(r#"{"a":[1,-2.5,null,true],"b":{"c":"d"},"e":9007199254740993}"#);
    }

    let saved = [
        store.save(first.clone()).await.expect("a verdict"),
        store.save(second.clone()).await.expect("a verdict"),
    ];

    assert_eq!(positions(&saved), [1, 3]);
    let events = store.events(&one, Version::new(1), 100).await;
    let events = events.expect("the events");
    assert_eq!(events.len(), 5);
    for (index, event) in events.iter().enumerate() {
        let (commit, index) = if index < 2 {
            (&first, index)
        } else {
            (&second, index - 2)
        };
        assert_recorded(event, commit, index);
    }
    let log = whole_log(&*store).await;
    assert_eq!(log.len(), 5);
    for (logged, event) in log.iter().zip(&events) {
        assert_eq!(format!("{logged:?}"), format!("{event:?}"));
    }
    let later = store.events(&one, Version::new(4), 100).await;
    let later: Vec<u64> = later
        .expect("events")
        .iter()
        .map(|e| e.version.get())
        .collect();
    assert_eq!(later, [4, 5]);
    assert_eq!(
        store.current_version(&one).await.expect("a version").get(),
        5
    );
    assert!(store.exists(&one).await.expect("an answer"));
}

/// A stream without events is no error.
pub async fn an_absent_stream_is_at_version_zero(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let absent = stream("absent");

    let version = store.current_version(&absent).await.expect("a version");
    let events = store.events(&absent, Version::new(1), 10).await;

    assert_eq!(version, Version::ZERO);
    assert!(!store.exists(&absent).await.expect("an answer"));
    assert!(events.expect("no events").is_empty());
    assert_eq!(
        store.last_position().await.expect("a position"),
        Position::ZERO
    );
    let found = store
        .receipt(&absent, &key("none"))
        .await
        .expect("an answer");
    assert!(found.is_none());
}

/// An aggregate's id is unique only in its type.
pub async fn streams_of_two_types_with_one_id_are_apart(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (user, role) = (stream_of("User", "a"), stream_of("Role", "a"));

    let verdicts = append(&*store, vec![commit(&user, 0, 2), commit(&role, 0, 1)]).await;

    assert_eq!(positions(&verdicts), [1, 3]);
    assert_eq!(
        store.current_version(&user).await.expect("a version").get(),
        2
    );
    assert_eq!(
        store.current_version(&role).await.expect("a version").get(),
        1
    );
}

fn numbers(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

/// Limits below, at and beyond the end of a stream.
pub async fn a_page_of_a_stream_ends_where_its_limit_says(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    append(&*store, vec![commit(&one, 0, 5)]).await;

    for (from, limit, expected) in [
        (0, 1, &[1][..]),
        (1, 1, &[1]),
        (2, 2, &[2, 3]),
        (1, 5, &[1, 2, 3, 4, 5]),
        (1, 6, &[1, 2, 3, 4, 5]),
        (5, 10, &[5]),
        (6, 10, &[]),
        (1, u32::MAX, &[1, 2, 3, 4, 5]),
    ] {
        let page = store.events(&one, Version::new(from), limit).await;

        assert_eq!(numbers(&page.expect("a page")), expected, "{from}, {limit}");
    }
}

/// Limits below, at and beyond the end of the log.
pub async fn a_page_of_the_log_ends_where_its_limit_says(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let batch = (0..5).map(|n| commit(&stream(&format!("s{n}")), 0, 1));
    append(&*store, batch.collect()).await;

    for (after, limit, expected) in [
        (0, 1, &[1][..]),
        (1, 2, &[2, 3]),
        (0, 5, &[1, 2, 3, 4, 5]),
        (0, 6, &[1, 2, 3, 4, 5]),
        (4, 10, &[5]),
        (5, 10, &[]),
        (1_000, 10, &[]),
        (2, u32::MAX, &[3, 4, 5]),
    ] {
        let page = store.read_log(Position::new(after), limit).await;

        assert_eq!(
            numbers(&page.expect("a page")),
            expected,
            "{after}, {limit}"
        );
    }
}

/// Any text, NUL and what lies beyond the basic plane included, survives in data and reply,
/// and any without control characters in `created_by` and claims.
pub async fn any_text_comes_back_as_it_was(fixture: &impl Fixture) {
    let store = fixture.open().await;
    for (index, text) in [
        "",
        "äöü ß",
        "日本語",
        "🐭 e\u{301}",
        "'\"\\;--",
        "a\0b\u{1}\u{7f}\u{2028}",
    ]
    .into_iter()
    .enumerate()
    {
        let one = stream(&format!("s{index}"));
        let json = serde_json::json!({ "text": text, text: [text] }).to_string();
        let plain: String = text.chars().filter(|c| !c.is_control()).collect();
        let mut with_text = commit(&one, 0, 1);
        with_text.events[0].data = raw(json.clone());
        with_text.created_by = CreatedBy::parse(&plain).ok();
        with_text.takes = vec![claim(&plain)];
        with_text.receipt = Some(receipt("key", Some(&json)));

        let verdicts = append(&*store, vec![with_text.clone()]).await;

        assert_eq!(positions(&verdicts), [index as u64 + 1]);
        let events = store.events(&one, Version::new(1), 1).await.expect("it");
        assert_recorded(&events[0], &with_text, 0);
        let found = store.receipt(&one, &key("key")).await.expect("an answer");
        let reply = found.and_then(|found| found.reply).expect("a reply");
        assert_eq!(value(reply.get()), value(&json), "with {text:?}");
        let holder = store
            .claim_holder(&one.aggregate_type, &claim(&plain))
            .await;
        let holder = holder.expect("an answer");
        assert_eq!(holder, Some(one.aggregate_id), "with {text:?}");
    }
}

/// A mebibyte is not too large for an event.
pub async fn an_event_of_one_mebibyte_is_stored(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("large");
    let mut large = commit(&one, 0, 2);
    large.events[1].data = raw(format!("\"{}\"", "ä".repeat(512 * 1024)));

    append(&*store, vec![large.clone()]).await;

    let events = store.events(&one, Version::new(1), 10).await.expect("them");
    assert_eq!(events.len(), 2);
    assert_recorded(&events[1], &large, 1);
}

/// A store that a fixture opened can serve.
pub async fn a_store_is_ready(fixture: &impl Fixture) {
    let store = fixture.open().await;

    store.ready().await.expect("ready");

    store.close().await;
}
