//! The directory of users, a projection that the callers' commands feed: read all the while, and built
//! anew in between. Each reading says up to which position it is complete, so that the judge can
//! hold every one against the log.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{process::Command, task::JoinHandle, time::sleep};

use crate::{
    check::{shown, token_of},
    history::{Entry, Hear, Heard, Line, Listing, Send, Token},
    world::World,
};

/// So many users are there from the beginning: to hash a password takes long.
pub(crate) const USERS: u32 = 24;
const NAME: &str = "user_directory";
/// Behind the numbers of all callers, and of the program beside the servers.
const NUMBER: u64 = 1 << 21;
const BETWEEN_READINGS: Duration = Duration::from_millis(150);
const TIMEOUT: Duration = Duration::from_secs(4);

/// Makes the users.
pub(crate) async fn create_users(world: &World) {
    let client = Client::builder().no_proxy().build().expect("a client");
    for number in 0..USERS {
        let token: Token = NUMBER << 40 | u64::from(number);
        let id = format!("user-{number}");
        let (node, address) = world.any_address(number).expect("servers were started");
        world.history.write(&Line::Send(Send {
            at: world.history.now(),
            token,
            id: id.clone(),
            command: "create".to_owned(),
            keyed: true,
            expects: None,
            node,
        }));
        let correlation = u128::from(world.run) << 64 | u128::from(token);
        let request = client
            .post(format!(
                "http://{address}/v1/aggregates/User/{id}/commands/create"
            ))
            .header("Idempotency-Key", shown(token))
            .header(
                "X-Correlation-Id",
                ulid::Ulid::from(correlation).to_string(),
            )
            .json(
                &json!({"username": id, "password": "a password of some length",
                "domain": "chaos", "nick_name": shown(token)}),
            );
        let answer = request.send().await.expect("a server that is left alone");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{status}: {body}");
        world.history.write(&Line::Hear(Hear {
            at: world.history.now(),
            token,
            what: Heard::Done {
                version: 1,
                position: body["position"].as_u64().expect("a position"),
                event: body["events"][0]["id"].as_str().expect("an id").to_owned(),
                replayed: false,
            },
        }));
    }
}

/// Who reads the directory, and who has it built anew.
#[derive(Debug)]
pub(crate) struct Directory {
    ended: Arc<AtomicBool>,
    rebuilds: Arc<AtomicU64>,
    tasks: [JoinHandle<()>; 2],
}

impl Directory {
    pub(crate) fn start(world: &Arc<World>, seed: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let rebuilds = Arc::new(AtomicU64::new(0));
        let tasks = [
            tokio::spawn(read_on(Arc::clone(world), seed, Arc::clone(&ended))),
            tokio::spawn(rebuild_on(
                Arc::clone(world),
                seed,
                (Arc::clone(&ended), Arc::clone(&rebuilds)),
            )),
        ];
        Self {
            ended,
            rebuilds,
            tasks,
        }
    }

    /// Lets it end; gives how often a rebuild was begun.
    pub(crate) async fn stop(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("it ends by itself");
        }
        self.rebuilds.load(Ordering::Relaxed)
    }
}

async fn read_on(world: Arc<World>, seed: u64, ended: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(seed ^ 0xd1_7ec7);
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    let client = client.expect("a client");
    while !ended.load(Ordering::Relaxed) {
        sleep(BETWEEN_READINGS).await;
        read(&world, &client, random.random(), "").await;
    }
}

async fn rebuild_on(
    world: Arc<World>,
    seed: u64,
    (ended, begun): (Arc<AtomicBool>, Arc<AtomicU64>),
) {
    let mut random = StdRng::seed_from_u64(seed ^ 0x4eb_011d);
    loop {
        let pause = Duration::from_millis(random.random_range(2000..12_000));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            sleep(BETWEEN_READINGS).await;
        }
        if rebuild(&world, &[]).await {
            begun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Has it built anew by a program of its own; false where the database does not let it.
pub(crate) async fn rebuild(world: &World, options: &[&str]) -> bool {
    let mut command = Command::new(world.nodes[0].binary());
    let asked = command
        .args(["projections", "rebuild", NAME])
        .args(options)
        .env("DORMOUSE__STORE__URL", &world.place.url)
        .env("DORMOUSE__STORE__STATEMENT_TIMEOUT", "3s")
        .current_dir(world.nodes[0].directory())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.await.is_ok_and(|status| status.success())
}

/// Waits until the directory has all of the log, and reads it by every node; tells where it does not
/// get there.
pub(crate) async fn read_at_last(world: &World, limit: Duration) -> Option<String> {
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    let client = client.expect("a client");
    let began = Instant::now();
    let end = loop {
        if let Some(end) = last_position(&client, world).await {
            break end;
        }
        if began.elapsed() > limit {
            return Some("no server tells where the log ends".to_owned());
        }
        sleep(BETWEEN_READINGS).await;
    };
    for node in 0..world.nodes.len() {
        let choice = u32::try_from(node).expect("few nodes");
        let wait = format!("&after_position={end}&wait_ms=500");
        while read(world, &client, choice, &wait)
            .await
            .is_none_or(|position| position < end)
        {
            if began.elapsed() > limit {
                return Some(format!("the directory does not get to position {end}"));
            }
            sleep(BETWEEN_READINGS).await;
        }
    }
    None
}

async fn last_position(client: &Client, world: &World) -> Option<u64> {
    let (_, address) = world.any_address(0)?;
    let url = format!("http://{address}/v1/events?order=desc&limit=1");
    let answer = client.get(url).send().await.ok()?;
    let body: Value = answer.json().await.ok()?;
    body["events"][0]["position"].as_u64()
}

/// Reads it once, writes down what it shows, and gives the position up to which it is complete.
async fn read(world: &World, client: &Client, choice: u32, query: &str) -> Option<u64> {
    let (_, address) = world.any_address(choice)?;
    let sent = world.history.now();
    let url = format!("http://{address}/v1/read/users?limit=100{query}");
    let answer = client.get(url).send().await.ok()?;
    if answer.status() != 200 {
        return None;
    }
    let position = answer.headers().get("x-position")?.to_str().ok()?;
    let position = position.parse().expect("a position");
    let body: Value = answer.json().await.ok()?;
    let users = body["users"].as_array().expect("users").iter();
    let users = users.map(|user| Entry {
        id: user["id"].as_str().expect("an id").to_owned(),
        version: user["version"].as_u64().expect("a version"),
        shows: user["nick_name"].as_str().and_then(token_of),
    });
    world.history.write(&Line::Listing(Listing {
        sent,
        at: world.history.now(),
        position,
        users: users.collect(),
    }));
    Some(position)
}
