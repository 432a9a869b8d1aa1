//! The PostgreSQL store: the contract of all stores, and what only PostgreSQL can do to it.

mod faults;
mod foreign;
mod functions;
mod history;
mod keys;
mod plans;
mod races;
mod rows;
mod schema;

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use dormouse::{
    domain::{
        AggregateId, AggregateType, Claim, CorrelationId, EventId, Fingerprint, IdempotencyKey,
        Position, StreamId, Version,
    },
    store::{
        ApiKeyTable, Commit, EventStore, NewEvent, NewReceipt, RecoveryRequest, SnapshotRetention,
        StoredSnapshot, Verdict,
        contract::{Fixture, OtherProgram},
        postgres::{PostgresOptions, PostgresStore},
    },
};
use serde_json::value::RawValue;
use sqlx::{Connection as _, PgConnection};
use ulid::Ulid;

use crate::support::{application, postgres::shared};

/// A database of its own in the shared cluster.
struct Database {
    url: String,
}

impl Database {
    async fn fresh() -> Self {
        let url = shared().create_database().await;
        Self { url }
    }

    async fn store(&self) -> PostgresStore {
        PostgresStore::connect(&self.url, options()).await.unwrap()
    }

    /// A connection beside those of the store.
    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}

/// What every store promises, PostgreSQL's promises to a role that may add to the log and change nothing in it.
impl Fixture for Database {
    async fn open(&self) -> Arc<dyn EventStore> {
        let url = application::url(&self.url).await;
        Arc::new(PostgresStore::connect(&url, options()).await.unwrap())
    }

    async fn other_program(&self) -> Option<Arc<dyn OtherProgram>> {
        // The tables that it makes are to be granted to the role, which must be there.
        application::url(&self.url).await;
        Some(rows::Neighbour::at(&self.url).await)
    }

    /// No server adds or revokes a key: that is the owner's.
    async fn api_keys(&self) -> Option<Arc<dyn ApiKeyTable>> {
        // It migrates as well.
        application::url(&self.url).await;
        self.store().await.api_keys()
    }
}

dormouse::store_contract!(contract, Database::fresh);

/// Few connections a store, since many tests share the cluster.
fn options() -> PostgresOptions {
    PostgresOptions {
        readers: 2,
        ..PostgresOptions::default()
    }
}

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Thing").unwrap(),
        aggregate_id: AggregateId::parse(id).unwrap(),
    }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn fresh_id() -> Ulid {
    Ulid::from_parts(1_714_885_505_123, rand::random())
}

fn commit(id: &str, expected: u64, events: usize) -> Commit {
    let event = || NewEvent {
        id: EventId(fresh_id()),
        event_type: "ThingHappened".into(),
        schema_version: 1,
        data: raw(r#"{"what":"something"}"#),
    };
    Commit {
        stream: stream(id),
        expected: Version::new(expected),
        events: std::iter::repeat_with(event).take(events).collect(),
        occurred_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
        created_by: None,
        correlation_id: CorrelationId(fresh_id()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

fn receipt(key: &str, reply: Option<&str>) -> NewReceipt {
    NewReceipt {
        id: fresh_id(),
        key: IdempotencyKey::parse(key).unwrap(),
        command_hash: [7; 32],
        reply: reply.map(raw),
    }
}

fn snapshot(id: &str, version: u64, data: &str) -> StoredSnapshot {
    StoredSnapshot {
        id: fresh_id(),
        stream: stream(id),
        version: Version::new(version),
        position: Position::new(version),
        occurred_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
        fingerprint: Fingerprint::from_stored("fit"),
        data: raw(data),
        created_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
    }
}

fn recovery(id: &str) -> RecoveryRequest {
    RecoveryRequest {
        stream: stream(id),
        fingerprint: Some(Fingerprint::from_stored("fit")),
        after: Version::ZERO,
    }
}

/// The position of the first event of a commit that is stored.
fn position(verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::Committed { first_position } => first_position.get(),
        Verdict::Lost(loss) => panic!("lost: {loss:?}"),
    }
}

/// Waits until that many of the store's statements wait for a lock.
async fn wait_for_locked(connection: &mut PgConnection, count: i64) {
    let locked = "select count(*) from pg_stat_activity where datname = current_database() \
                  and application_name = 'dormouse' and wait_event_type = 'Lock'";
    loop {
        let found: i64 = sqlx::query_scalar(locked)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if found == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_commit_may_free_a_claim_and_take_it_again() {
    let store = Database::fresh().await.store().await;
    let claim = Claim::new("name", "a");
    let mut taking = commit("a", 0, 1);
    taking.takes = vec![claim.clone(), claim.clone()];
    store.save(taking).await.unwrap();

    let mut again = commit("a", 1, 1);
    again.frees = vec![claim.clone()];
    again.takes = vec![claim.clone()];
    let verdict = store.save(again).await.unwrap();

    assert_eq!(position(&verdict), 2);
    let holder = store
        .claim_holder(&stream("a").aggregate_type, &claim)
        .await;
    assert_eq!(holder.unwrap(), Some(stream("a").aggregate_id));
}

#[tokio::test]
async fn a_nul_character_comes_back_wherever_it_was() {
    let store = Database::fresh().await.store().await;
    let text = "{\"a\\u0000\":\"\\u0000\\\\u0000\u{E0D0}0\"}";
    let mut keyed = commit("a", 0, 1);
    keyed.events[0].data = raw(text);
    keyed.receipt = Some(receipt("k", Some(text)));

    store.save(keyed).await.unwrap();
    store
        .save_snapshots(vec![snapshot("a", 1, text)], SnapshotRetention::newest(1))
        .await
        .unwrap();

    let value = |json: &RawValue| serde_json::from_str::<serde_json::Value>(json.get()).unwrap();
    let expected = value(&raw(text));
    let log = store.read_log(Position::ZERO, 1).await.unwrap();
    assert_eq!(value(&log[0].data), expected);
    let key = IdempotencyKey::parse("k").unwrap();
    let receipt = store.receipt(&stream("a"), &key).await.unwrap().unwrap();
    assert_eq!(value(&receipt.reply.unwrap()), expected);
    let recovered = store.recover(vec![recovery("a")], 1).await.unwrap();
    assert_eq!(
        value(&recovered[0].snapshot.as_ref().unwrap().data),
        expected
    );
}

#[tokio::test]
async fn a_store_shows_no_password() {
    let database = Database::fresh().await;
    let url = database.url.replace("postgres@", "postgres:hunter2@");

    let store = PostgresStore::connect(&url, options()).await.unwrap();

    assert!(!format!("{store:?}").contains("hunter2"));
}
