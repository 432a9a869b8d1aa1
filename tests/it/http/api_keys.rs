//! API keys, from `dormouse keys create` to the day they are revoked.

use std::process::Output;

use serde_json::{Value, json};

use super::{Wire, auth::GUARDED, until};
use crate::support::{backends, server::binary};

/// Runs `dormouse keys …` on a store.
pub(super) fn keys(store_url: &str, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.env("DORMOUSE__STORE__URL", store_url);
    command.arg("keys").args(arguments).output().unwrap()
}

fn create(store_url: &str, name: &str, rights: &str, expires: &str) -> Output {
    let named = ["create", "--name", name];
    let limited = ["--rights", rights, "--expires", expires];
    keys(store_url, &[&named[..], &limited[..]].concat())
}

/// Makes a key and gives it.
pub(super) fn make_key(store_url: &str, name: &str, rights: &str, expires: &str) -> String {
    let made = create(store_url, name, rights, expires);
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_key_is_shown_once_works_at_once_and_is_refused_once_it_is_revoked() {
    for backend in backends().await {
        let wire = Wire::start_with(&backend.store_url(), &GUARDED).await;
        let key = make_key(&wire.store_url, "billing", "read:*, audit", "never");
        until("the new key works", async || {
            wire.get_as(&key, "/v1/events").await.status == 200
        })
        .await;
        wire.get_as(&key, "/metrics")
            .await
            .problem(403, "forbidden");

        let listed = keys(&wire.store_url, &["list", "--json"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let shown: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(shown["name"], "billing");
        assert_eq!(shown["rights"], json!(["read:*", "audit"]));
        assert_eq!(
            (&shown["state"], &shown["expires_at"]),
            (&json!("valid"), &Value::Null)
        );
        let secret = &key[31..];
        assert!(!listed.contains(secret));
        let again = [
            "create",
            "--name",
            "billing",
            "--rights",
            "audit",
            "--expires",
            "1d",
        ];
        assert_eq!(keys(&wire.store_url, &again).status.code(), Some(1));
        until("its use is noted", async || {
            let listed = keys(&wire.store_url, &["list", "--json"]);
            let shown: Value = serde_json::from_slice(&listed.stdout).unwrap();
            shown["last_used_at"].is_string()
        })
        .await;

        assert!(
            keys(&wire.store_url, &["revoke", "billing"])
                .status
                .success()
        );
        until("the revoked key is refused", async || {
            wire.get_as(&key, "/v1/events").await.status == 401
        })
        .await;
        assert_eq!(
            keys(&wire.store_url, &["revoke", "billing"]).status.code(),
            Some(3)
        );
        // A name stands with its events, so it is given once.
        assert_eq!(keys(&wire.store_url, &again).status.code(), Some(1));
        let stored = "select count(*) from api_keys where length(secret_hash) = 32";
        assert_eq!(wire.database().await.number(stored).await, 1);
        assert!(!wire.server.log().contains(secret));
    }
}

#[test]
fn a_key_that_makes_no_sense_is_not_made() {
    let directory = crate::support::scratch();
    let url = format!("sqlite://{}", directory.path().join("a.db").display());
    let mut migrate = binary();
    assert!(
        migrate
            .env("DORMOUSE__STORE__URL", &url)
            .arg("migrate")
            .status()
            .unwrap()
            .success()
    );
    for (name, rights, expires, code) in [
        ("a b", "audit", "1d", 1),
        ("a-name-that-is-too-long", "audit", "1d", 1),
        ("a", "Audit", "1d", 1),
        ("a", " ", "1d", 1),
        ("a", "audit", "2001-01-01T00:00:00Z", 1),
        ("a", "audit", "soon", 2),
    ] {
        let made = create(&url, name, rights, expires);

        assert_eq!(made.status.code(), Some(code), "{name} {rights} {expires}");
        assert!(made.stdout.is_empty());
    }
}
