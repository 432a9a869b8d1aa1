//! Passwords: read, hashed with Argon2id, and forgotten.
//!
//! Hashing is slow by design, so it runs on blocking threads, a bounded number at once and a
//! bounded number waiting; what comes beyond is refused, not queued.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, PasswordVerifier as _,
    password_hash::{self, PasswordHasher as _, phc::PasswordHash},
};
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, task::JoinError};
use zeroize::Zeroizing;

use crate::domain::{IdempotencyKey, InvalidName, Secret, StreamId};

/// A password as it was sent: 1 to 1024 bytes of UTF-8.
///
/// The domain sets no smaller length, because how good a password must be is a policy of the
/// service in front. It cannot be serialized, `Debug` hides it, no error repeats it, and its
/// memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// A checked password.
    ///
    /// # Errors
    /// [`InvalidName`] unless it is 1 to 1024 bytes.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = Zeroizing::new(text.into());
        if (1..=1024).contains(&text.len()) {
            return Ok(Self(text));
        }
        Err(InvalidName {
            what: "a password",
            rule: "1 to 1024 bytes",
        })
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `any` and not `string`: of a number where text should be, serde's own error tells the
        // value, and a password of digits is sent as a number by mistake.
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

fn not_text<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom("a password must be text"))
}

impl<'de> de::Visitor<'de> for PasswordVisitor {
    type Value = Password;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Password, E> {
        Password::parse(text).map_err(E::custom)
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Password, E> {
        Password::parse(text).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Password, E> {
        not_text()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Password, E> {
        not_text()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Password, E> {
        not_text()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Password, E> {
        not_text()
    }

    fn visit_unit<E: de::Error>(self) -> Result<Password, E> {
        not_text()
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Password, A::Error> {
        not_text()
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Password, A::Error> {
        not_text()
    }
}

/// What makes the hashes of equal passwords differ: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 16]);

impl Salt {
    /// A salt of the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The salt of a command that may be sent again under its idempotency key.
    ///
    /// A receipt keeps a hash of the command as it was handled, and a retry must match it. That
    /// hash must not be made of the password itself: it is a fast one, and whoever reads the
    /// database could try passwords against it. So it is made of the prepared command, with the
    /// slow hash in it, and a retry must come to the same slow hash: it needs the same salt. A
    /// salt has to be unique, not secret, and stream and key are.
    #[must_use]
    pub fn derived(stream: &StreamId, key: &IdempotencyKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"dormouse/password-salt/v1");
        let parts = [
            stream.aggregate_type.as_str(),
            stream.aggregate_id.as_str(),
            key.as_str(),
        ];
        for part in parts {
            // The length first, so that no two lists of parts are the same bytes.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(&hasher.finalize()[..16]);
        Self(salt)
    }
}

/// What hashing may cost, for each password and altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordSettings {
    /// How many passwords are hashed at once, 1 at least; each needs `memory_kib` and a core.
    pub concurrency: u32,
    /// How many more may wait for their turn.
    pub queue: u32,
    /// Argon2's memory cost in KiB.
    pub memory_kib: u32,
    /// Argon2's time cost: passes over the memory.
    pub iterations: u32,
    /// Argon2's lanes.
    pub parallelism: u32,
}

impl Default for PasswordSettings {
    /// 19 MiB, two passes, one lane: OWASP's Password Storage Cheat Sheet.
    fn default() -> Self {
        Self {
            concurrency: 2,
            queue: 64,
            memory_kib: 19 * 1024,
            iterations: 2,
            parallelism: 1,
        }
    }
}

/// Settings under which no password can be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPasswordSettings {
    /// Nothing could ever be hashed.
    #[error("the concurrency of password hashing must be 1 at least")]
    NoConcurrency,
    /// Argon2 refuses its costs.
    #[error("the costs of password hashing are out of range")]
    Costs(#[source] argon2::Error),
}

/// Why a password was not hashed, or not compared with a hash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// As many passwords wait as may. Nothing was done; a retry later may help.
    #[error("too many passwords are being hashed already")]
    Busy,
    /// Argon2 failed, or the stored hash is none; a retry does not help.
    #[error("a password cannot be hashed")]
    Failed(#[source] password_hash::Error),
    /// The blocking thread was stopped: the process ends.
    #[error("the hashing of a password was broken off")]
    BrokenOff(#[source] JoinError),
}

/// Hashes passwords, in turn. Clones share the turns.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    params: Params,
    /// One for each password that is being hashed or waits.
    places: Arc<Semaphore>,
    /// One for each password that is being hashed; tokio's semaphore is first come, first served.
    turns: Arc<Semaphore>,
}

impl PasswordHasher {
    /// A hasher with these limits.
    ///
    /// # Errors
    /// [`InvalidPasswordSettings`] where nothing could be hashed.
    pub fn new(settings: PasswordSettings) -> Result<Self, InvalidPasswordSettings> {
        if settings.concurrency == 0 {
            return Err(InvalidPasswordSettings::NoConcurrency);
        }
        let params = Params::new(
            settings.memory_kib,
            settings.iterations,
            settings.parallelism,
            None,
        )
        .map_err(InvalidPasswordSettings::Costs)?;
        let turns = settings.concurrency as usize;
        let places = turns.saturating_add(settings.queue as usize);
        Ok(Self {
            inner: Arc::new(Inner {
                params,
                places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
                turns: Arc::new(Semaphore::new(turns.min(Semaphore::MAX_PERMITS))),
            }),
        })
    }

    /// The Argon2id hash of a password, as a PHC string. It waits its turn, first come, first
    /// served; dropped while it waits it gives its place back at once, dropped later when the
    /// thread is done.
    ///
    /// # Errors
    /// [`HashError::Busy`] at once where the queue is full; the others are failures.
    pub async fn hash(&self, password: Password, salt: Salt) -> Result<Secret<String>, HashError> {
        let params = self.inner.params.clone();
        let hash = self.in_turn(move || hash(params, &password, salt)).await?;
        hash.map_err(HashError::Failed)
    }

    /// Whether a password is the one of this hash. It costs what hashing costs and takes its
    /// turn with it.
    ///
    /// # Errors
    /// As [`Self::hash`]; [`HashError::Failed`] also where the hash is no PHC string of Argon2.
    pub async fn verify(
        &self,
        password: Password,
        hash: &Secret<String>,
    ) -> Result<bool, HashError> {
        let params = self.inner.params.clone();
        let hash = hash.clone();
        let verified = self
            .in_turn(move || verify(params, &password, &hash))
            .await?;
        verified.map_err(HashError::Failed)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let place = Arc::clone(&self.inner.places).try_acquire_owned();
        let place = place.map_err(|_| HashError::Busy)?;
        let turn = Arc::clone(&self.inner.turns).acquire_owned().await;
        // Only a closed semaphore gives no turn, and nobody closes it.
        let turn = turn.map_err(|_| HashError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // They go with the work, not with the caller: a dropped caller frees no core.
            drop((turn, place));
            done
        });
        done.await.map_err(HashError::BrokenOff)
    }
}

fn argon2id(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
}

fn hash(
    params: Params,
    password: &Password,
    salt: Salt,
) -> Result<Secret<String>, password_hash::Error> {
    let hash = argon2id(params).hash_password_with_salt(password.0.as_bytes(), &salt.0)?;
    Ok(Secret::new(hash.to_string()))
}

fn verify(
    params: Params,
    password: &Password,
    hash: &Secret<String>,
) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash.expose())?;
    match argon2id(params).verify_password(password.0.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}
