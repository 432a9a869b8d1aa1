//! The table of API keys in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, SqliteConnection, sqlite::SqliteRow};
use ulid::Ulid;

use super::{
    SqliteStore, corrupt,
    errors::read_error,
    reads::{instant, text},
    to_its_end,
};
use crate::store::{ApiKeyTable, ApiKeyUse, ReadError, StoredApiKey};

const ADD: &str = "insert into api_keys (id, name, secret_hash, rights, created_at, expires_at) \
    values (?, ?, ?, ?, ?, ?) on conflict do nothing";
const ALL: &str = "select id, name, secret_hash, rights, created_at, expires_at, revoked_at, \
    last_used_at from api_keys order by id limit ?";
const ACTIVE: &str = "select id, name, secret_hash, rights, created_at, expires_at, revoked_at, \
    last_used_at from api_keys where revoked_at is null order by id limit ?";
const REVOKE: &str = "update api_keys set revoked_at = ? where name = ? and revoked_at is null";
const NOTE_USE: &str = "update api_keys set last_used_at = ?1 \
    where id = ?2 and (last_used_at is null or last_used_at < ?1)";

/// A write of a few rows.
#[derive(Debug, Clone)]
enum Change {
    Add(StoredApiKey),
    Revoke(String, DateTime<Utc>),
    NoteUses(Vec<ApiKeyUse>),
}

#[async_trait]
impl ApiKeyTable for SqliteStore {
    async fn add(&self, key: &StoredApiKey) -> Result<bool, ReadError> {
        Ok(self.change(Change::Add(key.clone())).await? > 0)
    }

    async fn all(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.read_keys(ALL, limit).await
    }

    async fn active(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError> {
        self.read_keys(ACTIVE, limit).await
    }

    async fn revoke(&self, name: &str, at: DateTime<Utc>) -> Result<bool, ReadError> {
        Ok(self.change(Change::Revoke(name.to_owned(), at)).await? > 0)
    }

    async fn note_uses(&self, uses: &[ApiKeyUse]) -> Result<(), ReadError> {
        self.change(Change::NoteUses(uses.to_vec())).await?;
        Ok(())
    }
}

impl SqliteStore {
    async fn read_keys(
        &self,
        statement: &'static str,
        limit: u32,
    ) -> Result<Vec<StoredApiKey>, ReadError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(statement).bind(limit).fetch_all(&mut *reader);
        rows.await.map_err(read_error)?.iter().map(stored).collect()
    }

    /// Writes, and tells how many rows were changed.
    async fn change(&self, change: Change) -> Result<u64, ReadError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let work = async move {
            let mut writer = shared.writer.lock().await;
            let mut connection = writer.take().await.map_err(read_error)?;
            let changed = async {
                connection.begin().await?;
                let changed = apply(&mut connection.inner, change).await?;
                connection.commit().await?;
                Ok(changed)
            };
            let changed = changed.await;
            connection.rollback().await;
            writer.put_back(connection);
            changed.map_err(read_error)
        };
        to_its_end(work, |error| ReadError::Unavailable(error.into())).await
    }
}

async fn apply(connection: &mut SqliteConnection, change: Change) -> Result<u64, Error> {
    let micros = |time: DateTime<Utc>| time.timestamp_micros();
    match change {
        Change::Add(key) => {
            let added = sqlx::query(ADD)
                .bind(key.id.to_string())
                .bind(key.name)
                .bind(key.secret_hash.to_vec())
                .bind(key.rights)
                .bind(micros(key.created_at))
                .bind(key.expires_at.map(micros));
            Ok(added.execute(connection).await?.rows_affected())
        }
        Change::Revoke(name, at) => {
            let revoked = sqlx::query(REVOKE).bind(micros(at)).bind(name);
            Ok(revoked.execute(connection).await?.rows_affected())
        }
        Change::NoteUses(uses) => {
            let mut noted = 0;
            for used in uses {
                let note = sqlx::query(NOTE_USE)
                    .bind(micros(used.at))
                    .bind(used.id.to_string());
                noted += note.execute(&mut *connection).await?.rows_affected();
            }
            Ok(noted)
        }
    }
}

fn stored(row: &SqliteRow) -> Result<StoredApiKey, ReadError> {
    let time = |column: usize| -> Result<Option<DateTime<Utc>>, ReadError> {
        let micros: Option<i64> = row.try_get(column).map_err(read_error)?;
        micros.map(instant).transpose()
    };
    let hash: &[u8] = row.try_get(2).map_err(read_error)?;
    let hash = hash.try_into();
    let created_at: i64 = row.try_get(4).map_err(read_error)?;
    Ok(StoredApiKey {
        id: text(row.try_get(0).map_err(read_error)?, Ulid::from_string)?,
        name: row.try_get(1).map_err(read_error)?,
        secret_hash: hash.map_err(|_| corrupt("a hash of an API key of another length"))?,
        rights: row.try_get(3).map_err(read_error)?,
        created_at: instant(created_at)?,
        expires_at: time(5)?,
        revoked_at: time(6)?,
        last_used_at: time(7)?,
    })
}
