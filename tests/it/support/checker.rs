//! What must hold of a log, whatever was done to those who wrote it: `dormouse::testing::checker`
//! for what these tests send.

use std::sync::Arc;

use dormouse::{
    domain::{AggregateType, IdempotencyKey, StreamId, Version},
    settings::StoreSettings,
    store::{self, EventStore, RecordedEvent},
    testing::checker::{self, Command, Evidence, History, Row, Seen, StoredLog, Token, Told},
};
use serde_json::Value;

use super::counter::id;

/// How every token begins: a text that only one command sends, so that its effect can be found.
pub(crate) const TOKEN: &str = "t-";

/// What callers sent and heard. The states they were shown are not kept.
pub(crate) type Heard = History<Value>;

/// Opens a store by its URL, as the settings of a server would.
pub(crate) async fn open(url: &str) -> Arc<dyn EventStore> {
    let settings = StoreSettings {
        url: url.parse().expect("a store's URL"),
        pool: 2,
        ..StoreSettings::default()
    };
    store::open(&settings).await.expect("the store opens")
}

/// Reads the log, and checks that its numbers have neither a gap nor a repeat.
pub(crate) async fn read(store: &dyn EventStore) -> StoredLog {
    let log = StoredLog::read(store, token_of).await;
    let log = log.expect("the log is read");
    assert_eq!(log.violations(), []);
    log
}

/// Checks what is stored against what callers sent and heard, receipts included.
pub(crate) async fn check(store: &dyn EventStore, history: &Heard) -> StoredLog {
    check_all(store, history, None, |_, _| {}).await
}

/// The same, with the rows beside the log, each of which equals the fold of its events.
pub(crate) async fn check_with_rows(
    store: &dyn EventStore,
    history: &Heard,
    rows: &[Row<Value>],
    fold: impl FnMut(&mut Value, &RecordedEvent),
) {
    check_all(store, history, Some(rows), fold).await;
}

async fn check_all(
    store: &dyn EventStore,
    history: &Heard,
    rows: Option<&[Row<Value>]>,
    fold: impl FnMut(&mut Value, &RecordedEvent),
) -> StoredLog {
    let log = read(store).await.with_receipts(store, history).await;
    let log = log.expect("the receipts are read");
    let evidence = Evidence {
        history,
        log: &log,
        subscribers: &[],
        rows,
    };
    assert_eq!(checker::check(&evidence, fold), []);
    log
}

/// A command of one event; its token is its key, too, where it has one.
pub(crate) fn command(token: &str, keyed: bool) -> Command {
    Command {
        token: token.into(),
        key: keyed.then(|| IdempotencyKey::parse(token).expect("a key")),
        events: Some(1),
    }
}

/// The answer of such a command.
pub(crate) fn told(version: u64, position: u64, replayed: bool) -> Told<Value> {
    Told {
        seen: Seen {
            version: Version::new(version),
            state: None,
        },
        position: Some(dormouse::domain::Position::new(position)),
        events: 1,
        ids: Vec::new(),
        replayed,
    }
}

pub(crate) fn stream(aggregate_type: &'static str, aggregate_id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse(aggregate_type).expect("a type"),
        aggregate_id: id(aggregate_id),
    }
}

/// The one event that carries a token.
pub(crate) fn event_of<'a>(log: &'a StoredLog, token: &str) -> &'a RecordedEvent {
    let events: Vec<_> = log.events_of(token).collect();
    assert_eq!(events.len(), 1, "the events of {token}");
    events[0]
}

fn token_of(event: &RecordedEvent) -> Option<Token> {
    let data = serde_json::from_str(event.data.get()).expect("an event is JSON");
    find_token(&data)
}

fn find_token(data: &Value) -> Option<Token> {
    match data {
        Value::String(text) if text.starts_with(TOKEN) => Some(text.as_str().into()),
        Value::Array(items) => items.iter().find_map(find_token),
        Value::Object(members) => members.values().find_map(find_token),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
