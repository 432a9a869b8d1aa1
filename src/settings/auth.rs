//! `[auth]`: who is let in, and how that is known.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::secret_text::SecretText;
use super::value::{duration, flag, number, path, text, word};

/// The shortest key that tokens of a login are signed with, in bytes: HMAC-SHA-256 wants one as long
/// as its output (RFC 7518, section 3.2).
pub(crate) const SHORTEST_LOGIN_KEY: usize = 32;

/// `[auth]`: who is let in, and how that is known.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether a request needs a token; default `none`.
    pub mode: AuthMode,
    /// The file with the public keys of whoever issues tokens, a JWKS or PEM; default none.
    #[serde(deserialize_with = "path")]
    pub jwt_keys: Option<PathBuf>,
    /// The issuer that tokens of these keys must name; there is no default.
    #[serde(deserialize_with = "plain")]
    pub jwt_issuer: String,
    /// What an RSA key that names no algorithm is used with; default `RS256`.
    pub jwt_rsa_algorithm: RsaAlgorithm,
    /// What a token must be meant for; default `dormouse`.
    #[serde(deserialize_with = "plain")]
    pub audience: String,
    /// The claim of a token that holds its rights; default `rights`.
    #[serde(deserialize_with = "plain")]
    pub rights_claim: String,
    /// How far clocks may differ where a token's times are checked: up to a day, default 30s.
    #[serde(deserialize_with = "duration")]
    pub leeway: Duration,
    /// The most verified tokens that are remembered: 0 to 1000000, default 10000.
    #[serde(deserialize_with = "number::<_, _, 0, 1_000_000>")]
    pub token_cache: usize,
    /// How often the files with keys are looked at: up to a day, default 5s.
    #[serde(deserialize_with = "duration")]
    pub reload: Duration,
    /// How often API keys are read from the store, so how soon one that is revoked is refused: up to
    /// a day, default 5s.
    #[serde(deserialize_with = "duration")]
    pub keys_reload: Duration,
    /// How long API keys are good for while the store cannot be read: longer than `keys_reload`, up
    /// to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub keys_max_age: Duration,
    /// The most API keys that are not revoked: 1 to 100000, default 10000.
    #[serde(deserialize_with = "number::<_, _, 1, 100_000>")]
    pub max_keys: u32,
    /// Whether `/openapi.json` is told to everybody, so that the page `/docs` can be used; default no.
    #[serde(deserialize_with = "flag")]
    pub open_docs: bool,
    /// The secret that tokens of `POST /v1/login` are signed with, 32 bytes at least; without one
    /// there is no login.
    pub login_key: SecretText,
    /// The file that holds it instead; default none.
    #[serde(deserialize_with = "path")]
    pub login_key_file: Option<PathBuf>,
    /// How long a token of a login is valid: up to a day, default 15m.
    #[serde(deserialize_with = "duration")]
    pub login_ttl: Duration,
    /// Logins a minute from one address: 1 to 1000000, default 30; more are refused.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub logins_per_address: u32,
    /// Logins a minute for one username: 1 to 1000000, default 10; more are refused.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub logins_per_username: u32,
    /// How long a login takes that fails, so that its time tells nothing: up to a day, default 500ms.
    #[serde(deserialize_with = "duration")]
    pub login_failure_time: Duration,
}

impl AuthSettings {
    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, message: &str| Err((key, message.to_owned()));
        if self.jwt_keys.is_some() && self.jwt_issuer.is_empty() {
            return wrong(
                "jwt_issuer",
                "must name who issues the tokens of `auth.jwt_keys`",
            );
        }
        if self.audience.is_empty() {
            return wrong("audience", "must name what tokens are meant for");
        }
        if self.rights_claim.is_empty() {
            return wrong("rights_claim", "must name the claim with the rights");
        }
        if !self.login_key.is_empty() && self.login_key.expose().len() < SHORTEST_LOGIN_KEY {
            return wrong("login_key", "must have 32 bytes at least");
        }
        if !self.login_key.is_empty() && self.login_key_file.is_some() {
            return wrong("login_key", "excludes `auth.login_key_file`");
        }
        if self.keys_max_age <= self.keys_reload {
            // Else each key is refused from that age on until the next look.
            return wrong("keys_max_age", "must be more than `auth.keys_reload`");
        }
        Ok(())
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            mode: AuthMode::None,
            jwt_keys: None,
            jwt_issuer: String::new(),
            jwt_rsa_algorithm: RsaAlgorithm::Rs256,
            audience: "dormouse".to_owned(),
            rights_claim: "rights".to_owned(),
            leeway: Duration::from_secs(30),
            token_cache: 10_000,
            reload: Duration::from_secs(5),
            keys_reload: Duration::from_secs(5),
            keys_max_age: Duration::from_mins(1),
            max_keys: 10_000,
            open_docs: false,
            login_key: SecretText::default(),
            login_key_file: None,
            login_ttl: Duration::from_mins(15),
            logins_per_address: 30,
            logins_per_username: 10,
            login_failure_time: Duration::from_millis(500),
        }
    }
}

fn plain<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, "text")
}

/// Whether requests need a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Everybody who reaches the port may do everything.
    None,
    /// Each request needs a token with the right to it.
    Token,
}

impl<'de> Deserialize<'de> for AuthMode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(from, &[("none", Self::None), ("token", Self::Token)])
    }
}

/// What an RSA key can be used with (RFC 7518, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the RFC")]
pub enum RsaAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
}

impl<'de> Deserialize<'de> for RsaAlgorithm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = [
            ("RS256", Self::Rs256),
            ("RS384", Self::Rs384),
            ("RS512", Self::Rs512),
            ("PS256", Self::Ps256),
            ("PS384", Self::Ps384),
            ("PS512", Self::Ps512),
        ];
        word(from, &words)
    }
}
