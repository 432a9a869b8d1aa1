//! `POST /v1/login`: names and passwords become tokens, and wrong ones tell nothing.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Reply, Wire,
    auth::{GUARDED, token},
    raw, role, send, user,
};
use crate::support::{backends, database::Foreign, exposition::Figures};

const KEY: (&str, &str) = (
    "DORMOUSE__AUTH__LOGIN_KEY",
    "planted-7361-secret-of-some-length",
);

/// A server with a login, whose refusals take no longer than they must.
pub(super) fn settings(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut settings = GUARDED.to_vec();
    settings.push(KEY);
    settings.push(("DORMOUSE__AUTH__LOGIN_FAILURE_TIME", "1ms"));
    settings.extend(more);
    settings
}

impl Wire {
    async fn login(&self, username: &str, password: &str) -> Reply {
        let body = json!({"username": username, "password": password});
        self.post("/v1/login", &body).await
    }

    /// A command by someone who may do everything.
    async fn order(&self, aggregate: &str, command: &str, body: &Value) -> Reply {
        let reply = self
            .command_as(&token(&["*"]), aggregate, command, body)
            .await;
        assert!(reply.status < 300, "{}", reply.text);
        reply
    }
}

#[tokio::test]
async fn a_login_gives_a_token_with_the_rights_of_the_users_roles() {
    for backend in backends().await {
        let wire = Wire::start_with(&backend.store_url(), &settings(&[])).await;
        wire.order("User/u1", "create", &user("ada")).await;
        for (id, permissions) in [
            ("readers", json!([{"resource": "User", "action": "read"}])),
            ("writers", json!([])),
            ("off", json!([{"resource": "*", "action": "*"}])),
            (
                "gone",
                json!([{"resource": "@dormouse", "action": "admin"}]),
            ),
        ] {
            let role_id = format!("Role/{id}");
            wire.order(&role_id, "create", &role(id)).await;
            if id != "writers" {
                let body = json!({ "permissions": permissions });
                wire.order(&role_id, "assign-permissions", &body).await;
            }
        }
        let body = json!({"permissions": [{"resource": "User", "action": "update"}]});
        wire.order("Role/writers", "assign-permissions", &body)
            .await;
        wire.order("Role/off", "update", &json!({"status": "DISABLED"}))
            .await;
        wire.order("Role/gone", "delete", &json!({})).await;
        let roles = json!({"role_ids": ["readers", "writers", "off", "gone", "never-there"]});
        wire.order("User/u1", "assign-roles", &roles).await;

        let login = wire.login("ada", "correct horse").await;

        assert_eq!(login.is(200).header("cache-control"), Some("no-store"));
        assert_eq!(
            login.body["rights"],
            json!(["command:User:update", "read:User"])
        );
        assert_eq!(
            (&login.body["subject"], &login.body["token_type"]),
            (&json!("u1"), &json!("Bearer"))
        );
        assert_eq!(login.body["expires_in"], 900);
        let token = login.body["token"].as_str().unwrap();
        let update = json!({"nick_name": "Countess"});
        wire.command_as(token, "User/u1", "update", &update)
            .await
            .is(200);
        wire.command_as(token, "User/u1", "delete", &json!({}))
            .await
            .problem(403, "forbidden");
        let events = wire.get_as(token, "/v1/aggregates/User/u1/events").await;
        let events = events.is(200).body["events"].as_array().unwrap().clone();
        let of = |place: usize| {
            (
                events[place]["event_type"].clone(),
                events[place]["created_by"].clone(),
            )
        };
        assert_eq!(of(2), (json!("UserLoggedInEvent"), json!("u1")));
        assert_eq!(of(3), (json!("UserUpdatedEvent"), json!("u1")));
        // Nobody may claim over HTTP to have signed in.
        let all = super::auth::token(&["*"]);
        let nothing = json!({});
        let forged = wire.command_as(&all, "User/u1", "record-login", &nothing);
        forged.await.problem(404, "unknown-command");
    }
}

#[tokio::test]
async fn a_wrong_name_a_wrong_password_and_a_user_who_may_not_hear_the_same() {
    for backend in backends().await {
        let wire = Wire::start_with(&backend.store_url(), &settings(&[])).await;
        for (id, status) in [
            ("on", "ENABLED"),
            ("off", "DISABLED"),
            ("out", "BANNED"),
            ("gone", "ENABLED"),
        ] {
            let name = format!("User/{id}");
            wire.order(&name, "create", &user(id)).await;
            if status != "ENABLED" {
                wire.order(&name, "update", &json!({ "status": status }))
                    .await;
            }
        }
        wire.order("User/gone", "delete", &json!({})).await;
        let mut heard = Vec::new();
        for (name, password) in [
            ("on", "wrong"),
            ("nobody", "correct horse"),
            ("off", "correct horse"),
            ("out", "correct horse"),
            ("gone", "correct horse"),
            ("a\u{0}b", "x"),
            ("ON", "correct horse"),
        ] {
            let login = wire.login(name, password).await;
            login.problem(401, "unauthenticated");
            heard.push((
                login.text.clone(),
                login.header("www-authenticate").map(str::to_owned),
            ));
        }
        heard.dedup();

        assert_eq!(heard.len(), 1, "{heard:?}");
        wire.login("on", "correct horse").await.is(200);
        let logins = "select count(*) from domain_events where event_type = 'UserLoggedInEvent'";
        assert_eq!(wire.database().await.number(logins).await, 1);
        let figures = wire.get_as(&token(&["admin"]), "/metrics").await;
        let figures = Figures::read(&figures.text);
        for (outcome, count) in [("granted", 1.0), ("refused", 7.0)] {
            let name = format!("dormouse_logins_total{{outcome=\"{outcome}\"}}");
            assert!((figures.get(&name) - count).abs() < 0.1, "{outcome}");
        }
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_costs_what_a_wrong_password_costs() {
    // Hashing dear enough that it cannot be missed.
    let dear = [
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "65536"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "3"),
        ("DORMOUSE__AUTH__LOGINS_PER_USERNAME", "1000"),
    ];
    let wire = Wire::sqlite(&settings(&dear)).await;
    wire.order("User/u1", "create", &user("ada")).await;
    let shortest = async |name: &str| {
        let mut shortest = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            wire.login(name, "wrong").await.is(401);
            shortest = shortest.min(began.elapsed());
        }
        shortest
    };

    let (known, unknown) = (shortest("ada").await, shortest("nobody").await);

    assert!(
        unknown > known / 2 && known > unknown / 2,
        "{known:?} {unknown:?}"
    );
    assert!(
        unknown > Duration::from_millis(50),
        "{unknown:?}: nothing was hashed"
    );
}

#[tokio::test]
async fn a_refusal_takes_the_time_that_is_set_and_a_login_does_not() {
    let slow = [("DORMOUSE__AUTH__LOGIN_FAILURE_TIME", "2s")];
    let wire = Wire::sqlite(&settings(&slow)).await;
    wire.order("User/u1", "create", &user("ada")).await;
    for name in ["ada", "nobody"] {
        let began = Instant::now();
        wire.login(name, "wrong").await.is(401);
        assert!(began.elapsed() >= Duration::from_secs(2), "{name}");
    }

    let began = Instant::now();
    wire.login("ada", "correct horse").await.is(200);

    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_comes_slowly_does_not_use_up_the_time_of_a_refusal() {
    let floor = Duration::from_secs(1);
    let wire = Wire::sqlite(&settings(&[("DORMOUSE__AUTH__LOGIN_FAILURE_TIME", "1s")])).await;
    let body = json!({"username": "nobody", "password": "wrong"}).to_string();
    let request = raw::post(b"/v1/login", b"", body.as_bytes());
    let (most, last) = request.split_at(request.len() - 1);
    let mut stream = TcpStream::connect(wire.server.address()).await.unwrap();
    stream.write_all(most).await.unwrap();
    tokio::time::sleep(floor + Duration::from_millis(200)).await;

    let began = Instant::now();
    stream.write_all(last).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(began.elapsed() >= floor, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_old_hash_of_bcrypt_still_signs_in() {
    for backend in backends().await {
        let mut wire = Wire::start_with(&backend.store_url(), &settings(&[])).await;
        wire.order("User/u1", "create", &user("ada")).await;
        wire.server.kill9();
        let old = Foreign {
            aggregate_id: "u1",
            version: 2,
            event_type: "UserPasswordChangedEvent",
            data: r#"{"password_hash":{"$secret":"$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"}}"#,
        };
        wire.database().await.insert(&old).await;
        let wire = Wire::start_with(&backend.store_url(), &settings(&[])).await;

        wire.login("ada", "U*U*").await.is(200);
        wire.login("ada", "U*U")
            .await
            .problem(401, "unauthenticated");
        wire.login("ada", "correct horse")
            .await
            .problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn too_many_logins_are_refused_by_name_and_by_address_and_nobody_is_locked_out_for_good() {
    let few = [
        ("DORMOUSE__AUTH__LOGINS_PER_USERNAME", "3"),
        ("DORMOUSE__AUTH__LOGINS_PER_ADDRESS", "6"),
    ];
    let wire = Wire::sqlite(&settings(&few)).await;
    for name in ["ada", "bob"] {
        wire.order(&format!("User/{name}"), "create", &user(name))
            .await;
    }
    for _ in 0..3 {
        wire.login("ada", "wrong")
            .await
            .problem(401, "unauthenticated");
    }

    let limited = wire.login("ada", "correct horse").await;
    limited.problem(429, "rate-limited");
    let seconds: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&seconds), "{seconds}");
    // Another name is another matter, until the address has had its share.
    wire.login("bob", "correct horse").await.is(200);
    wire.login("bob", "correct horse").await.is(200);
    wire.login("bob", "correct horse")
        .await
        .problem(429, "rate-limited");
    // Whoever has a token already is not touched.
    wire.get_as(&token(&["read:User"]), "/v1/aggregates/User/ada")
        .await
        .is(200);
}

#[tokio::test]
async fn no_more_passwords_are_compared_at_once_than_may_be_and_the_others_hear_so() {
    let costly = [
        ("DORMOUSE__IAM__HASH_CONCURRENCY", "1"),
        ("DORMOUSE__IAM__HASH_QUEUE", "0"),
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "65536"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "10"),
    ];
    let wire = Wire::sqlite(&settings(&costly)).await;

    let logins = (0..4).map(|_| wire.login("nobody", "wrong"));
    let answers = futures_util::future::join_all(logins).await;

    let (refused, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|reply| reply.status == 401);
    assert!(!refused.is_empty() && !busy.is_empty(), "{answers:?}");
    for reply in busy {
        reply.problem(503, "overloaded");
    }
}

#[tokio::test]
async fn what_is_sent_to_the_login_is_told_to_nobody() {
    let mut all = settings(&[]);
    all.push(("RUST_LOG", "trace,hyper=info"));
    let wire = Wire::sqlite(&all).await;
    wire.order("User/u1", "create", &user("ada")).await;
    let secret = "planted-7361";
    let mut texts = Vec::new();
    for body in [
        json!({"username": "ada", "password": secret}),
        json!({"username": secret, "password": secret}),
        json!({"username": "ada", "password": [secret]}),
        json!({"username": {"a": secret}, "password": 1}),
        json!({"username": "ada", "password": secret, "other": secret}),
        json!({"username": "ada", "password": secret.repeat(100)}),
        json!(secret),
        json!([secret]),
    ] {
        let reply = wire.post("/v1/login", &body).await;
        assert!((400..500).contains(&reply.status), "{}", reply.text);
        texts.push(format!("{:?} {}", reply.headers, reply.text));
    }
    let broken = wire
        .request(Method::POST, "/v1/login")
        .header("content-type", "application/json");
    texts.push(
        send(broken.body(format!("{{\"password\":\"{secret}")))
            .await
            .text,
    );
    let login = wire.login("ada", "correct horse").await;
    let token = login.is(200).body["token"].as_str().unwrap().to_owned();
    wire.get_as(&token, "/v1/aggregates/User/u1")
        .await
        .problem(403, "forbidden");
    let mut spoilt = token.clone();
    spoilt.pop();
    wire.get_as(&spoilt, "/v1/types")
        .await
        .problem(401, "unauthenticated");
    texts.push(wire.server.log());

    for text in texts {
        assert!(
            !text.contains("planted-7361"),
            "{}",
            &text[..text.len().min(3000)]
        );
        // Not even the part of a token that anybody can read.
        assert!(!text.contains(token.split('.').nth(1).unwrap()));
        assert!(!text.contains("correct horse"));
    }
}

#[tokio::test]
async fn without_a_key_to_sign_with_there_is_no_login() {
    let guarded = Wire::sqlite(&GUARDED).await;
    let open = Wire::sqlite(&[KEY]).await;

    for wire in [guarded, open] {
        wire.login("ada", "correct horse")
            .await
            .problem(404, "not-found");
    }
}
