//! Tokens as they come from outside: good ones, and every way in which one can be wrong.

mod api_keys;

use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::{settings::SecretText, testing::ManualClock};

const RSA: &str = include_str!("../../tests/keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../tests/keys/rsa.pub.pem");
const EC: &str = include_str!("../../tests/keys/ec.pem");
const EC_PUBLIC: &str = include_str!("../../tests/keys/ec.pub.pem");
const ED: &str = include_str!("../../tests/keys/ed.pem");
const ED_PUBLIC: &str = include_str!("../../tests/keys/ed.pub.pem");

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap()
}

fn ec() -> EncodingKey {
    EncodingKey::from_ec_pem(EC.as_bytes()).unwrap()
}

fn ed() -> EncodingKey {
    EncodingKey::from_ed_pem(ED.as_bytes()).unwrap()
}

/// An authenticator with a file of keys, which a test may write anew.
struct Door {
    authenticator: Authenticator,
    clock: ManualClock,
    directory: TempDir,
}

impl Door {
    async fn with(keys: &str) -> Self {
        Self::start(keys).await.unwrap()
    }

    async fn start(keys: &str) -> Result<Self, StartError> {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("keys");
        std::fs::write(&file, keys).unwrap();
        let settings = AuthSettings {
            jwt_keys: Some(file),
            jwt_issuer: "issuer".to_owned(),
            reload: Duration::from_millis(10),
            login_key: SecretText::new("0123456789abcdef0123456789abcdef"),
            ..AuthSettings::default()
        };
        let clock = ManualClock::default();
        let authenticator = Authenticator::start(&settings, None, Arc::new(clock.clone())).await?;
        Ok(Self {
            authenticator,
            clock,
            directory,
        })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": "issuer", "aud": "dormouse", "sub": "ada", "rights": ["read:User", "openid"],
            "exp": self.clock.now().timestamp() + 60,
        })
    }

    fn write(&self, keys: &str) {
        std::fs::write(self.directory.path().join("keys"), keys).unwrap();
    }

    async fn refusal(&self, token: &str) -> Refusal {
        self.authenticator.authenticate(token).await.unwrap_err()
    }
}

fn sign(claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn jwk(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    serde_json::to_value(jwk).unwrap()
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn a_token_of_a_key_of_each_kind_is_taken() {
    for (public, private, algorithm) in [
        (RSA_PUBLIC, rsa(), Algorithm::RS256),
        (EC_PUBLIC, ec(), Algorithm::ES256),
        (ED_PUBLIC, ed(), Algorithm::EdDSA),
    ] {
        let door = Door::with(public).await;
        let token = sign(&door.claims(), algorithm, &private);
        // The second time it is remembered.
        for _ in 0..2 {
            let known = door.authenticator.authenticate(&token).await.unwrap();

            assert_eq!(known.subject(), "ada");
            assert_eq!(known.rights().to_string(), "read:User");
        }
    }
}

#[tokio::test]
async fn a_token_must_have_every_claim_and_each_must_be_right() {
    let door = Door::with(EC_PUBLIC).await;
    let wrong = [
        ("iss", vec![Value::Null, json!("other"), json!(["issuer"])]),
        ("aud", vec![Value::Null, json!("other"), json!(["other"])]),
        (
            "sub",
            vec![json!(""), json!(7), json!("a\nb"), json!("x".repeat(257))],
        ),
        (
            "exp",
            vec![json!("soon"), json!(-1), json!(0), json!(1e300)],
        ),
        (
            "nbf",
            vec![json!(door.clock.now().timestamp() + 31), json!("x")],
        ),
    ];
    for (name, values) in wrong {
        if name != "nbf" {
            let mut claims = door.claims();
            claims.as_object_mut().unwrap().remove(name);
            let refusal = door.refusal(&sign(&claims, Algorithm::ES256, &ec())).await;
            let missing =
                matches!(refusal, Refusal::Token(TokenError::Claim(claim)) if claim == name);
            assert!(missing, "{name}: {refusal:?}");
        }
        for value in values {
            let mut claims = door.claims();
            claims[name] = value.clone();

            let refusal = door.refusal(&sign(&claims, Algorithm::ES256, &ec())).await;

            assert!(
                matches!(refusal, Refusal::Token(_)),
                "{name} {value}: {refusal:?}"
            );
        }
    }
    let mut several = door.claims();
    several["aud"] = json!(["other", "dormouse"]);
    several["rights"] = json!("audit read:*");
    let token = sign(&several, Algorithm::ES256, &ec());
    let known = door.authenticator.authenticate(&token).await.unwrap();
    assert!(known.may(&Right::Audit) && known.may(&Right::Read("User")));
}

#[tokio::test]
async fn a_token_expires_even_where_it_is_remembered() {
    let door = Door::with(EC_PUBLIC).await;
    let token = sign(&door.claims(), Algorithm::ES256, &ec());
    door.authenticator.authenticate(&token).await.unwrap();

    door.clock.advance(TimeDelta::seconds(89));
    assert!(door.authenticator.authenticate(&token).await.is_ok());
    door.clock.advance(TimeDelta::seconds(1));

    let refusal = door.refusal(&token).await;
    assert_eq!(refusal.word(), "expired");
    let fresh = Door::with(EC_PUBLIC).await;
    fresh.clock.advance(TimeDelta::seconds(90));
    assert_eq!(fresh.refusal(&token).await.word(), "expired");
}

#[tokio::test]
async fn the_key_decides_the_algorithm_and_never_the_token() {
    let door = Door::with(RSA_PUBLIC).await;
    let claims = door.claims();
    // The oldest trick: the public key, which everybody has, taken for a shared secret.
    let public_as_secret = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let confused = sign(&claims, Algorithm::HS256, &public_as_secret);
    let other_hash = sign(&claims, Algorithm::RS512, &rsa());
    let other_padding = sign(&claims, Algorithm::PS256, &rsa());
    let other_kind = sign(&claims, Algorithm::ES256, &ec());
    for token in [confused, other_hash, other_padding, other_kind] {
        let refusal = door.refusal(&token).await;
        let unknown = matches!(
            refusal,
            Refusal::Token(TokenError::UnknownSigner | TokenError::Signature)
        );
        assert!(unknown, "{refusal:?}");
    }
    // {"alg":"none"} and {"alg":"RS256"} with a signature of nothing.
    let good = sign(&claims, Algorithm::RS256, &rsa());
    let parts: Vec<&str> = good.split('.').collect();
    for forged in [
        format!("eyJhbGciOiJub25lIn0.{}.", parts[1]),
        format!("eyJhbGciOiJOb05lIn0.{}.{}", parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][4..]),
    ] {
        assert!(
            matches!(door.refusal(&forged).await, Refusal::Token(_)),
            "{forged}"
        );
    }
    assert!(door.authenticator.authenticate(&good).await.is_ok());
}

#[tokio::test]
async fn what_a_token_calls_critical_is_not_passed_over() {
    let door = Door::with(EC_PUBLIC).await;
    let mut header = Header::new(Algorithm::ES256);
    header.crit = Some(vec!["exp".to_owned()]);
    let token = jsonwebtoken::encode(&header, &door.claims(), &ec()).unwrap();

    let refusal = door.refusal(&token).await;

    assert!(
        matches!(refusal, Refusal::Token(TokenError::Unreadable)),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_token_names_its_key_in_a_set_of_them() {
    let keys = set(&[
        jwk(&ec(), Algorithm::ES256, "a"),
        jwk(&rsa(), Algorithm::RS256, "b"),
    ]);
    let door = Door::with(&keys).await;
    let with_id = |id: &str| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(id.to_owned());
        jsonwebtoken::encode(&header, &door.claims(), &ec()).unwrap()
    };

    assert!(door.authenticator.authenticate(&with_id("a")).await.is_ok());
    for id in ["b", "c", ""] {
        let refusal = door.refusal(&with_id(id)).await;
        let unknown = matches!(refusal, Refusal::Token(TokenError::UnknownSigner));
        assert!(unknown, "{id}: {refusal:?}");
    }
}

#[tokio::test]
async fn keys_that_would_be_dangerous_or_useless_stop_the_start() {
    let mut wrong_kind = jwk(&ec(), Algorithm::ES256, "a");
    wrong_kind["alg"] = json!("HS256");
    let secret = json!({"kty": "oct", "k": "c2VjcmV0LTczNjE", "kid": "a", "alg": "HS256"});
    let mut private = jwk(&ec(), Algorithm::ES256, "a");
    private["d"] = json!("planted-7361");
    let mut private_for_others = private.clone();
    private_for_others["use"] = json!("enc");
    let public = jwk(&ed(), Algorithm::EdDSA, "b");
    for (keys, part) in [
        (set(&[wrong_kind]), "none of its kind"),
        (set(&[secret]), "secret key"),
        (set(&[public.clone(), private]), "private or secret key"),
        (set(&[public, private_for_others]), "private or secret key"),
        (set(&[]), "no key"),
        (RSA.to_owned(), "private key"),
        ("{".to_owned(), "no JWKS"),
        ("secret-7361".to_owned(), "neither"),
        (String::new(), "neither"),
    ] {
        let error = Door::start(&keys).await.err().unwrap();

        let text = crate::domain::error_chain(&error);
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("7361"), "{text}");
    }
}

#[tokio::test]
async fn keys_are_read_again_when_they_change_and_the_old_stay_where_they_cannot() {
    let door = Door::with(EC_PUBLIC).await;
    let old = sign(&door.claims(), Algorithm::ES256, &ec());
    let new = sign(&door.claims(), Algorithm::EdDSA, &ed());
    assert!(door.authenticator.authenticate(&old).await.is_ok());

    door.write("broken");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(door.authenticator.authenticate(&old).await.is_ok());
    door.write(ED_PUBLIC);

    let began = Instant::now();
    while door.authenticator.authenticate(&new).await.is_err() {
        assert!(began.elapsed().as_secs() < 20, "the new key is never taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was remembered was of a key that is gone.
    assert!(door.authenticator.authenticate(&old).await.is_err());
}

#[tokio::test]
async fn a_token_that_was_issued_here_is_taken_here_and_nowhere_else() {
    let door = Door::with(EC_PUBLIC).await;
    let rights = Rights::parse("command:User:create read:*").unwrap();
    let issued = door.authenticator.issue("ada", &rights).unwrap();

    let known = door
        .authenticator
        .authenticate(&issued.token)
        .await
        .unwrap();
    assert_eq!((known.subject(), known.rights()), ("ada", &rights));
    assert_eq!(issued.expires_at - door.clock.now(), TimeDelta::minutes(15));
    // Another server's key, and one who has guessed the issuer but has no key.
    let other = EncodingKey::from_secret(b"another-key-of-32-bytes-or-more!");
    let mut claims = door.claims();
    claims["iss"] = json!("dormouse");
    for token in [
        sign(&claims, Algorithm::HS256, &other),
        sign(&claims, Algorithm::ES256, &ec()),
    ] {
        assert!(matches!(door.refusal(&token).await, Refusal::Token(_)));
    }
    assert!(!format!("{issued:?}").contains(&*issued.token));
}

#[tokio::test]
async fn what_is_neither_a_token_nor_a_key_is_refused() {
    let door = Door::with(EC_PUBLIC).await;

    for token in ["", "a", "a.b", "a.b.c.d", "....", "dmk_", "dmk_a.b.c"] {
        let refusal = door.refusal(token).await;
        assert!(
            matches!(refusal, Refusal::Malformed),
            "{token}: {refusal:?}"
        );
    }
    assert_eq!(door.refusal("a.b.c").await.word(), "invalid");
}
