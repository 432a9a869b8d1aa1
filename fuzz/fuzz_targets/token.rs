//! Whatever stands in `Authorization`: nobody is let in but with a token that somebody gave out.
//!
//! The keys are real ones: a JWKS with an elliptic key, the secret of a login, and an API key in SQLite.
#![no_main]

mod app;

use std::{fs, sync::Arc, time::Duration};

use actix_web::{http::header::HeaderValue, rt::System, test::TestRequest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dormouse::{
    auth::{Authenticator, NewApiKey, Rights, create_key},
    domain::{Clock as _, SystemClock},
    http::Guard,
    settings::{AuthSettings, SecretText, StoreSettings},
    store,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tempfile::TempDir;

const PRIVATE: &[u8] = include_bytes!("../../tests/keys/ec.pem");
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const USUAL_HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
/// What the route that is asked needs.
const RIGHT: &str = "read:Role";

struct Door {
    app: app::Asked,
    /// A token of the key set, one of the login, and an API key.
    genuine: [String; 3],
    secret: EncodingKey,
}

thread_local!(static DIRECTORY: TempDir = TempDir::new().expect("there is room for files"));
thread_local!(static DOOR: app::Kept<Door> = app::Kept::new(DIRECTORY.with(Door::open)));

impl Door {
    /// With what it reads in a directory that is removed in the end.
    fn open(directory: &TempDir) -> Self {
        let key = EncodingKey::from_ec_pem(PRIVATE).expect("it is a key");
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("it has a public half");
        let set = directory.path().join("keys.json");
        fs::write(&set, json!({ "keys": [jwk] }).to_string()).expect("it can be written");
        let settings = AuthSettings {
            jwt_keys: Some(set),
            jwt_issuer: "issuer".to_owned(),
            login_key: SecretText::new(SECRET),
            // Nobody reads them anew while no request is worked on, such as in a debugger.
            keys_max_age: Duration::from_hours(24),
            ..AuthSettings::default()
        };
        let file = directory.path().join("keys.db");
        let store_settings = StoreSettings {
            url: format!("sqlite://{}", file.display())
                .parse()
                .expect("a URL"),
            ..StoreSettings::default()
        };
        let system = System::new();
        let (store, authenticator, api_key) = system.block_on(async {
            let store = store::open(&store_settings).await.expect("it opens");
            let table = store.api_keys().expect("SQLite has one");
            let new = NewApiKey {
                name: "fuzz".to_owned(),
                rights: Rights::parse(RIGHT).expect("a right"),
                expires_at: None,
            };
            let made = create_key(&*table, new, 10, SystemClock.now()).await;
            let api_key = made.expect("it is made").expose().to_string();
            let clock = Arc::new(SystemClock);
            let authenticator = Authenticator::start(&settings, Some(table), clock).await;
            (store, authenticator.expect("the keys are read"), api_key)
        });
        let rights = Rights::parse(RIGHT).expect("a right");
        let issued = authenticator.issue("ada", &rights).expect("there is a key");
        let claims = json!({
            "iss": "issuer", "aud": "dormouse", "sub": "ada", "rights": [RIGHT],
            "exp": SystemClock.now().timestamp() + 86_400,
        });
        let of_the_set = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key);
        Self {
            genuine: [
                of_the_set.expect("it is signed"),
                issued.token.to_string(),
                api_key,
            ],
            app: app::Asked::over(system, store, Some(Guard::new(authenticator))),
            secret: EncodingKey::from_secret(SECRET.as_bytes()),
        }
    }

    /// Whether a request with these headers is let in, and with the right to what it asks for.
    fn lets_in(&self, headers: &[&[u8]]) -> Option<bool> {
        let mut request = TestRequest::get().uri("/v1/aggregates/Role/r1");
        for header in headers {
            let value = HeaderValue::from_bytes(header).ok()?;
            request = request.append_header(("Authorization", value));
        }
        let (status, text) = self.app.ask(request);
        assert!(!text.contains(SECRET), "{text}");
        match status {
            401 => None,
            403 => Some(false),
            404 => Some(true),
            status => panic!("{status} {text}"),
        }
    }

    /// A token as the login would sign it, of any header and any claims.
    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.secret, Algorithm::HS256);
        format!("{message}.{}", signature.expect("it is signed"))
    }
}

/// Whether claims are those that a caller must have, as docs/security.md says; and whether with the right.
fn good(claims: &[u8]) -> Option<bool> {
    let claims: Value = serde_json::from_slice(claims).ok()?;
    let meant = match claims.get("aud")? {
        Value::Array(several) => several.contains(&json!("dormouse")),
        one => *one == "dormouse",
    };
    let lasts = claims.get("exp")?.as_f64()? + 30.0 > SystemClock.now().timestamp() as f64;
    let known = !claims.get("sub")?.as_str()?.is_empty() && claims.get("iss")? == "dormouse";
    let texts: Vec<&str> = match claims.get("rights") {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let right = texts
        .iter()
        .any(|text| ["*", "read:*", RIGHT].contains(text));
    (meant && lasts && known).then_some(right)
}

fuzz_target!(|input: (u8, u16, u8, &[u8], &[u8])| {
    let (kind, place, byte, first, second) = input;
    DOOR.with(|door| {
        let genuine = &door.genuine[usize::from(kind / 8) % door.genuine.len()];
        match kind % 8 {
            0 => assert_eq!(door.lets_in(&[first]), None, "{first:?}"),
            1 => {
                let header = [b"Bearer ", first].concat();
                assert_eq!(door.lets_in(&[&header]), None, "{first:?}");
            }
            2 | 3 => {
                let header = if kind % 8 == 2 { USUAL_HEADER } else { first };
                let token = format!("Bearer {}", door.sign(header, second));
                let let_in = door.lets_in(&[token.as_bytes()]);
                let may = good(second);
                assert!(
                    let_in.is_none() || let_in == may,
                    "{let_in:?}, not {may:?}: {token}"
                );
            }
            4 | 5 => {
                let mut token = format!("Bearer {genuine}").into_bytes();
                let place = 7 + usize::from(place) % genuine.len();
                let same = token[place] == byte;
                token[place] = byte;
                let expected = same.then_some(true);
                let text = String::from_utf8_lossy(&token);
                assert_eq!(door.lets_in(&[&token]), expected, "{text} for {genuine}");
            }
            6 => {
                let token = format!("Bearer {genuine}");
                let headers = [token.as_bytes(), first];
                assert_eq!(door.lets_in(&headers), None, "{first:?}");
            }
            _ => {
                // What is before and behind a token, and how its scheme is written.
                let header = [first, b" ", genuine.as_bytes(), second].concat();
                let text = String::from_utf8_lossy(&header).into_owned();
                let scheme = first.trim_ascii().eq_ignore_ascii_case(b"bearer");
                let alone = second.trim_ascii().is_empty();
                let let_in = door.lets_in(&[&header]);
                assert!(let_in.is_none() || (scheme && alone), "{text}");
            }
        }
    });
});
