//! The contract with clients, against the real binary and over the wire.

mod api_keys;
mod application_role;
mod auth;
mod bodies;
mod combinations;
mod commands;
mod edge;
mod embed;
mod faults;
mod headers;
mod history;
mod hostile;
mod keys;
mod limits;
mod login;
mod logs;
mod metrics;
mod modes;
mod openapi;
mod problems;
mod raw;
mod reads;
mod replay;
mod roles;
mod route_rights;
mod routes;
mod runtime;
mod secrets;
mod shell;
mod stalls;
mod streams;
mod users;

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{Backend, database::Database, server::Server};

/// What makes a server light: hashing that costs nothing, and few threads and connections.
const LIGHT: [(&str, &str); 4] = [
    ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8"),
    ("DORMOUSE__IAM__ARGON2_ITERATIONS", "1"),
    ("DORMOUSE__HTTP__WORKERS", "2"),
    ("DORMOUSE__STORE__POOL", "2"),
];

/// A running server and a client of it.
struct Wire {
    server: Server,
    client: Client,
    store_url: String,
    /// Where the events are, if no other server is to read them later.
    _backend: Option<Backend>,
}

impl Wire {
    /// On an SQLite file of its own.
    async fn sqlite(settings: &[(&str, &str)]) -> Self {
        Self::alone(Backend::sqlite(), settings).await
    }

    /// On a database of its own in the shared cluster.
    async fn postgres(settings: &[(&str, &str)]) -> Self {
        Self::alone(Backend::postgres().await, settings).await
    }

    async fn alone(backend: Backend, settings: &[(&str, &str)]) -> Self {
        let wire = Self::start_with(&backend.store_url(), settings).await;
        Self {
            _backend: Some(backend),
            ..wire
        }
    }

    async fn start(backend: &Backend) -> Self {
        Self::start_with(&backend.store_url(), &[]).await
    }

    /// The settings win over those of [`LIGHT`].
    async fn start_with(store_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = LIGHT.to_vec();
        all.push(("DORMOUSE__STORE__URL", store_url));
        all.extend(settings);
        Self {
            server: Server::start(&all).await,
            client: Client::builder().no_proxy().build().unwrap(),
            store_url: store_url.to_owned(),
            _backend: None,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server.url());
        self.client.request(method, url)
    }

    async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    /// A `POST` of JSON.
    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, body, &[]).await
    }

    async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.request(Method::POST, path).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await
    }

    /// A command for an aggregate such as `User/u1`.
    async fn command(&self, aggregate: &str, command: &str, body: &Value) -> Reply {
        self.command_with(aggregate, command, body, &[]).await
    }

    async fn command_with(
        &self,
        aggregate: &str,
        command: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let path = format!("/v1/aggregates/{aggregate}/commands/{command}");
        self.post_with(&path, body, headers).await
    }

    /// Creates a user whose username is its id.
    async fn create_user(&self, id: &str) -> Reply {
        let created = self
            .command(&format!("User/{id}"), "create", &user(id))
            .await;
        created.is(201);
        created
    }

    async fn state(&self, aggregate: &str) -> Value {
        let read = self.get(&format!("/v1/aggregates/{aggregate}")).await;
        read.is(200).body["state"].clone()
    }

    async fn events(&self, aggregate: &str) -> Vec<Value> {
        let path = format!("/v1/aggregates/{aggregate}/events");
        let read = self.get(&path).await;
        read.is(200).body["events"].as_array().unwrap().clone()
    }

    /// A connection of the test's own to the server's database.
    async fn database(&self) -> Database {
        Database::open(&self.store_url).await
    }

    /// The position of the last stored event, as the database has it.
    async fn head(&self) -> i64 {
        self.database().await.last_position().await
    }
}

async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    Reply::new(status, headers, text)
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
    /// `Null` where the body is no JSON.
    body: Value,
}

impl Reply {
    fn new(status: u16, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self {
            status,
            headers,
            text,
            body,
        }
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks all that problems have in common.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status, &self.body["code"]),
            (status, &json!(code)),
            "{}",
            self.text
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.body["type"], format!("urn:dormouse:problem:{code}"));
        assert_eq!(self.body["status"], status);
        for member in ["title", "detail"] {
            assert!(!self.body[member].as_str().unwrap().is_empty(), "{member}");
        }
        let passes = ["overloaded", "store-unavailable", "rate-limited"].contains(&code);
        let retry_after = self.header("retry-after").map(str::parse::<u32>);
        assert_eq!(retry_after.is_some(), passes, "{:?}", self.headers);
        assert!(retry_after.is_none_or(|seconds| seconds.is_ok_and(|s| s > 0)));
        self
    }

    /// The same, of a problem whose detail names something.
    #[track_caller]
    fn problem_about(&self, status: u16, code: &str, part: &str) {
        self.problem(status, code);
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail} does not name {part}");
    }

    /// The types of the events that a command stored.
    fn event_types(&self) -> Vec<&str> {
        let events = self.body["events"].as_array().unwrap();
        let types = events.iter().map(|event| event["event_type"].as_str());
        types.map(Option::unwrap).collect()
    }
}

/// What creates a user.
fn user(username: &str) -> Value {
    json!({"username": username, "password": "correct horse", "domain": "test", "nick_name": "Nick"})
}

/// What creates a role.
fn role(code: &str) -> Value {
    json!({"code": code, "name": "Role"})
}

/// Whether it is a ULID in its canonical spelling.
fn is_ulid(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    ulid::Ulid::from_string(text).is_ok_and(|ulid| ulid.to_string() == text)
}

/// Waits until something holds; the test fails where it never does.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed().as_secs() < 20, "never: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
