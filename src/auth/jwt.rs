//! JSON Web Tokens: signed by a key that is known, with the algorithm that the key is pinned to.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};

use super::{Principal, Rights, key_set::KeySet};
use crate::settings::AuthSettings;

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 256;
/// How many keys one token is tried with: where many have no id, none of them must cost too much.
const MOST_TRIES: usize = 4;

/// Why a token is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read, or asks for what nobody here understands.
    #[error("it is no JWT that can be read")]
    Unreadable,
    /// No key here has its id and its algorithm.
    #[error("no key with its id and algorithm is known")]
    UnknownSigner,
    /// Its signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing or is not what it should be.
    #[error("its claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    TooEarly,
}

/// A key that tokens are verified with, and all that its tokens must say.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    /// Its id, where it has one.
    pub(super) id: Option<String>,
    /// The one algorithm it is used with, whatever a token's header says.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// Who issues tokens with it.
    pub(super) issuer: String,
}

/// What a token is held against.
pub(super) struct Verifier<'a> {
    pub(super) keys: &'a KeySet,
    pub(super) settings: &'a AuthSettings,
    pub(super) now: DateTime<Utc>,
}

impl Verifier<'_> {
    /// Verifies a token, and tells whose it is.
    pub(super) fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Unreadable)?;
        // What it calls critical must be understood (RFC 7515, section 4.1.11), and nothing is here.
        if header.crit.is_some() {
            return Err(TokenError::Unreadable);
        }
        let mut error = TokenError::UnknownSigner;
        let keys = self.keys.verifying.iter();
        for key in keys.filter(|key| key.fits(&header)).take(MOST_TRIES) {
            match signed_claims(token, key) {
                Ok(claims) => return self.principal(&claims, key),
                Err(wrong) => error = wrong,
            }
        }
        Err(error)
    }

    fn principal(
        &self,
        claims: &Map<String, Value>,
        key: &VerifyingKey,
    ) -> Result<Principal, TokenError> {
        let (settings, now) = (self.settings, self.now);
        let text = |name: &'static str| {
            let text = claims.get(name).and_then(Value::as_str);
            text.ok_or(TokenError::Claim(name))
        };
        if text("iss")? != key.issuer {
            return Err(TokenError::Claim("iss"));
        }
        if !is_meant_for(claims.get("aud"), &settings.audience) {
            return Err(TokenError::Claim("aud"));
        }
        let leeway = chrono::TimeDelta::from_std(settings.leeway).unwrap_or_default();
        let expires_at = time(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        // Past the end of time there is no later: then the leeway adds nothing.
        let expires_at = expires_at.checked_add_signed(leeway).unwrap_or(expires_at);
        if expires_at <= now {
            return Err(TokenError::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|from| from.signed_duration_since(now) > leeway) {
            return Err(TokenError::TooEarly);
        }
        let subject = text("sub")?;
        let is_subject = (1..=LONGEST_SUBJECT).contains(&subject.chars().count())
            && !subject.chars().any(char::is_control);
        if !is_subject {
            return Err(TokenError::Claim("sub"));
        }
        let rights = rights(claims.get(&settings.rights_claim));
        let generation = self.keys.generation;
        Ok(Principal::of_token(subject, rights, expires_at, generation))
    }
}

impl VerifyingKey {
    /// Whether a token with this header may be of this key. The key's algorithm decides and the
    /// header must agree, so a token cannot have a public key taken for a secret.
    fn fits(&self, header: &Header) -> bool {
        let same_id = match (&self.id, &header.kid) {
            (Some(own), Some(named)) => own == named,
            (None, _) | (_, None) => true,
        };
        same_id && self.algorithm == header.alg
    }
}

/// The claims of a token with a good signature. Its times are checked with our own clock.
fn signed_claims(token: &str, key: &VerifyingKey) -> Result<Map<String, Value>, TokenError> {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation);
    match decoded {
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
            Err(TokenError::Unreadable)
        }
        Err(_) => Err(TokenError::Signature),
    }
}

fn is_meant_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(several)) => several.iter().any(|one| one == wanted),
        _ => false,
    }
}

/// A time in seconds since 1970, which may have a fraction (RFC 7519, section 2).
fn time(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<DateTime<Utc>>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or(TokenError::Claim(name))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too large becomes the largest, which is no time either"
    )]
    let time = DateTime::from_timestamp(seconds as i64, 0);
    time.map(Some).ok_or(TokenError::Claim(name))
}

/// The rights in a claim: a list, or text as an OAuth scope is.
fn rights(claim: Option<&Value>) -> Rights {
    match claim {
        Some(Value::String(text)) => Rights::among(text.split_whitespace()),
        Some(Value::Array(several)) => Rights::among(several.iter().filter_map(Value::as_str)),
        _ => Rights::default(),
    }
}
