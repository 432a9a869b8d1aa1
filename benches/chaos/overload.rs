//! Overload: ten times what a node takes.
//!
//! First as many callers as the node takes tell its best rate; then ten times as many come, and
//! ask again so soon that ten times that rate is asked for. What must hold: a refusal is `503` with
//! `Retry-After`, everything is answered, the memory stays flat, the accepted rate stays near the
//! best, timers fire, and the first command after it succeeds within a second.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    node::{Node, Setup},
    place::{Kind, Place, Wanted},
    proxy::{Mode, Proxy},
};

/// What the node takes at a time.
const TAKEN: usize = 32;
/// How long the network makes each batch take, so that the node's bound is reached before the
/// machine's, which the callers share.
const LATENCY: Duration = Duration::from_millis(40);
const TIMEOUT: Duration = Duration::from_secs(20);
const RECOVERY_LIMIT: Duration = Duration::from_secs(1);
/// From this long on the accepted rate is held to [`LOSS`]; shorter, chance has too much of a say.
const LONG: Duration = Duration::from_secs(30);
/// The part of the best rate, in a hundred, that may be lost.
const LOSS: u128 = 20;
const SHORT_LOSS: u128 = 50;
/// Aggregates that are used just before the overload, so that they must fall asleep in it.
const IDLE: usize = 32;
const IDLE_TIMEOUT: &str = "500ms";
/// What may be added to the memory in use while overloaded.
const GROWTH_KIB: usize = 48 * 1024;

/// What callers heard.
#[derive(Debug, Default)]
struct Heard {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    /// Anything but a success or a refusal as it must be.
    wrong: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Heard {
    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Proves it on either store, for so long each.
pub(crate) async fn prove(duration: Duration, server: Option<&Path>) -> bool {
    println!(
        "{:<10} {:>10} {:>10} {:>9} {:>6} {:>6} {:>11} {:>11} {:>9}",
        "overload",
        "best/s",
        "then/s",
        "refused",
        "wrong",
        "none",
        "before KiB",
        "most KiB",
        "after ms"
    );
    let mut good = true;
    for kind in [Kind::Postgres, Kind::Sqlite] {
        good &= on(kind, duration, server).await;
    }
    good
}

async fn on(kind: Kind, duration: Duration, server: Option<&Path>) -> bool {
    let place = Place::open(&Wanted::Throwaway(kind), false).await;
    let proxy = match place.address() {
        Some(address) => Some(Proxy::before(address).await),
        None => None,
    };
    let url = match &proxy {
        Some(proxy) => place.url_through(proxy.address()),
        None => place.url.clone(),
    };
    let settings = [
        ("DORMOUSE__STORE__URL", url),
        ("DORMOUSE__RUNTIME__MAX_IN_FLIGHT", TAKEN.to_string()),
        // What is accepted is not to be refused for lack of a connection that reads.
        ("DORMOUSE__STORE__POOL", "8".to_owned()),
        (
            "DORMOUSE__AGGREGATES__Role__IDLE_TIMEOUT",
            IDLE_TIMEOUT.to_owned(),
        ),
    ];
    let owned = settings.map(|(name, value)| (name.to_owned(), value));
    let node = Node::new(Setup::serve(server, owned.to_vec()));
    node.start().await;
    let base = format!(
        "http://{}/v1/aggregates/Role",
        node.address().expect("it was started")
    );
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    let client = client.expect("a client");
    create(&client, &base, "r", 10 * TAKEN).await;
    if let Some(proxy) = &proxy {
        proxy.set(Mode::Latency(LATENCY)).await;
    }
    let caller = Caller {
        client: client.clone(),
        base: base.clone(),
        pause: Duration::ZERO,
    };
    let (best, _) = load(&caller, &node, TAKEN, duration).await;
    create(&client, &base, "idle", IDLE).await;
    let awake = idle_ones_awake(&client, &base).await;
    let before = memory_kib(&node);
    let accepted = u32::try_from(best.accepted()).expect("it fits");
    let caller = Caller {
        // As many callers and as many requests, each times ten.
        pause: duration * u32::try_from(TAKEN).expect("it fits") / accepted.max(1),
        ..caller
    };
    let (heard, most) = load(&caller, &node, 10 * TAKEN, duration).await;
    let still_awake = idle_ones_awake(&client, &base).await;
    let began = Instant::now();
    while update(&client, &base, 0, 0).await != Some(200) {}
    let after = began.elapsed();
    node.terminate().await;
    let timers = awake.is_some_and(|awake| awake > 0) && still_awake == Some(0);
    if !timers {
        println!("  VIOLATION: {awake:?} idle aggregates were awake, {still_awake:?} still are");
    }
    judge(kind, duration, (&best, &heard), (before, most), after) && timers
}

fn judge(
    kind: Kind,
    duration: Duration,
    (best, heard): (&Heard, &Heard),
    (before, most): (usize, usize),
    after: Duration,
) -> bool {
    let rate = |heard: &Heard| heard.accepted() as u128 * 1000 / duration.as_millis().max(1);
    let refused = heard.refused.load(Ordering::Relaxed);
    let wrong = heard.wrong.load(Ordering::Relaxed) + best.wrong.load(Ordering::Relaxed);
    let unanswered = heard.unanswered.load(Ordering::Relaxed);
    println!(
        "{:<10} {:>10} {:>10} {refused:>9} {wrong:>6} {unanswered:>6} {before:>11} {most:>11} {:>9}",
        format!("{kind:?}").to_lowercase(),
        rate(best),
        rate(heard),
        after.as_millis(),
    );
    let mut broken = Vec::new();
    if wrong > 0 || unanswered > 0 {
        broken.push("an answer is not as it must be");
    }
    if refused == 0 {
        broken.push("nothing was refused: that was no overload");
    }
    if most > before + GROWTH_KIB {
        broken.push("the memory grows");
    }
    if after > RECOVERY_LIMIT {
        broken.push("it does not recover within a second");
    }
    // On SQLite the callers' own work takes the node's processors; there the rate is only told.
    let loss = if duration >= LONG { LOSS } else { SHORT_LOSS };
    if kind == Kind::Postgres && rate(heard) * 100 < rate(best) * (100 - loss) {
        broken.push("too little of the best rate is accepted");
    }
    for what in &broken {
        println!("  VIOLATION: {what}");
    }
    broken.is_empty()
}

async fn create(client: &Client, base: &str, name: &str, count: usize) {
    for number in 0..count {
        let body = json!({"code": format!("{name}{number}"), "name": "a role"});
        let url = format!("{base}/{name}{number}/commands/create");
        let made = client.post(url).json(&body).send().await;
        assert_eq!(made.expect("an answer").status(), 201);
    }
}

/// How many of those that nobody uses are awake; nothing where the node does not tell.
async fn idle_ones_awake(client: &Client, base: &str) -> Option<usize> {
    let (server, _) = base.split_once("/v1/")?;
    let url = format!("{server}/v1/runtime?limit=1000");
    let body: Value = client.get(url).send().await.ok()?.json().await.ok()?;
    let live = body["aggregates"].as_array()?.iter();
    let idle = live.filter_map(|one| one["aggregate_id"].as_str());
    Some(idle.filter(|id| id.starts_with("idle")).count())
}

/// Who sends, and how soon again after a refusal.
#[derive(Debug, Clone)]
struct Caller {
    client: Client,
    base: String,
    pause: Duration,
}

/// Lets so many callers send, and gives what they heard and the most memory used.
async fn load(caller: &Caller, node: &Node, callers: usize, duration: Duration) -> (Heard, usize) {
    let heard = Arc::new(Heard::default());
    let ended = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for role in 0..callers {
        let caller = caller.clone();
        let (heard, ended) = (Arc::clone(&heard), Arc::clone(&ended));
        tasks.spawn(async move {
            for number in 0_usize.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let status = update(&caller.client, &caller.base, role, number).await;
                let counted = match status {
                    Some(200) => &heard.accepted,
                    Some(503) => &heard.refused,
                    Some(_) => &heard.wrong,
                    None => &heard.unanswered,
                };
                counted.fetch_add(1, Ordering::Relaxed);
                if status == Some(503) {
                    sleep(caller.pause).await;
                }
            }
        });
    }
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < duration {
        most = most.max(memory_kib(node));
        sleep(Duration::from_millis(100)).await;
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a caller ends by itself");
    }
    let heard = Arc::into_inner(heard).expect("all callers have ended");
    (heard, most)
}

/// The status of an update; 500 for a refusal that is not as it must be, nothing for no answer.
async fn update(client: &Client, base: &str, role: usize, number: usize) -> Option<u16> {
    let url = format!("{base}/r{role}/commands/update");
    let body = json!({"description": format!("{role}-{number}-{}", rand::random::<u64>())});
    let answer = client.post(url).json(&body).send().await.ok()?;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().contains_key("retry-after");
    let body: Value = answer.json().await.ok()?;
    let as_it_must = status != 503 || (retry_after && body["code"] == "overloaded");
    Some(if as_it_must { status } else { 500 })
}

/// The memory that a node uses (`VmRSS`); zero where the system does not tell.
fn memory_kib(node: &Node) -> usize {
    let pid = node.pid().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}
