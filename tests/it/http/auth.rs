//! Who is let in, over the wire: tokens, rights, and what a refusal tells.

use std::{process::Output, time::Duration};

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Reply, Wire,
    api_keys::{keys, make_key},
    send, until, user,
};
use crate::support::{backends, exposition::Figures, server::binary};

const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ec.pub.pem");
const PRIVATE: &str = include_str!("../../keys/ec.pem");

/// What makes a server ask for tokens.
pub(super) const GUARDED: [(&str, &str); 5] = [
    ("DORMOUSE__AUTH__MODE", "token"),
    ("DORMOUSE__AUTH__JWT_KEYS", PUBLIC),
    ("DORMOUSE__AUTH__JWT_ISSUER", "test"),
    ("DORMOUSE__AUTH__KEYS_RELOAD", "200ms"),
    ("DORMOUSE__AUTH__KEYS_MAX_AGE", "1s"),
];

/// A token of someone with rights, which expires in so many seconds.
pub(super) fn token_for(subject: &str, rights: &[&str], seconds: i64) -> String {
    let claims = json!({
        "iss": "test", "aud": "dormouse", "sub": subject, "rights": rights,
        "exp": Utc::now().timestamp() + seconds,
    });
    let key = EncodingKey::from_ec_pem(PRIVATE.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
}

pub(super) fn token(rights: &[&str]) -> String {
    token_for("ada", rights, 600)
}

impl Wire {
    pub(super) async fn get_as(&self, token: &str, path: &str) -> Reply {
        send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    pub(super) async fn command_as(
        &self,
        token: &str,
        aggregate: &str,
        command: &str,
        body: &Value,
    ) -> Reply {
        let path = format!("/v1/aggregates/{aggregate}/commands/{command}");
        send(
            self.request(Method::POST, &path)
                .bearer_auth(token)
                .json(body),
        )
        .await
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_served_but_what_everybody_may_know() {
    let wire = Wire::sqlite(&GUARDED).await;

    let refused = wire.get("/v1/aggregates/User/u1").await;
    refused.problem(401, "unauthenticated");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"dormouse\"")
    );
    // Before anything is read: an unknown type, a bad id and a bad body tell nothing.
    for path in ["Nope/u1/commands/create", "User/b%20d/commands/nope"] {
        let path = format!("/v1/aggregates/{path}");
        wire.post(&path, &json!("x"))
            .await
            .problem(401, "unauthenticated");
    }
    for path in ["/livez", "/readyz", "/docs", "/docs/swagger-ui.css"] {
        wire.get(path).await.is(200);
    }
    for wrong in [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "bearer x.y.z",
        "",
        "Bearer dmk_x",
        "x",
    ] {
        let request = wire
            .request(Method::GET, "/v1/types")
            .header("authorization", wrong);
        let reply = send(request).await;
        reply.problem(401, "unauthenticated");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    let good = token(&[]);
    let twice = wire
        .request(Method::GET, "/v1/types")
        .bearer_auth(&good)
        .bearer_auth(&good);
    send(twice).await.problem(401, "unauthenticated");
    wire.get_as(&good, "/v1/types").await.is(200);
    // The scheme's case does not count (RFC 9110, section 11.1).
    let request = wire.request(Method::GET, "/v1/types");
    send(request.header("authorization", format!("bEARER {good}")))
        .await
        .is(200);
}

#[tokio::test]
async fn a_right_lets_do_what_it_names_and_nothing_else() {
    let wire = Wire::sqlite(&GUARDED).await;
    let create = token(&["command:User:create"]);
    let created = wire
        .command_as(&create, "User/u1", "create", &user("u1"))
        .await;
    created.is(201);
    let event = created.body["events"][0]["id"].as_str().unwrap().to_owned();

    let denied = wire
        .command_as(&create, "User/u1", "delete", &json!({}))
        .await;
    denied.problem_about(403, "forbidden", "command:User:delete");
    assert_eq!(denied.body["right"], "command:User:delete");
    let challenge = denied.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"command:User:delete\""));
    wire.get_as(&create, "/v1/aggregates/User/u1")
        .await
        .problem(403, "forbidden");
    let read = token(&["read:User"]);
    for path in [
        "/v1/aggregates/User/u1",
        "/v1/aggregates/User/u1/events",
        "/v1/aggregates/User",
        "/v1/events?aggregate_type=User",
        "/v1/aggregates/User/commands/events",
    ] {
        let status = wire.get_as(&read, path).await.status;
        assert!([200, 404].contains(&status), "{path}: {status}");
    }
    let events = format!("/v1/events/{event}");
    for path in [
        "/v1/aggregates/Role/r1",
        "/v1/aggregates/Role",
        "/v1/events",
        "/v1/read/users",
        "/v1/events?aggregate_type=Role",
        "/v1/events?aggregate_type=User&aggregate_type=User",
        "/v1/events/stream?aggregate_type=User",
        "/v1/runtime",
        "/metrics",
        &events,
        &format!("{events}/trace"),
        "/v1/aggregates/Role/commands/events",
    ] {
        wire.get_as(&read, path).await.problem(403, "forbidden");
    }
    let to = "to=2001-01-01T00:00:00Z";
    for (rights, path) in [
        (vec!["audit"], "/v1/events".to_owned()),
        (vec!["audit"], events),
        (vec!["stream", "audit"], format!("/v1/events/stream?{to}")),
        (
            vec!["stream", "read:User"],
            format!("/v1/events/stream?aggregate_type=User&{to}"),
        ),
        (vec!["admin"], "/metrics".to_owned()),
        (vec!["admin"], "/v1/runtime".to_owned()),
        (vec!["read:users"], "/v1/read/users".to_owned()),
    ] {
        let status = wire.get_as(&token(&rights), &path).await.status;
        assert!(
            [200, 202, 204].contains(&status),
            "{rights:?} {path}: {status}"
        );
    }
    for rights in [vec!["stream"], vec!["audit"], vec!["stream", "read:Role"]] {
        let path = format!("/v1/events/stream?aggregate_type=User&{to}");
        wire.get_as(&token(&rights), &path)
            .await
            .problem(403, "forbidden");
    }
}

#[tokio::test]
async fn who_did_it_is_the_tokens_subject_and_never_the_callers_word() {
    for backend in backends().await {
        let wire = Wire::start_with(&backend.store_url(), &GUARDED).await;
        let long = "0b5a4c0e-5d8e-4f8f-9a57-4a0c7e3f0d11";
        let key = make_key(&wire.store_url, "billing", "command:User:*", "1d");
        let tokens = [
            token_for("ada", &["*"], 60),
            token_for(long, &["*"], 60),
            key,
        ];
        for (number, token) in tokens.iter().enumerate() {
            let path = format!("/v1/aggregates/User/u{number}/commands/create");
            let request = wire.request(Method::POST, &path).bearer_auth(token);
            // Whatever it says, even what would be refused where nobody is asked who he is.
            let request = request.header("X-Created-By", "somebody-else-whose-name-is-long");
            send(request.json(&user(&format!("u{number}"))))
                .await
                .is(201);
        }

        let events = wire.get_as(&tokens[0], "/v1/events").await;
        let by = |place: usize| events.body["events"][place]["created_by"].clone();
        assert_eq!((by(0), by(2)), (json!("ada"), json!("key:billing")));
        let digest = keys(&wire.store_url, &["subject", long]).stdout;
        assert_eq!(by(1), String::from_utf8(digest).unwrap().trim());
        assert!(by(1).as_str().unwrap().starts_with('#'));
    }
}

#[tokio::test]
async fn a_refusal_is_logged_with_who_what_and_why_and_is_counted() {
    let wire = Wire::sqlite(&GUARDED).await;
    let who = token_for("mallory", &["read:Role"], 60);

    wire.get_as(&who, "/v1/aggregates/User/u1?secret=7361")
        .await
        .problem(403, "forbidden");
    wire.get("/v1/runtime")
        .await
        .problem(401, "unauthenticated");
    wire.get_as(&token_for("late", &["*"], -60), "/v1/runtime")
        .await
        .problem(401, "unauthenticated");
    wire.get_as("dmk_7361", "/v1/runtime")
        .await
        .problem(401, "unauthenticated");

    let log = wire.server.log();
    let line = |part: &str| {
        let line = log.lines().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no line has {part}:\n{log}"))
            .to_owned()
    };
    let forbidden = line("the right is lacking");
    for part in [
        "mallory",
        "read:User",
        "GET",
        "/v1/aggregates/User/u1",
        "127.0.0.1",
    ] {
        assert!(forbidden.contains(part), "{part}: {forbidden}");
    }
    assert!(line("why=\"missing\"").contains("/v1/runtime"));
    assert!(line("why=\"expired\"").contains("has expired"));
    assert!(!log.contains("7361"), "{log}");
    let figures = wire.get_as(&token(&["admin"]), "/metrics").await;
    let figures = Figures::read(&figures.is(200).text);
    for (why, count) in [
        ("forbidden", 1.0),
        ("missing", 1.0),
        ("expired", 1.0),
        ("malformed", 1.0),
    ] {
        let name = format!("dormouse_auth_refusals_total{{why=\"{why}\"}}");
        assert!((figures.get(&name) - count).abs() < 0.1, "{why}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let wire = Wire::sqlite(&GUARDED).await;
    let key = make_key(&wire.store_url, "follower", "stream,audit", "1d");
    until("the new key works", async || {
        wire.get_as(&key, "/v1/events").await.status == 200
    })
    .await;
    // The leeway of 30 s is part of a token's time.
    for token in [token_for("ada", &["stream", "audit"], -28), key.clone()] {
        let request = wire
            .request(Method::GET, "/v1/events/stream")
            .bearer_auth(&token);
        let mut stream = request.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        if token == key {
            assert!(
                keys(&wire.store_url, &["revoke", "follower"])
                    .status
                    .success()
            );
        }

        let read = async { while let Ok(Some(_)) = stream.chunk().await {} };
        let ended = tokio::time::timeout(Duration::from_secs(20), read);

        assert!(ended.await.is_ok(), "the stream goes on");
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_keys_of_its_token_are_replaced_and_not_before() {
    let folder = crate::support::scratch();
    let file = folder.path().join("keys");
    let key = EncodingKey::from_ec_pem(PRIVATE.as_bytes()).unwrap();
    let key = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    let unknown = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"});
    let keys = json!({ "keys": [key, unknown] }).to_string();
    std::fs::write(&file, keys).unwrap();
    let mut settings = GUARDED.to_vec();
    settings.push(("DORMOUSE__AUTH__JWT_KEYS", file.to_str().unwrap()));
    settings.push(("DORMOUSE__AUTH__RELOAD", "20ms"));
    let wire = Wire::sqlite(&settings).await;
    let token = token(&["stream", "audit"]);
    let request = wire.request(Method::GET, "/v1/events/stream");
    let mut stream = request.bearer_auth(&token).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut ends_within = async |limit| {
        let read = async { while let Ok(Some(_)) = stream.chunk().await {} };
        tokio::time::timeout(limit, read).await.is_ok()
    };

    assert!(!ends_within(Duration::from_millis(500)).await);
    // Looked at two dozen times and the same: what is odd about them was told when they were read.
    let log = wire.server.log();
    assert_eq!(log.matches("is passed over").count(), 1, "{log}");
    let other = include_str!("../../keys/ed.pub.pem");
    std::fs::write(&file, other).unwrap();

    assert!(ends_within(Duration::from_secs(20)).await, "it goes on");
    wire.get_as(&token, "/v1/events")
        .await
        .problem(401, "unauthenticated");
}

#[test]
fn a_server_that_asks_nobody_is_not_opened_to_others_by_mistake() {
    let directory = crate::support::scratch();
    let serve = |settings: &[(&str, &str)]| {
        let mut command = binary();
        command
            .current_dir(directory.path())
            .envs(settings.iter().copied());
        command
            .args(["serve", "--bind", "0.0.0.0:0"])
            .output()
            .unwrap()
    };

    let refused = serve(&[]);
    // Both are let past the check, and end at what comes after it.
    let nowhere = ("DORMOUSE__STORE__URL", "sqlite:///nowhere/at/all.db");
    let meant = serve(&[nowhere, ("DORMOUSE__HTTP__ALLOW_OPEN", "true")]);
    let asking = serve(&[nowhere, ("DORMOUSE__AUTH__MODE", "token")]);

    let errors = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    for part in ["auth.mode", "http.allow_open", "0.0.0.0:0"] {
        assert!(errors(&refused).contains(part), "{}", errors(&refused));
    }
    assert!(
        errors(&meant).contains("everybody who reaches the port"),
        "{}",
        errors(&meant)
    );
    assert!(errors(&meant).contains("all.db"), "{}", errors(&meant));
    assert!(errors(&asking).contains("all.db"), "{}", errors(&asking));
}
