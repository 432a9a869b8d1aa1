//! What must hold of a log, whatever was done to those who wrote it.

use std::collections::{BTreeMap, HashMap, HashSet};

use dormouse::{
    domain::{AggregateId, IdempotencyKey, Position, StreamId},
    settings::StoreSettings,
    store::{self, EventStore, RecordedEvent},
};
use serde_json::Value;

/// How every token begins: a text that only one command sends, so that its effect can be found.
pub(crate) const TOKEN: &str = "t-";

const PAGE: u32 = 1000;

/// What callers know: which tokens they sent, and what they heard of them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) sent: HashSet<String>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Told that nothing was stored, and never sent again.
    pub(crate) refused: HashSet<String>,
}

/// An answer that a command succeeded.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) token: String,
    pub(crate) id: AggregateId,
    pub(crate) version: u64,
    pub(crate) position: u64,
    /// Whether the token was also the command's key.
    pub(crate) keyed: bool,
}

/// The whole log, and where each token stands in it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) events: Vec<RecordedEvent>,
    tokens: HashMap<String, Vec<usize>>,
}

/// Opens a store by its URL, as the settings of a server would.
pub(crate) async fn open(url: &str) -> std::sync::Arc<dyn EventStore> {
    let settings = StoreSettings {
        url: url.parse().expect("a store's URL"),
        pool: 2,
        ..StoreSettings::default()
    };
    store::open(&settings).await.expect("the store opens")
}

impl Log {
    /// Reads the log, and checks that its numbers have neither a gap nor a repeat.
    pub(crate) async fn read(store: &dyn EventStore) -> Self {
        let mut events: Vec<RecordedEvent> = Vec::new();
        loop {
            let after = events.last().map_or(Position::ZERO, |last| last.position);
            let page = store.read_log(after, PAGE).await.expect("the log is read");
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        check_numbers(&events);
        let last = store.last_position().await.expect("the log is read");
        assert_eq!(last.get(), events.len() as u64, "log_head and the log");
        let mut tokens: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            let data = serde_json::from_str(event.data.get()).expect("an event is JSON");
            collect_tokens(&data, &mut |token| {
                tokens.entry(token.to_owned()).or_default().push(index);
            });
        }
        Self { events, tokens }
    }

    /// Checks what is stored against what callers were told, receipts included.
    pub(crate) async fn check(&self, store: &dyn EventStore, ledger: &Ledger) {
        for (token, places) in &self.tokens {
            assert_eq!(places.len(), 1, "{token} had more than one effect");
            assert!(ledger.sent.contains(token), "{token} was never sent");
        }
        for token in &ledger.refused {
            let stored = self.tokens.contains_key(token);
            assert!(!stored, "{token} was refused and is stored");
        }
        for acknowledged in &ledger.acknowledged {
            let event = self.event_of(&acknowledged.token);
            let stored = (
                &event.stream.aggregate_id,
                event.version.get(),
                event.position.get(),
            );
            let told = (
                &acknowledged.id,
                acknowledged.version,
                acknowledged.position,
            );
            assert_eq!(stored, told, "{} is not where it was told", event.id);
            if acknowledged.keyed {
                check_receipt(store, event, &acknowledged.token).await;
            }
        }
    }

    /// The one event that carries a token.
    pub(crate) fn event_of(&self, token: &str) -> &RecordedEvent {
        match self.tokens.get(token).map(Vec::as_slice) {
            Some([index]) => &self.events[*index],
            Some(more) => panic!("{token} is stored {} times", more.len()),
            None => panic!("{token} was acknowledged and is not stored"),
        }
    }

    pub(crate) fn has(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }
}

fn check_numbers(events: &[RecordedEvent]) {
    let mut versions: BTreeMap<&StreamId, u64> = BTreeMap::new();
    let mut ids = HashSet::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position.get(), index as u64 + 1, "positions");
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(
            event.version.get(),
            *version,
            "versions of {}",
            event.stream
        );
        assert!(ids.insert(event.id), "{} is stored twice", event.id);
    }
}

async fn check_receipt(store: &dyn EventStore, event: &RecordedEvent, key: &str) {
    let parsed = IdempotencyKey::parse(key).expect("a key");
    let receipt = store.receipt(&event.stream, &parsed).await;
    let receipt = receipt.expect("the receipt is read");
    let receipt = receipt.unwrap_or_else(|| panic!("{key} has no receipt"));
    let told = (receipt.first_version, receipt.event_count);
    assert_eq!(told, (event.version, 1), "the receipt of {key}");
}

fn collect_tokens(data: &Value, found: &mut impl FnMut(&str)) {
    match data {
        Value::String(text) if text.starts_with(TOKEN) => found(text),
        Value::Array(items) => items.iter().for_each(|item| collect_tokens(item, found)),
        Value::Object(members) => {
            members
                .values()
                .for_each(|member| collect_tokens(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
