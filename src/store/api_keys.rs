//! The port to the table of API keys, which lies beside the log. What a key may do is text here.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ulid::Ulid;

use super::ReadError;

/// A key as it is stored: of its secret, the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredApiKey {
    /// Which key it is; no secret.
    pub id: Ulid,
    /// Whose it is; no two keys have the same.
    pub name: String,
    /// The SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// What it may do, separated by blanks.
    pub rights: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is not valid any more; nothing where it always is.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// About when it was last used.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Debug for StoredApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredApiKey")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// When a key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyUse {
    /// The key.
    pub id: Ulid,
    /// When.
    pub at: DateTime<Utc>,
}

/// The table of API keys. Every future may be dropped at any await.
#[async_trait]
pub trait ApiKeyTable: Debug + Send + Sync {
    /// Adds a key. False where a key has this name, revoked or not; then nothing is stored.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn add(&self, key: &StoredApiKey) -> Result<bool, ReadError>;

    /// All keys by id, which is the order in which they were made, `limit` at most.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn all(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError>;

    /// The keys that are not revoked, by id, `limit` at most.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn active(&self, limit: u32) -> Result<Vec<StoredApiKey>, ReadError>;

    /// Takes a key back, by its name. False where there is none that is not revoked; one that was
    /// revoked at this very time may be told again.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn revoke(&self, name: &str, at: DateTime<Utc>) -> Result<bool, ReadError>;

    /// Notes when keys were last used; an earlier time never replaces a later one.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn note_uses(&self, uses: &[ApiKeyUse]) -> Result<(), ReadError>;
}
