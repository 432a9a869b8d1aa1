//! Passwords become hashes: Argon2id, in turn. Hashes of bcrypt, which other systems left, are verified
//! too; none is made.
//!
//! Hashing is slow by design, so it runs on blocking threads, a bounded number at once and a
//! bounded number waiting; what comes beyond is refused, not queued.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordVerifier as _,
    password_hash::{self, PasswordHasher as _, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::JoinError};

use super::{Password, Salt};
use crate::domain::Secret;

/// The highest cost of a bcrypt hash that is verified: each step doubles the time, and at this one
/// it is some seconds. Whoever can write a hash must not be able to keep a thread for ever.
const MOST_BCRYPT_COST: u32 = 16;

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
    /// The stored hash is none of bcrypt's, though it begins like one, or would take minutes. Its
    /// cause is not kept, for it repeats the hash.
    #[error("a stored hash of bcrypt cannot be used")]
    BadBcrypt,
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
    /// As [`Self::hash`]; [`HashError::Failed`] also where the hash is no PHC string of Argon2, and
    /// [`HashError::BadBcrypt`].
    pub async fn verify(
        &self,
        password: Password,
        hash: &Secret<String>,
    ) -> Result<bool, HashError> {
        let params = self.inner.params.clone();
        let hash = hash.clone();
        self.in_turn(move || verify(params, &password, &hash))
            .await?
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
    let hash = argon2id(params).hash_password_with_salt(password.as_bytes(), salt.as_bytes())?;
    Ok(Secret::new(hash.to_string()))
}

fn verify(params: Params, password: &Password, hash: &Secret<String>) -> Result<bool, HashError> {
    if hash.expose().starts_with("$2") {
        return verify_bcrypt(password, hash);
    }
    let hash = PasswordHash::new(hash.expose()).map_err(|error| HashError::Failed(error.into()))?;
    match argon2id(params).verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(HashError::Failed(error)),
    }
}

/// As those who made such hashes did, only the first 72 bytes of a password count.
fn verify_bcrypt(password: &Password, hash: &Secret<String>) -> Result<bool, HashError> {
    let parts: bcrypt::HashParts = hash.expose().parse().map_err(|_| HashError::BadBcrypt)?;
    if parts.get_cost() > MOST_BCRYPT_COST {
        return Err(HashError::BadBcrypt);
    }
    bcrypt::verify(password.as_bytes(), hash.expose()).map_err(|_| HashError::BadBcrypt)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const CHEAP: PasswordSettings = PasswordSettings {
        concurrency: 1,
        queue: 1,
        memory_kib: 8,
        iterations: 1,
        parallelism: 1,
    };

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_and_knows_its_password() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();

        let hash = hasher
            .hash(password("right"), Salt::random())
            .await
            .unwrap();

        let costs = "$argon2id$v=19$m=8,t=1,p=1$";
        assert!(hash.expose().starts_with(costs), "{}", hash.expose());
        assert!(hasher.verify(password("right"), &hash).await.unwrap());
        assert!(!hasher.verify(password("wrong"), &hash).await.unwrap());
    }

    #[tokio::test]
    async fn the_same_salt_gives_the_same_hash_and_another_another() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        let salt = Salt::random();

        let first = hasher.hash(password("a"), salt).await.unwrap();
        let second = hasher.hash(password("a"), salt).await.unwrap();
        let other = hasher.hash(password("a"), Salt::random()).await.unwrap();

        assert_eq!(first, second);
        assert_ne!(first, other);
    }

    #[tokio::test]
    async fn what_is_no_hash_fails_and_is_not_repeated() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        let no_hash = Secret::new("7361".to_owned());

        let error = hasher.verify(password("a"), &no_hash).await.unwrap_err();

        assert!(matches!(error, HashError::Failed(_)));
        assert!(!format!("{error} {error:?}").contains("7361"));
    }

    #[tokio::test]
    async fn a_hash_of_bcrypt_knows_its_password() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        // From OpenBSD's tests by way of Openwall's crypt_blowfish (wrapper.c): other programs' work.
        let cases = [
            (
                "U*U",
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            ),
            (
                "U*U*",
                "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
            ),
        ];
        for (text, hash) in cases {
            let hash = Secret::new(hash.to_owned());

            assert!(
                hasher.verify(password(text), &hash).await.unwrap(),
                "{text}"
            );
            assert!(!hasher.verify(password("U*"), &hash).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_hash_of_bcrypt_that_is_broken_or_would_take_for_ever_is_refused_and_not_repeated() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        for hash in [
            "$2b$05$7361",
            "$2b$31$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
            "$2b$17$7361CCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
            "$2",
        ] {
            let hash = Secret::new(hash.to_owned());

            let error = hasher.verify(password("a"), &hash).await.unwrap_err();

            assert!(matches!(error, HashError::BadBcrypt), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("7361"));
        }
    }

    #[tokio::test]
    async fn what_comes_beyond_the_queue_is_busy_at_once() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let hashing = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.in_turn(move || released.recv()).await }
        });
        let waiting = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(password("a"), Salt::random()).await }
        });
        // One thread runs the tasks in turn, and each runs until it waits.
        tokio::task::yield_now().await;

        let beyond = hasher.hash(password("b"), Salt::random()).await;
        release.send(()).unwrap();

        assert!(matches!(beyond, Err(HashError::Busy)));
        assert!(hashing.await.unwrap().unwrap().is_ok());
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_dropped_waiter_gives_its_place_back_and_a_dropped_caller_when_the_thread_is_done() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let mut hashing = Box::pin(hasher.in_turn(move || released.recv()));
        assert!(futures_util::poll!(&mut hashing).is_pending());
        let mut waiting = Box::pin(hasher.hash(password("a"), Salt::random()));
        assert!(futures_util::poll!(&mut waiting).is_pending());

        drop(waiting);
        let freed = hasher.inner.places.available_permits();
        drop(hashing);
        let busy = hasher.inner.turns.available_permits();
        release.send(()).unwrap();
        let next = hasher.hash(password("b"), Salt::random()).await;

        assert_eq!((freed, busy), (1, 0));
        assert!(next.is_ok());
    }

    #[test]
    fn settings_under_which_nothing_can_be_hashed_are_refused() {
        let nothing = PasswordSettings {
            concurrency: 0,
            ..CHEAP
        };
        let too_little = PasswordSettings {
            memory_kib: 7,
            ..CHEAP
        };

        assert!(matches!(
            PasswordHasher::new(nothing),
            Err(InvalidPasswordSettings::NoConcurrency)
        ));
        assert!(matches!(
            PasswordHasher::new(too_little),
            Err(InvalidPasswordSettings::Costs(_))
        ));
        assert!(PasswordHasher::new(PasswordSettings::default()).is_ok());
    }
}
