//! The keys of tokens, out of the files that the settings name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::jwt::VerifyingKey;
use crate::settings::{AuthSettings, RsaAlgorithm, SHORTEST_LOGIN_KEY};

/// Who issues the tokens of a login.
pub(super) const LOGIN_ISSUER: &str = "dormouse";
/// What a JWK has that is not public: `d` of every asymmetric kind, `k` of a shared secret (RFC 7518,
/// section 6). Without `d` there is none of RSA's others.
const PRIVATE_MEMBERS: [&str; 2] = ["d", "k"];
/// The length of an elliptic point as it is in a key, by its curve: a mark and two coordinates.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

/// Why the keys cannot be used. No text of a key is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file cannot be read.
    #[error("the file of `auth.{setting}` cannot be read")]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// Why not.
        #[source]
        reason: io::Error,
    },
    /// What is in it is no key that can be used.
    #[error("the file of `auth.{setting}` {what}")]
    Unusable {
        /// The setting that names it.
        setting: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

/// What is in the files that the settings name. It may be a secret, so it has no `Debug`.
#[derive(PartialEq)]
pub(super) struct Texts {
    public_keys: Option<Zeroizing<String>>,
    login_key: Option<Zeroizing<String>>,
}

/// All keys of tokens.
#[derive(Debug)]
pub(super) struct KeySet {
    pub(super) verifying: Vec<VerifyingKey>,
    pub(super) signing: Option<SigningKey>,
    /// How many were in force before them.
    pub(super) generation: u64,
}

/// What the tokens of a login are signed with.
pub(super) struct SigningKey {
    pub(super) id: String,
    pub(super) key: EncodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}

impl Texts {
    /// Reads the files anew.
    pub(super) fn read(settings: &AuthSettings) -> Result<Self, KeyError> {
        let read = |path: &Option<PathBuf>, setting| {
            let path = path.as_deref();
            path.map(|path| read(path, setting)).transpose()
        };
        Ok(Self {
            public_keys: read(&settings.jwt_keys, "jwt_keys")?,
            login_key: read(&settings.login_key_file, "login_key_file")?,
        })
    }

    /// Whether there are files that could change.
    pub(super) const fn are_in_files(&self) -> bool {
        self.public_keys.is_some() || self.login_key.is_some()
    }

    /// The keys in them, and that which the settings hold themselves.
    pub(super) fn keys(&self, settings: &AuthSettings) -> Result<KeySet, KeyError> {
        let mut verifying = match &self.public_keys {
            Some(text) => public_keys(text, settings).map_err(|what| KeyError::Unusable {
                setting: "jwt_keys",
                what,
            })?,
            None => Vec::new(),
        };
        let secret = match &self.login_key {
            // Editors end a file with a line.
            Some(text) => Some(text.trim_end_matches(['\r', '\n'])),
            None => Some(settings.login_key.expose()).filter(|secret| !secret.is_empty()),
        };
        let Some(secret) = secret else {
            return Ok(KeySet {
                verifying,
                signing: None,
                generation: 0,
            });
        };
        let signing = signing_key(secret)?;
        verifying.push(VerifyingKey {
            id: Some(signing.id.clone()),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
            issuer: LOGIN_ISSUER.to_owned(),
        });
        Ok(KeySet {
            verifying,
            signing: Some(signing),
            generation: 0,
        })
    }
}

fn read(path: &Path, setting: &'static str) -> Result<Zeroizing<String>, KeyError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    text.map_err(|reason| KeyError::Unreadable { setting, reason })
}

fn signing_key(secret: &str) -> Result<SigningKey, KeyError> {
    if secret.len() < SHORTEST_LOGIN_KEY {
        return Err(KeyError::Unusable {
            setting: "login_key_file",
            what: "must hold 32 bytes at least",
        });
    }
    let mut hash = Sha256::new();
    hash.update(b"dormouse/login-key-id/v1");
    hash.update(secret);
    let id = format!("dormouse-login-{}", hex::encode(&hash.finalize()[..4]));
    Ok(SigningKey {
        id,
        key: EncodingKey::from_secret(secret.as_bytes()),
    })
}

fn public_keys(text: &str, settings: &AuthSettings) -> Result<Vec<VerifyingKey>, &'static str> {
    if !text.trim_start().starts_with('{') {
        let (algorithm, key) = pem_key(text, rsa_algorithm(settings))?;
        return Ok(vec![VerifyingKey {
            id: None,
            algorithm,
            key,
            issuer: settings.jwt_issuer.clone(),
        }]);
    }
    let set: Value = serde_json::from_str(text).map_err(|_| "is no JWKS")?;
    // What is not asked for is passed over when a JWK is read: a private key would be a public one.
    let listed = set.get("keys").and_then(Value::as_array);
    let is_private = |jwk: &Value| PRIVATE_MEMBERS.iter().any(|name| jwk.get(name).is_some());
    if listed.is_some_and(|listed| listed.iter().any(is_private)) {
        return Err("holds a private or secret key; name public keys");
    }
    let set: JwkSet = serde_json::from_value(set).map_err(|_| "is no JWKS")?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
            continue;
        }
        let Some(algorithm) = jwk_algorithm(jwk, rsa_algorithm(settings))? else {
            tracing::warn!(
                key = jwk.common.key_id.as_deref().unwrap_or("without an id"),
                "a key is of a kind that is not known here, and is passed over"
            );
            continue;
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|_| "holds a key that cannot be read")?;
        keys.push(VerifyingKey {
            id: jwk.common.key_id.clone(),
            algorithm,
            key,
            issuer: settings.jwt_issuer.clone(),
        });
    }
    if keys.is_empty() {
        return Err("holds no key that tokens could be verified with");
    }
    Ok(keys)
}

/// The one algorithm that a key is used with: what it names, where that fits its kind, else what
/// its kind says. Nothing where its kind is not known.
fn jwk_algorithm(jwk: &Jwk, rsa: Algorithm) -> Result<Option<Algorithm>, &'static str> {
    let curve = if let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm {
        Some(&key.curve)
    } else if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm {
        Some(&key.curve)
    } else {
        None
    };
    let is_rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
    let own = match curve {
        None if is_rsa => rsa,
        Some(EllipticCurve::P256) => Algorithm::ES256,
        Some(EllipticCurve::P384) => Algorithm::ES384,
        Some(EllipticCurve::Ed25519) => Algorithm::EdDSA,
        Some(_) | None => return Ok(None),
    };
    let Some(named) = jwk.common.key_algorithm else {
        return Ok(Some(own));
    };
    let Ok(named) = Algorithm::try_from(named) else {
        return Ok(None);
    };
    let fits = named == own
        || (own.family() == AlgorithmFamily::Rsa && named.family() == AlgorithmFamily::Rsa);
    if fits {
        Ok(Some(named))
    } else {
        Err("holds a key with an algorithm that is none of its kind")
    }
}

fn pem_key(text: &str, rsa: Algorithm) -> Result<(Algorithm, DecodingKey), &'static str> {
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key; name the public key");
    }
    let pem = text.as_bytes();
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        let point = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        return match point {
            P256_POINT => Ok((Algorithm::ES256, key)),
            P384_POINT => Ok((Algorithm::ES384, key)),
            _ => Err("holds a key of a curve that is not known here"),
        };
    }
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        return Ok((Algorithm::EdDSA, key));
    }
    let key = DecodingKey::from_rsa_pem(pem);
    key.map(|key| (rsa, key))
        .map_err(|_| "holds neither a JWKS nor a public key as PEM")
}

const fn rsa_algorithm(settings: &AuthSettings) -> Algorithm {
    match settings.jwt_rsa_algorithm {
        RsaAlgorithm::Rs256 => Algorithm::RS256,
        RsaAlgorithm::Rs384 => Algorithm::RS384,
        RsaAlgorithm::Rs512 => Algorithm::RS512,
        RsaAlgorithm::Ps256 => Algorithm::PS256,
        RsaAlgorithm::Ps384 => Algorithm::PS384,
        RsaAlgorithm::Ps512 => Algorithm::PS512,
    }
}
