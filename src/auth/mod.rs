//! Who asks, and what it may do: tokens, API keys, rights, and the login's side of them.
//!
//! HTTP asks the [`Authenticator`] whose token a request bears; the reference domain implements
//! [`SignIn`]. This module knows neither HTTP nor a database: API keys come through the store's port.
//!
//! Invariants: what is not granted is denied; a key is used with the one algorithm it is pinned
//! to; no secret is in an error, a log or `Debug`; nothing grows with what callers send; of a request
//! with a token that was seen before, nothing is verified anew and nothing is asked.

mod api_key;
mod follow;
mod jwt;
mod key_book;
mod key_set;
mod login;
mod meters;
mod principal;
mod refusal;
mod right;
#[cfg(test)]
mod tests;
mod token_cache;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Utc};
use serde_json::json;

pub use api_key::{ApiKey, CreateKeyError, NewApiKey, create_key};
pub use jwt::TokenError;
pub use key_set::KeyError;
pub use login::{Credentials, SignIn, SignInError, SignedIn};
use principal::Source;
pub use principal::{Principal, created_by};
pub use refusal::Refusal;
pub use right::{InvalidRight, Right, Rights};

use crate::{
    domain::Clock,
    metrics::{Collect, Exposition},
    settings::AuthSettings,
    store::{ApiKeyTable, ReadError},
};
use follow::{follow_book, follow_files};
use jwt::Verifier;
use key_book::KeyBook;
use key_set::{KeySet, LOGIN_ISSUER, Texts};
use meters::AuthMeters;
pub(crate) use meters::{LoginOutcome, Why};
use token_cache::{Digest, TokenCache};

/// Why nobody could be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The keys of tokens cannot be used.
    #[error("the keys of tokens cannot be used")]
    Keys(#[from] KeyError),
    /// The API keys cannot be read.
    #[error("the API keys cannot be read")]
    ApiKeys(#[from] ReadError),
}

/// Knows whose a token is. Clones are cheap and the same; it stops looking for new keys with the last.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    settings: AuthSettings,
    clock: Arc<dyn Clock>,
    keys: RwLock<Arc<KeySet>>,
    cache: TokenCache,
    book: Option<KeyBook>,
    meters: AuthMeters,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

/// A token that was made for someone.
pub struct Issued {
    /// The token.
    pub token: zeroize::Zeroizing<String>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Reads all keys, and goes on looking for others in tasks of the tokio runtime it is called in.
    /// Without a table there are no API keys.
    ///
    /// # Errors
    /// [`StartError`]; later, keys that cannot be read are told in the log, and the old ones stay.
    pub async fn start(
        settings: &AuthSettings,
        table: Option<Arc<dyn ApiKeyTable>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let texts = Texts::read(settings)?;
        let keys = texts.keys(settings)?;
        let book = match table {
            Some(table) => {
                let book = KeyBook::open(table, settings.max_keys, settings.keys_max_age);
                Some(book.await?)
            }
            None => None,
        };
        let inner = Arc::new(Inner {
            cache: TokenCache::new(settings.token_cache),
            keys: RwLock::new(Arc::new(keys)),
            settings: settings.clone(),
            clock,
            book,
            meters: AuthMeters::default(),
        });
        if texts.are_in_files() {
            tokio::spawn(follow_files(Arc::downgrade(&inner), texts));
        }
        if inner.book.is_some() {
            tokio::spawn(follow_book(Arc::downgrade(&inner)));
        }
        Ok(Self(inner))
    }

    /// Whose a token is, be it a JWT or an API key.
    ///
    /// # Errors
    /// [`Refusal`]; only [`Refusal::Unavailable`] may pass by itself.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, Refusal> {
        let now = self.0.clock.now();
        let is_key = ApiKey::looks_like(token);
        let may_be_one = if is_key {
            ApiKey::is_as_long(token)
        } else {
            token.bytes().filter(|byte| *byte == b'.').count() == 2
        };
        if !may_be_one {
            return Err(Refusal::Malformed);
        }
        let digest = TokenCache::digest(token);
        if let Some(known) = self.0.remembered(&digest, now) {
            return known;
        }
        let keys = self.0.keys();
        let principal = if is_key {
            self.key(token, now).await?
        } else {
            let settings = &self.0.settings;
            let verifier = Verifier {
                keys: &keys,
                settings,
                now,
            };
            verifier.verify(token)?
        };
        // What is verified with old keys is not kept beside new ones.
        let (cache, generation) = (&self.0.cache, keys.generation);
        cache.keep(digest, principal.clone(), generation);
        Ok(principal)
    }

    async fn key(&self, token: &str, now: DateTime<Utc>) -> Result<Principal, Refusal> {
        let key = ApiKey::parse(token).ok_or(Refusal::Malformed)?;
        match &self.0.book {
            Some(book) => book.verify(&key, now).await,
            None => Err(Refusal::UnknownKey),
        }
    }

    /// Waits until a caller is not known any more: its token has expired or the keys of tokens are
    /// others, its API key has expired or was revoked.
    ///
    /// Other keys end all that tokens of the old ones opened, though the signer may be among them
    /// still: who comes back with its token is known, if it is.
    pub async fn until_unknown(&self, principal: &Principal) {
        let settings = &self.0.settings;
        let pause = match principal.source() {
            Source::Token(_) => settings.reload,
            Source::Key(_) => settings.keys_reload,
        };
        loop {
            let now = self.0.clock.now();
            // A time that is over is none that is left.
            let left = principal.expires_at();
            let left = left.map(|time| (time - now).to_std().unwrap_or_default());
            if left.is_some_and(|left| left.is_zero()) || !self.0.knows(principal.source()) {
                return;
            }
            tokio::time::sleep(left.map_or(pause, |left| left.min(pause))).await;
        }
    }

    /// Whether there is a key to sign tokens with.
    #[must_use]
    pub fn can_issue(&self) -> bool {
        self.0.keys().signing.is_some()
    }

    /// Makes a token for someone, valid for `auth.login_ttl`; nothing where there is no key for it.
    #[must_use]
    pub fn issue(&self, subject: &str, rights: &Rights) -> Option<Issued> {
        let keys = self.0.keys();
        let signing = keys.signing.as_ref()?;
        let now = self.0.clock.now();
        let lifetime = chrono::TimeDelta::from_std(self.0.settings.login_ttl).ok()?;
        let expires_at = now + lifetime;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(signing.id.clone());
        let claims = json!({
            "iss": LOGIN_ISSUER,
            "aud": self.0.settings.audience,
            "sub": subject,
            "iat": now.timestamp(),
            "exp": expires_at.timestamp(),
            // Two logins in one second are two tokens.
            "jti": ulid::Ulid::from_bytes(rand::random()).to_string(),
            self.0.settings.rights_claim.as_str(): rights.texts().collect::<Vec<_>>(),
        });
        let token = jsonwebtoken::encode(&header, &claims, &signing.key);
        match token {
            Ok(token) => Some(Issued {
                token: token.into(),
                expires_at,
            }),
            Err(error) => {
                tracing::error!(%error, "a token cannot be signed");
                None
            }
        }
    }

    /// Counts a request that was not let in.
    pub(crate) fn count_refusal(&self, why: Why) {
        self.0.meters.refused(why);
    }

    /// Counts a login by how it ended.
    pub(crate) fn count_login(&self, outcome: LoginOutcome) {
        self.0.meters.login(outcome);
    }

    /// Who is let in, and how that is known.
    #[must_use]
    pub fn settings(&self) -> &AuthSettings {
        &self.0.settings
    }
}

impl Collect for Authenticator {
    fn collect(&self, exposition: &mut Exposition) {
        self.0.meters.collect(exposition);
    }
}

impl Inner {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose a token is that was verified before; nothing where it must be verified anew.
    fn remembered(
        &self,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> Option<Result<Principal, Refusal>> {
        let known = self.cache.find(digest)?;
        match known.source() {
            // Had the keys changed, it would have been forgotten.
            Source::Token(_) if known.expires_at().is_some_and(|time| now < time) => {
                Some(Ok(known))
            }
            Source::Token(_) => Some(Err(TokenError::Expired.into())),
            Source::Key(id) if self.book.as_ref()?.is_used(id, &known, now) => Some(Ok(known)),
            Source::Key(_) => None,
        }
    }

    /// Whether what a caller was known by is still good.
    fn knows(&self, source: Source) -> bool {
        match source {
            Source::Token(generation) => self.keys().generation == generation,
            Source::Key(id) => self.book.as_ref().is_some_and(|book| book.knows(id)),
        }
    }
}
