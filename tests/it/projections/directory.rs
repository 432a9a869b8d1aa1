//! The directory of users over HTTP: every filter, pages, and reads of one's own writes.

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{Backend, backends, server::Server};

/// A server that keeps the directory.
pub(super) struct Directory {
    pub(super) server: Server,
    client: Client,
}

/// What was answered: the status, `X-Position` and the body.
pub(super) struct Read {
    pub(super) status: u16,
    pub(super) position: u64,
    pub(super) body: Value,
}

impl Read {
    pub(super) fn names(&self) -> Vec<&str> {
        let users = self.body["users"].as_array().unwrap();
        let names = users.iter().map(|user| user["username"].as_str().unwrap());
        names.collect()
    }
}

impl Directory {
    pub(super) async fn start(backend: &Backend, settings: &[(&str, &str)]) -> Self {
        let url = backend.store_url();
        let mut all = vec![
            ("DORMOUSE__STORE__URL", url.as_str()),
            ("DORMOUSE__STORE__WRITERS", "shared"),
            ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8"),
            ("DORMOUSE__IAM__ARGON2_ITERATIONS", "1"),
            ("DORMOUSE__HTTP__WORKERS", "2"),
        ];
        all.extend(settings);
        Self {
            server: Server::start(&all).await,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Sends a command for a user, and gives the position of its last event.
    pub(super) async fn command(&self, id: &str, command: &str, body: &Value) -> u64 {
        let url = self.server.url();
        let path = format!("{url}/v1/aggregates/User/{id}/commands/{command}");
        let answer = self.client.post(path).json(body).send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{answer}");
        answer["position"].as_u64().unwrap()
    }

    pub(super) async fn create(&self, name: &str, domain: &str) -> u64 {
        let user = json!({"username": name, "password": "correct horse", "domain": domain,
            "nick_name": "Nick"});
        let id = format!("id-{}", name.to_lowercase());
        self.command(&id, "create", &user).await
    }

    pub(super) async fn read(&self, query: &str) -> Read {
        let path = format!("{}/v1/read/users{query}", self.server.url());
        let answer = self.client.get(path).send().await.unwrap();
        let position = answer.headers().get("x-position");
        Read {
            position: position.map_or(0, |at| at.to_str().unwrap().parse().unwrap()),
            status: answer.status().as_u16(),
            body: answer.json().await.unwrap(),
        }
    }

    /// A read that must be answered with all up to a position.
    pub(super) async fn read_after(&self, query: &str, position: u64) -> Read {
        let sign = if query.is_empty() { '?' } else { '&' };
        let query = format!("{query}{sign}after_position={position}&wait_ms=5000");
        let read = self.read(&query).await;
        assert_eq!(read.status, 200, "{}\n{}", read.body, self.server.log());
        assert!(read.position >= position);
        read
    }
}

#[tokio::test]
async fn users_are_found_by_every_filter_and_in_pages() {
    for backend in backends().await {
        let directory = Directory::start(&backend, &[]).await;
        for (name, domain) in [("Anna", "a"), ("anton", "b"), ("berta", "a"), ("zoe", "b")] {
            directory.create(name, domain).await;
        }
        let banned = json!({"status": "BANNED", "email": "zoe@example.org"});
        directory.command("id-zoe", "update", &banned).await;
        let roles = json!({"role_ids": ["r1", "r2"]});
        directory.command("id-anna", "assign-roles", &roles).await;
        let last = directory
            .command("id-anton", "assign-roles", &json!({"role_ids": ["r2"]}))
            .await;

        let cases: [(&str, &[&str]); 9] = [
            ("", &["Anna", "anton", "berta", "zoe"]),
            ("?name_prefix=AN", &["Anna", "anton"]),
            ("?name_prefix=ann", &["Anna"]),
            ("?domain=a", &["Anna", "berta"]),
            ("?status=BANNED", &["zoe"]),
            ("?role=r2", &["Anna", "anton"]),
            ("?role=r2&domain=b", &["anton"]),
            ("?role=r1&name_prefix=an&status=ENABLED&domain=a", &["Anna"]),
            ("?name_prefix=x", &[]),
        ];
        for (query, expected) in cases {
            let read = directory.read_after(query, last).await;
            assert_eq!(read.names(), expected, "{query}");
            assert_eq!(read.body["next"], Value::Null);
        }

        let mut pages = Vec::new();
        let mut query = "?limit=2&role=r2".replace("&role=r2", "");
        loop {
            let page = directory.read(&query).await;
            pages.push(page.names().join(","));
            let Some(next) = page.body["next"].as_str() else {
                break;
            };
            query = format!("?limit=2&after={next}");
        }
        assert_eq!(pages, ["Anna,anton", "berta,zoe"]);
        let zoe = &directory.read("?status=BANNED").await.body["users"][0];
        assert_eq!(zoe["email"], "zoe@example.org");
        assert_eq!((&zoe["id"], &zoe["version"]), (&json!("id-zoe"), &json!(2)));
        assert_eq!(zoe.get("password_hash"), None);
    }
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_its_name_can_be_anothers() {
    for backend in backends().await {
        let directory = Directory::start(&backend, &[]).await;
        directory.create("anna", "a").await;
        directory
            .command("id-anna", "assign-roles", &json!({"role_ids": ["r"]}))
            .await;
        let deleted = directory.command("id-anna", "delete", &json!({})).await;
        assert!(directory.read_after("", deleted).await.names().is_empty());
        assert!(
            directory
                .read_after("?role=r", deleted)
                .await
                .names()
                .is_empty()
        );

        let user = json!({"username": "anna", "password": "correct horse", "domain": "b",
            "nick_name": "Nick"});
        let again = directory.command("another", "create", &user).await;

        let read = directory.read_after("", again).await;
        assert_eq!(read.names(), ["anna"]);
        assert_eq!(read.body["users"][0]["id"], "another");
    }
}

#[tokio::test]
async fn a_position_that_is_not_reached_in_time_is_202_with_the_one_that_is() {
    for backend in backends().await {
        let directory = Directory::start(&backend, &[]).await;
        let position = directory.create("anna", "a").await;
        directory.read_after("", position).await;

        let read = directory
            .read(&format!("?after_position={}&wait_ms=30", position + 1))
            .await;

        assert_eq!(read.status, 202, "{}", read.body);
        assert_eq!(read.position, position);
        assert_eq!(
            read.body,
            json!({"projection": "user_directory", "position": position, "building": false})
        );
    }
}

#[tokio::test]
async fn a_write_on_one_node_is_read_on_another() {
    let backend = Backend::postgres().await;
    let first = Directory::start(&backend, &[]).await;
    let second = Directory::start(&backend, &[]).await;

    for number in 0..20 {
        let position = first.create(&format!("user{number}"), "a").await;
        let read = second.read_after("?limit=1000", position).await;
        assert_eq!(read.names().len(), number + 1);
    }
}

#[tokio::test]
async fn a_wrong_question_is_told_by_the_name_of_its_parameter() {
    let backend = Backend::sqlite();
    let directory = Directory::start(&backend, &[]).await;
    directory.read_after("", 0).await;

    for (query, part) in [
        ("?status=GONE", "`status`"),
        ("?role=a%20b", "`role`"),
        ("?name_prefix=", "`name_prefix`"),
        ("?after=x", "`after`"),
        ("?limit=0", "`limit`"),
        ("?after_position=-1", "`after_position`"),
        ("?after_position=1&wait_ms=600000", "`wait_ms`"),
        ("?wait_ms=5", "`wait_ms`"),
        ("?colour=red", "`colour`"),
        ("?domain=a&domain=b", "`domain`"),
    ] {
        let read = directory.read(query).await;
        assert_eq!(read.status, 400, "{query}: {}", read.body);
        assert_eq!(read.body["code"], "invalid-request");
        let detail = read.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_directory_that_is_off_is_not_there() {
    let off = [("DORMOUSE__PROJECTIONS__USER_DIRECTORY", "off")];
    let backend = Backend::sqlite();
    let directory = Directory::start(&backend, &off).await;

    let read = directory.read("").await;

    assert_eq!(
        (read.status, &read.body["code"]),
        (404, &json!("not-found"))
    );
}
