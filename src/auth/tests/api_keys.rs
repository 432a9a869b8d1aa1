//! API keys: what a slow, a failing and a flooded store make of them.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;

use super::*;
use crate::store::{ApiKeyUse, StoredApiKey};

/// A table in memory that can fail or take its time, and counts how often it is read.
#[derive(Debug, Default)]
struct Table {
    keys: Mutex<Vec<StoredApiKey>>,
    fails: AtomicBool,
    reads: AtomicUsize,
    takes: Mutex<Duration>,
}

#[async_trait]
impl ApiKeyTable for Table {
    async fn add(&self, key: &StoredApiKey) -> Result<bool, ReadError> {
        self.keys.lock().unwrap().push(key.clone());
        Ok(true)
    }

    async fn all(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.active(limit).await
    }

    async fn active(&self, _: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if self.fails.load(Ordering::Relaxed) {
            return Err(ReadError::Unavailable("it fails".into()));
        }
        Ok(self.keys.lock().unwrap().clone())
    }

    async fn revoke(&self, _: &str, _: DateTime<Utc>) -> Result<bool, ReadError> {
        self.keys.lock().unwrap().clear();
        Ok(true)
    }

    async fn note_uses(&self, uses: &[ApiKeyUse]) -> Result<(), ReadError> {
        self.keys.lock().unwrap()[0].last_used_at = Some(uses[0].at);
        Ok(())
    }
}

async fn keyed(table: &Arc<Table>, clock: &ManualClock) -> Authenticator {
    let table: Arc<dyn ApiKeyTable> = Arc::clone(table) as _;
    let settings = AuthSettings::default();
    let started = Authenticator::start(&settings, Some(table), Arc::new(clock.clone())).await;
    started.unwrap()
}

async fn make(table: &Table, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let new = NewApiKey {
        name: "billing".to_owned(),
        rights: Rights::parse("audit").unwrap(),
        expires_at,
    };
    let key = create_key(table, new, 10, now).await.unwrap();
    key.expose().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_and_a_revoked_one_no_longer_than_the_settings_say() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let door = keyed(&table, &clock).await;
    let key = make(&table, None, clock.now()).await;

    let known = door.authenticate(&key).await.unwrap();
    assert_eq!(known.created_by().as_str(), "key:billing");
    assert!(known.may(&Right::Audit) && !known.may(&Right::Admin));
    table.revoke("billing", clock.now()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(11), door.until_unknown(&known));

    ended.await.unwrap();
    let refusal = door.authenticate(&key).await.unwrap_err();
    assert!(matches!(refusal, Refusal::UnknownKey), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_with_another_secret_or_past_its_time_is_refused() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let until = clock.now() + TimeDelta::seconds(60);
    let key = make(&table, Some(until), clock.now()).await;
    let door = keyed(&table, &clock).await;
    let last = if key.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &key[..key.len() - 1]);

    assert_eq!(
        door.authenticate(&forged).await.unwrap_err().word(),
        "unknown-key"
    );
    assert!(door.authenticate(&key).await.is_ok());
    clock.advance(TimeDelta::seconds(60));

    assert_eq!(door.authenticate(&key).await.unwrap_err().word(), "expired");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_verified_has_the_rights_that_it_has_now() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let key = make(&table, None, clock.now()).await;
    let door = keyed(&table, &clock).await;
    assert!(door.authenticate(&key).await.unwrap().may(&Right::Audit));

    table.keys.lock().unwrap()[0].rights = "admin".to_owned();
    tokio::time::sleep(Duration::from_secs(6)).await;

    let known = door.authenticate(&key).await.unwrap();
    assert!(known.may(&Right::Admin) && !known.may(&Right::Audit));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wrong_keys_does_not_become_a_flood_of_queries() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let door = keyed(&table, &clock).await;

    for number in 0..1000 {
        let key = ApiKey::random(ulid::Ulid::from_parts(number, 1)).expose();
        assert!(door.authenticate(&key).await.is_err());
    }

    // At the start, and for the first of them.
    assert_eq!(table.reads.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_with_unknown_keys_wait_for_one_look_at_a_slow_store_and_not_one_after_the_other() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let door = keyed(&table, &clock).await;
    *table.takes.lock().unwrap() = Duration::from_millis(1500);
    let wrong = |number| ApiKey::random(ulid::Ulid::from_parts(number, 1)).expose();
    let keys: Vec<_> = (0..20).map(wrong).collect();

    for fails in [false, true] {
        table.fails.store(fails, Ordering::Relaxed);
        let before = table.reads.load(Ordering::Relaxed);
        let began = Instant::now();
        let all = keys.iter().map(|key| door.authenticate(key));
        let answers = futures_util::future::join_all(all).await;

        assert!(answers.iter().all(Result::is_err));
        assert_eq!(table.reads.load(Ordering::Relaxed) - before, 1, "{fails}");
        assert!(began.elapsed() < Duration::from_secs(2), "{fails}");
        // Past the pause, so that the next round looks again; the look every 5 s is yet to come.
        tokio::time::sleep(Duration::from_millis(1001)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_read_are_good_for_a_while_and_then_nobody_knows() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let key = make(&table, None, clock.now()).await;
    let door = keyed(&table, &clock).await;
    table.fails.store(true, Ordering::Relaxed);

    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(door.authenticate(&key).await.is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;

    let refusal = door.authenticate(&key).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable), "{refusal:?}");
    table.fails.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(door.authenticate(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_last_use_of_a_key_is_noted_later_and_off_the_path() {
    let (table, clock) = (Arc::new(Table::default()), ManualClock::default());
    let key = make(&table, None, clock.now()).await;
    let door = keyed(&table, &clock).await;
    door.authenticate(&key).await.unwrap();
    let noted = || table.keys.lock().unwrap()[0].last_used_at;

    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(noted(), None);
    tokio::time::sleep(Duration::from_secs(36)).await;

    assert_eq!(noted(), Some(clock.now()));
}
