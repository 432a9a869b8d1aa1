//! API keys: a name is taken for ever, a key is taken back once. A store without the table, which says
//! so by having none, keeps all of it.

use chrono::{DateTime, TimeDelta, Utc};
use ulid::Ulid;

use super::{Fixture, instant};
use crate::store::{ApiKeyTable, ApiKeyUse, StoredApiKey};

/// The key of this number; ids grow with the numbers.
fn key(number: u8) -> StoredApiKey {
    let millis = 1_714_885_505_123 + u64::from(number);
    StoredApiKey {
        id: Ulid::from_parts(millis, rand::random()),
        name: format!("key {number}"),
        secret_hash: [number; 32],
        rights: "User:read Role:*".to_owned(),
        created_at: instant(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn later(seconds: i64) -> DateTime<Utc> {
    instant() + TimeDelta::seconds(seconds)
}

async fn add(table: &dyn ApiKeyTable, keys: &[&StoredApiKey]) {
    for key in keys {
        assert!(table.add(key).await.expect("a key to add"), "{key:?}");
    }
}

async fn all(table: &dyn ApiKeyTable) -> Vec<StoredApiKey> {
    table.all(100).await.expect("all keys")
}

async fn active(table: &dyn ApiKeyTable, limit: u32) -> Vec<StoredApiKey> {
    table.active(limit).await.expect("the active keys")
}

/// With an end or without.
pub async fn a_key_is_read_back_as_it_was(fixture: &impl Fixture) {
    let Some(table) = fixture.api_keys().await else {
        return;
    };
    let ending = StoredApiKey {
        expires_at: Some(later(60)),
        ..key(1)
    };
    let keys = [ending, key(2)];

    add(&*table, &[&keys[0], &keys[1]]).await;

    assert_eq!(all(&*table).await, keys);
    assert_eq!(active(&*table, 100).await, keys);
}

/// Nothing is stored of the second, revoked or not.
pub async fn a_name_of_a_key_stays_taken_after_it_is_revoked(fixture: &impl Fixture) {
    let Some(table) = fixture.api_keys().await else {
        return;
    };
    let first = key(1);
    let second = StoredApiKey {
        name: first.name.clone(),
        ..key(2)
    };
    add(&*table, &[&first]).await;

    let beside = table.add(&second).await.expect("an answer");
    let revoked = table.revoke(&first.name, later(1)).await;
    let after = table.add(&second).await.expect("an answer");

    assert!(revoked.expect("an answer"));
    assert_eq!((beside, after), (false, false));
    let ids: Vec<Ulid> = all(&*table).await.iter().map(|key| key.id).collect();
    assert_eq!(ids, [first.id]);
}

/// Whatever the order they were added in.
pub async fn keys_are_in_the_order_of_their_ids_up_to_the_limit(fixture: &impl Fixture) {
    let Some(table) = fixture.api_keys().await else {
        return;
    };
    let keys = [key(1), key(2), key(3), key(4)];
    add(&*table, &[&keys[2], &keys[0], &keys[3], &keys[1]]).await;

    assert_eq!(all(&*table).await, keys);
    assert_eq!(table.all(3).await.expect("three keys"), keys[..3]);
    assert_eq!(active(&*table, 2).await, keys[..2]);
}

/// The second time changes nothing; of a name that nobody has, nothing is revoked.
pub async fn a_key_is_revoked_once_and_active_no_more(fixture: &impl Fixture) {
    let Some(table) = fixture.api_keys().await else {
        return;
    };
    let keys = [key(1), key(2), key(3)];
    add(&*table, &[&keys[0], &keys[1], &keys[2]]).await;

    let mut revoked = Vec::new();
    for (name, at) in [("key 2", 1), ("key 2", 2), ("nobody's", 3)] {
        let answer = table.revoke(name, later(at)).await;
        revoked.push(answer.expect("an answer"));
    }

    assert_eq!(revoked, [true, false, false]);
    let left = [keys[0].clone(), keys[2].clone()];
    assert_eq!(active(&*table, 100).await, left);
    // The limit counts those that are active.
    assert_eq!(active(&*table, 2).await, left);
    let times: Vec<_> = all(&*table)
        .await
        .iter()
        .map(|key| key.revoked_at)
        .collect();
    assert_eq!(times, [None, Some(later(1)), None]);
}

/// In one call as well, and of a key that is not there nothing is noted.
pub async fn an_earlier_use_of_a_key_never_replaces_a_later_one(fixture: &impl Fixture) {
    let Some(table) = fixture.api_keys().await else {
        return;
    };
    // Those are noted by a server.
    let server = fixture.open().await.api_keys();
    let server = server.expect("the table, for a server as well");
    let keys = [key(1), key(2)];
    add(&*table, &[&keys[0], &keys[1]]).await;
    let used = |key: usize, seconds| ApiKeyUse {
        id: keys[key].id,
        at: later(seconds),
    };
    let nobodys = ApiKeyUse {
        id: key(9).id,
        at: later(9),
    };

    let mut noted = Vec::new();
    for uses in [
        vec![used(1, 5), nobodys, used(0, 5)],
        vec![used(0, 4), used(1, 6)],
        Vec::new(),
    ] {
        server.note_uses(&uses).await.expect("uses to note");
        let keys = all(&*table).await;
        noted.push(keys.iter().map(|key| key.last_used_at).collect::<Vec<_>>());
    }

    let [five, six] = [5, 6].map(|seconds| Some(later(seconds)));
    assert_eq!(noted, [[five, five], [five, six], [five, six]]);
}
