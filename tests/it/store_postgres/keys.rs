//! API keys and several servers beside each other.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use dormouse::store::{ApiKeyTable, ApiKeyUse, EventStore as _, StoredApiKey};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use ulid::Ulid;

use super::{Database, wait_for_locked};

fn key(id: u128) -> StoredApiKey {
    StoredApiKey {
        id: Ulid(id),
        name: format!("key {id}"),
        secret_hash: [0; 32],
        rights: "*".to_owned(),
        created_at: now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap()
}

async fn table(database: &Database) -> Arc<dyn ApiKeyTable> {
    database.store().await.api_keys().unwrap()
}

#[tokio::test]
async fn a_key_whose_revocation_is_sent_again_was_revoked() {
    let database = Database::fresh().await;
    let table = table(&database).await;
    table.add(&key(1)).await.unwrap();

    // As where a connection broke before the answer came.
    let revoked = table.revoke("key 1", now()).await.unwrap();
    let again = table.revoke("key 1", now()).await.unwrap();
    let later = table.revoke("key 1", now() + TimeDelta::microseconds(1));

    assert_eq!((revoked, again, later.await.unwrap()), (true, true, false));
}

#[tokio::test]
async fn a_key_that_is_added_again_with_its_own_id_was_added() {
    let database = Database::fresh().await;
    let table = table(&database).await;

    let added = table.add(&key(1)).await.unwrap();
    let again = table.add(&key(1)).await.unwrap();

    assert_eq!((added, again), (true, true));
    assert_eq!(table.all(10).await.unwrap(), [key(1)]);
}

/// Whoever holds the first key may take the second: the others wait for it, and hold nothing.
#[tokio::test]
async fn servers_that_note_the_same_uses_never_wait_for_each_other() {
    let database = Database::fresh().await;
    let table = table(&database).await;
    // The rows lie in this order.
    table.add(&key(2)).await.unwrap();
    table.add(&key(1)).await.unwrap();
    for (seconds, order) in [(1, [2, 1]), (2, [1, 2])] {
        let mut other = database.connection().await;
        let update = |id: u128| {
            let id = Ulid(id);
            AssertSqlSafe(format!("update api_keys set name = name where id = '{id}'"))
        };
        other.execute("begin").await.unwrap();
        other.execute(update(1)).await.unwrap();

        let at = now() + TimeDelta::seconds(seconds);
        let uses = order.map(|id| ApiKeyUse { id: Ulid(id), at });
        let noting = Arc::clone(&table);
        let noted = tokio::spawn(async move { noting.note_uses(&uses).await });
        wait_for_locked(&mut database.connection().await, 1).await;
        other.execute(update(2)).await.unwrap();
        other.execute("commit").await.unwrap();
        other.close().await.unwrap();

        noted.await.unwrap().unwrap();
        let keys = table.all(10).await.unwrap();
        assert!(keys.iter().all(|key| key.last_used_at == Some(at)));
    }
}
