//! API keys: what a program shows instead of a token, and how one is made.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;
use zeroize::Zeroizing;

use super::Rights;
use crate::{
    domain::InvalidName,
    store::{ApiKeyTable, ReadError, StoredApiKey},
};

/// How every key begins, so that one that was leaked is recognized, by people and by scanners.
const PREFIX: &str = "dmk_";
/// The bytes of a secret.
const SECRET_BYTES: usize = 32;
/// The length of a key: its prefix, a ULID, a mark, and the secret's digits.
const LENGTH: usize = PREFIX.len() + 26 + 1 + 2 * SECRET_BYTES;

/// An API key as it is shown, once: `dmk_<id>_<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub(super) id: Ulid,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.id).finish()
    }
}

impl ApiKey {
    /// A key of the operating system's randomness.
    #[must_use]
    pub fn random(id: Ulid) -> Self {
        Self {
            id,
            secret: Zeroizing::new(rand::random()),
        }
    }

    /// Whether a token is meant to be a key.
    pub(super) fn looks_like(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// Whether a token is as long as a key.
    pub(super) fn is_as_long(token: &str) -> bool {
        token.len() == LENGTH
    }

    /// Reads a key as it was shown; nothing where it is none.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let (written, digits) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let id = Ulid::from_string(written).ok()?;
        // Both parts may be written in other ways, a key in one alone: it is what scanners look for.
        let is_own = id.array_to_str(&mut [0; ulid::ULID_LEN]) == written;
        if !is_own || digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return None;
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        hex::decode_to_slice(digits, secret.as_mut_slice()).ok()?;
        Some(Self { id, secret })
    }

    /// The key as text, for whoever it is made for.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(self.secret.as_slice()));
        // Of its full length from the start: what a text leaves behind as it grows, nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        for part in [PREFIX, &self.id.to_string(), "_", &digits] {
            text.push_str(part);
        }
        text
    }

    /// What is kept of the secret.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_slice()).into()
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Whose it is: 1 to 22 characters of `A-Z a-z 0-9 . _ -`, for `key:<name>` is what is stored with
    /// its events.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// From when on it is not valid any more.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateKeyError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It is over before it begins.
    #[error("the key would have expired already")]
    Expired,
    /// There is such a key, or was: its name stands with its events.
    #[error("there is a key `{0}`, or was; a name is given once, for it stands with its events")]
    NameTaken(String),
    /// There are as many as may be.
    #[error("there are {0} keys that are not revoked, and no more may be (`auth.max_keys`)")]
    TooMany(u32),
    /// The store failed.
    #[error("the keys cannot be reached")]
    Store(#[from] ReadError),
}

/// Makes a key. It is shown here and never again.
///
/// # Errors
/// [`CreateKeyError`]; nothing is stored then.
pub async fn create_key(
    table: &dyn ApiKeyTable,
    new: NewApiKey,
    most: u32,
    now: DateTime<Utc>,
) -> Result<ApiKey, CreateKeyError> {
    check_name(&new.name)?;
    if new.expires_at.is_some_and(|time| time <= now) {
        return Err(CreateKeyError::Expired);
    }
    let active = table.active(most).await?;
    if u32::try_from(active.len()).unwrap_or(u32::MAX) >= most {
        return Err(CreateKeyError::TooMany(most));
    }
    let key = ApiKey::random(Ulid::from_parts(
        now.timestamp_millis().unsigned_abs(),
        rand::random(),
    ));
    let stored = StoredApiKey {
        id: key.id,
        name: new.name,
        secret_hash: key.hash(),
        rights: new.rights.to_string(),
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    if table.add(&stored).await? {
        Ok(key)
    } else {
        Err(CreateKeyError::NameTaken(stored.name))
    }
}

fn check_name(name: &str) -> Result<(), InvalidName> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=22).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(InvalidName {
        what: "the name of a key",
        rule: "1 to 22 characters of A-Z a-z 0-9 . _ -",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_shown_and_shown_to_nobody_else() {
        let key = ApiKey::random(Ulid::from_parts(1, 2));
        let shown = key.expose();

        assert_eq!((shown.len(), shown.capacity()), (LENGTH, LENGTH));
        assert_eq!(ApiKey::parse(&shown).as_ref(), Some(&key));
        let secret = &shown[31..];
        assert!(!format!("{key:?}").contains(secret));
        assert_ne!(key.hash(), ApiKey::random(key.id).hash());
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let id = Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let shown = ApiKey::random(id).expose();
        assert!(ApiKey::parse(&shown).is_some());
        let upper = shown.to_uppercase();
        let long = format!("{}0", *shown);
        let (id, secret) = shown[4..].split_at(26);
        let small = format!("dmk_{}{secret}", id.to_lowercase());
        let as_people_read_it = format!("dmk_{}{secret}", id.replace('0', "o"));
        let large = format!("dmk_{id}_{}", "AB".repeat(32));
        for text in [
            &shown[..94],
            &shown[1..],
            &upper,
            &long,
            &small,
            &as_people_read_it,
            &large,
            "dmk_",
            "",
            "dmk__",
        ] {
            assert_eq!(ApiKey::parse(text), None, "{text}");
        }
    }
}
