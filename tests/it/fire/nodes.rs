//! Two servers on one database: whichever is asked, the answer is the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use rand::RngExt as _;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::scale;
use crate::support::{
    Backend,
    checker::{event_of, open, read},
    server::Server,
};

const ROLES: usize = 3;
const CALLERS: usize = 8;

/// Two servers, and what has been acknowledged of each role.
struct World {
    client: Client,
    servers: Vec<String>,
    acknowledged: Vec<AtomicU64>,
}

impl World {
    fn role(&self, role: usize) -> String {
        let server = rand::rng().random_range(0..self.servers.len());
        format!("{}/v1/aggregates/Role/role-{role}", self.servers[server])
    }

    async fn command(
        &self,
        role: usize,
        command: &str,
        body: &Value,
        expected: Option<u64>,
    ) -> Response {
        let url = format!("{}/commands/{command}", self.role(role));
        let mut request = self.client.post(url).json(body);
        if let Some(expected) = expected {
            request = request.header("If-Match", format!("\"{expected}\""));
        }
        request.send().await.unwrap()
    }

    /// Reads through either server, and checks that nothing acknowledged is missing.
    async fn read(&self, role: usize) -> Value {
        let least = self.acknowledged[role].load(Ordering::SeqCst);
        let answer = self.client.get(self.role(role)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        let version = body["version"].as_u64().unwrap();
        assert!(version >= least, "read {version} after {least}");
        body
    }

    fn acknowledge(&self, role: usize, answer: &Value) -> u64 {
        let version = answer["version"].as_u64().unwrap();
        self.acknowledged[role].fetch_max(version, Ordering::SeqCst);
        version
    }

    /// Updates, plainly and on condition, with reads in between; gives the tokens by what they were
    /// answered.
    async fn call(&self, caller: usize) -> BTreeMap<String, (usize, u64)> {
        let mut stored = BTreeMap::new();
        for number in 0..20 * scale() {
            let role = rand::rng().random_range(0..ROLES);
            let token = format!("t-{caller}-{number}");
            let body = json!({"description": token});
            let expected = match number % 3 {
                0 => Some(self.read(role).await["version"].as_u64().unwrap()),
                _ => None,
            };
            let answer = self.command(role, "update", &body, expected).await;
            let status = answer.status().as_u16();
            let answer: Value = answer.json().await.unwrap();
            match (status, expected) {
                (200, _) => {
                    let version = self.acknowledge(role, &answer);
                    assert!(expected.is_none_or(|expected| version == expected + 1));
                    stored.insert(token, (role, version));
                }
                (412, Some(expected)) => {
                    assert!(answer["current_version"].as_u64().unwrap() > expected);
                }
                _ => panic!("{token} heard {status}: {answer}"),
            }
            self.read(role).await;
        }
        stored
    }
}

async fn two_nodes_answer_as_one(backend: Backend) {
    let url = backend.store_url();
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__STORE__WRITERS", "shared"),
        ("DORMOUSE__RUNTIME__CONFLICT_RETRIES", "1000"),
    ];
    let mut servers = [
        Server::start(&settings).await,
        Server::start(&settings).await,
    ];
    let world = Arc::new(World {
        client: Client::new(),
        servers: servers.iter().map(Server::url).collect(),
        acknowledged: (0..ROLES).map(|_| AtomicU64::new(0)).collect(),
    });
    for role in 0..ROLES {
        let body = json!({"code": format!("role{role}"), "name": "a role"});
        let answer = world.command(role, "create", &body, None).await;
        assert_eq!(answer.status(), 201);
        world.acknowledge(role, &answer.json().await.unwrap());
    }

    let callers = (0..CALLERS).map(|caller| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.call(caller).await })
    });
    let told = join_all(callers).await;

    let told: BTreeMap<_, _> = told.into_iter().flat_map(Result::unwrap).collect();
    let mut states = Vec::new();
    for role in 0..ROLES {
        let reads = world.servers.iter().map(async |server| {
            let url = format!("{server}/v1/aggregates/Role/role-{role}");
            let answer = world.client.get(url).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        });
        let reads = join_all(reads).await;
        assert_eq!(reads[0], reads[1]);
        states.push(reads[0].clone());
    }
    for server in &mut servers {
        assert_eq!(server.terminate().code(), Some(0));
    }
    let store = open(&url).await;
    let log = read(&*store).await;
    assert_eq!(log.events().len(), told.len() + ROLES);
    for (token, (role, version)) in &told {
        let event = event_of(&log, token);
        let id = event.stream.aggregate_id.as_str().to_owned();
        assert_eq!(
            (id, event.version.get()),
            (format!("role-{role}"), *version)
        );
    }
    for (role, state) in states.iter().enumerate() {
        let version = state["version"].as_u64().unwrap();
        assert_eq!(version, world.acknowledged[role].load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn two_servers_on_one_postgres_answer_as_one() {
    two_nodes_answer_as_one(Backend::postgres().await).await;
}

#[tokio::test]
async fn two_servers_on_one_sqlite_file_answer_as_one() {
    two_nodes_answer_as_one(Backend::sqlite()).await;
}
