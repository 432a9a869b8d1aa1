//! The table of API keys in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgBindIterExt as _, PgRow};
use ulid::Ulid;

use super::{
    errors::read_error,
    reads::Readers,
    rows::{column, corrupt, parsed},
};
use crate::store::{ApiKeyTable, ApiKeyUse, ReadError, StoredApiKey};

const ADD: &str = "insert into api_keys (id, name, secret_hash, rights, created_at, expires_at) \
    values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning id";
const ALL: &str = "select id, name, secret_hash, rights, created_at, expires_at, revoked_at, \
    last_used_at from api_keys order by id limit $1";
const ACTIVE: &str = "select id, name, secret_hash, rights, created_at, expires_at, revoked_at, \
    last_used_at from api_keys where revoked_at is null order by id limit $1";
/// Whether a key is there that was just added. The id is random: nobody else's is the same.
const IS_ADDED: &str = "select 1 from api_keys where id = $1";
/// Sent again because its connection broke, it meets its own time and says again that it revoked.
const REVOKE: &str = "update api_keys set revoked_at = $2 \
    where name = $1 and (revoked_at is null or revoked_at = $2) returning id";
/// Locks the keys in one order first: two servers that write the same in two orders would wait for
/// each other.
const NOTE_USES: &str = "with held as materialized ( \
        select id from api_keys where id = any($1::text[]) order by id for no key update) \
    update api_keys set last_used_at = used.at \
    from unnest($1::text[], $2::timestamptz[]) as used (id, at) join held on held.id = used.id \
    where api_keys.id = used.id \
    and (api_keys.last_used_at is null or api_keys.last_used_at < used.at)";

/// The table, through the readers' connections: their statements are as short.
#[derive(Clone)]
pub(super) struct ApiKeys(pub(super) Readers);

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeys")
    }
}

#[async_trait]
impl ApiKeyTable for ApiKeys {
    async fn add(&self, key: &StoredApiKey) -> Result<bool, ReadError> {
        let added = self.0.row(|| {
            sqlx::query(ADD)
                .bind(key.id.to_string())
                .bind(key.name.clone())
                .bind(key.secret_hash.to_vec())
                .bind(key.rights.clone())
                .bind(key.created_at)
                .bind(key.expires_at)
        });
        if added.await?.is_some() {
            return Ok(true);
        }
        // The statement is sent again where its connection broke: then it met itself.
        let stored = self
            .0
            .row(|| sqlx::query(IS_ADDED).bind(key.id.to_string()));
        Ok(stored.await?.is_some())
    }

    async fn all(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.read(ALL, limit).await
    }

    async fn active(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.read(ACTIVE, limit).await
    }

    async fn revoke(&self, name: &str, at: DateTime<Utc>) -> Result<bool, ReadError> {
        let revoked = self
            .0
            .row(|| sqlx::query(REVOKE).bind(name.to_owned()).bind(at));
        Ok(revoked.await?.is_some())
    }

    async fn note_uses(&self, uses: &[ApiKeyUse]) -> Result<(), ReadError> {
        let noted = self.0.rows(|| {
            sqlx::query(NOTE_USES)
                .bind(uses.iter().map(|used| used.id.to_string()).bind_iter())
                .bind(uses.iter().map(|used| used.at).bind_iter())
        });
        noted.await.map_err(read_error)?;
        Ok(())
    }
}

impl ApiKeys {
    async fn read(
        &self,
        statement: &'static str,
        limit: u32,
    ) -> Result<Vec<StoredApiKey>, ReadError> {
        let found = self
            .0
            .rows(|| sqlx::query(statement).bind(i64::from(limit)));
        let found = found.await.map_err(read_error)?;
        found.iter().map(stored).collect()
    }
}

fn stored(row: &PgRow) -> Result<StoredApiKey, ReadError> {
    let hash: &[u8] = column(row, 2)?;
    let hash = hash.try_into();
    Ok(StoredApiKey {
        id: parsed(row, 0, Ulid::from_string)?,
        name: column(row, 1)?,
        secret_hash: hash.map_err(|_| corrupt("a hash of an API key of another length"))?,
        rights: column(row, 3)?,
        created_at: column(row, 4)?,
        expires_at: column(row, 5)?,
        revoked_at: column(row, 6)?,
        last_used_at: column(row, 7)?,
    })
}
