//! Callers over HTTP: they send, retry under their keys, read, and write down all they hear.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use ulid::Ulid;

use crate::{
    chaos::Plan,
    check::{field_of, shown, token_of, type_of},
    directory::USERS,
    history::{Hear, Heard, Line, Read, Send, Token},
    world::World,
};

/// What many callers work on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Hot {
    /// Users, which nobody else writes.
    Users,
    /// Roles, in `dual-write`, which the program beside the servers writes as well.
    Roles,
}

const HOT: u32 = 2;
pub(crate) const WARM: u32 = 200;
/// What a node may take for a command, and a little more for its answer.
const TIMEOUT_MS: &str = "1500";
const TIMEOUT: Duration = Duration::from_secs(4);

/// A caller's command.
#[derive(Debug, Clone)]
struct Order {
    token: Token,
    id: String,
    command: &'static str,
    body: Value,
    keyed: bool,
    expects: Option<u64>,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Callers {
    ended: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    pub(crate) surprises: Arc<AtomicUsize>,
}

impl Callers {
    pub(crate) fn start(world: &Arc<World>, plan: &Plan) -> Self {
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.expect("a client");
        let ended = Arc::new(AtomicBool::new(false));
        let surprises = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..plan.callers {
            let caller = Caller {
                world: Arc::clone(world),
                client: client.clone(),
                number,
                hot: plan.hot,
                random: StdRng::seed_from_u64(plan.seed ^ (u64::from(number) << 32)),
                ended: Arc::clone(&ended),
                surprises: Arc::clone(&surprises),
                sent: 0,
                versions: HashMap::new(),
                done: Vec::new(),
            };
            tasks.spawn(caller.run());
        }
        Self {
            ended,
            tasks,
            surprises,
        }
    }

    /// Lets the callers end what they have begun: commands with a key are known then.
    pub(crate) async fn stop(mut self, limit: Duration) -> Surprises {
        self.ended.store(true, Ordering::Relaxed);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a caller ends by itself");
            }
        };
        timeout(limit, all).await.ok();
        Surprises {
            unended: self.tasks.len(),
            answers: self.surprises.load(Ordering::Relaxed),
        }
    }
}

/// What no caller should have met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surprises {
    /// Callers that never learnt what became of their last command.
    pub(crate) unended: usize,
    /// Answers that no client should get.
    pub(crate) answers: usize,
}

struct Caller {
    world: Arc<World>,
    client: Client,
    number: u32,
    hot: Hot,
    random: StdRng,
    ended: Arc<AtomicBool>,
    surprises: Arc<AtomicUsize>,
    sent: u32,
    /// The last version that this caller heard of an aggregate.
    versions: HashMap<String, u64>,
    /// Some keyed commands that are done, to be sent again.
    done: Vec<Order>,
}

impl Caller {
    async fn run(mut self) {
        while !self.ended.load(Ordering::Relaxed) {
            let id = self.some_id();
            match self.random.random_range(0..100) {
                0..25 => self.read(&id).await,
                25..30 if !self.done.is_empty() => {
                    let index = self.random.random_range(0..self.done.len());
                    let again = self.done.swap_remove(index);
                    self.carry_out(&again).await;
                }
                _ => {
                    let order = self.order(id);
                    self.carry_out(&order).await;
                }
            }
        }
    }

    fn some_id(&mut self) -> String {
        match self.random.random_range(0..20) {
            0..6 => {
                let kind = match self.hot {
                    Hot::Users => "user",
                    Hot::Roles => "warm",
                };
                format!("{kind}-{}", self.random.random_range(0..HOT))
            }
            6..14 => format!("warm-{}", self.random.random_range(0..WARM)),
            14..16 => format!("user-{}", self.random.random_range(0..USERS)),
            _ => {
                // Any that some caller wrote some time ago, or may write yet.
                let reach = self.sent / 4 + 8;
                let (caller, nth) = (
                    self.random.random_range(0..=self.number),
                    self.random.random_range(0..reach),
                );
                format!("cold-{caller}-{nth}")
            }
        }
    }

    fn order(&mut self, id: String) -> Order {
        self.sent += 1;
        let token = u64::from(self.number + 1) << 40 | u64::from(self.sent);
        let known = self.versions.get(&id).copied();
        // The users are there from the beginning.
        let is_role = !id.starts_with("user-");
        let create = is_role && known.is_none() && self.random.random_range(0..20) < 17;
        let expects = match known {
            Some(known) if self.random.random_range(0..5) == 0 => Some(known),
            _ => None,
        };
        let body = if create {
            // Some codes are wanted by many, and one gets it.
            let wanted = (self.random.random_range(0..20) == 0)
                .then(|| format!("wanted-{}", self.random.random_range(0..50)));
            let code = wanted.as_ref().unwrap_or(&id);
            json!({"code": code, "name": "a role", "description": shown(token)})
        } else {
            json!({field_of(&id): shown(token)})
        };
        Order {
            token,
            id,
            command: if create { "create" } else { "update" },
            body,
            keyed: self.random.random_range(0..10) < 7,
            expects,
        }
    }

    /// Sends a command; one with a key until it is known what became of it, the others once.
    async fn carry_out(&mut self, order: &Order) {
        loop {
            let Some((heard, is_final)) = self.send(order).await else {
                self.pause().await;
                continue;
            };
            if let Heard::Done {
                version, replayed, ..
            } = &heard
            {
                self.versions.insert(order.id.clone(), *version);
                if order.keyed && !replayed && self.done.len() < 50 {
                    self.done.push(order.clone());
                }
            }
            if is_final || !order.keyed {
                return;
            }
            self.pause().await;
        }
    }

    /// Sends a command once. Nothing where no server listens.
    async fn send(&mut self, order: &Order) -> Option<(Heard, bool)> {
        let (node, address) = self.world.any_address(self.random.random())?;
        let (id, command) = (&order.id, order.command);
        let aggregate_type = type_of(id);
        let url =
            format!("http://{address}/v1/aggregates/{aggregate_type}/{id}/commands/{command}");
        let correlation = u128::from(self.world.run) << 64 | u128::from(order.token);
        let mut request = self
            .client
            .post(url)
            .header("X-Timeout-Ms", TIMEOUT_MS)
            .header("X-Correlation-Id", Ulid::from(correlation).to_string())
            .json(&order.body);
        if order.keyed {
            request = request.header("Idempotency-Key", shown(order.token));
        }
        if let Some(expects) = order.expects {
            request = request.header("If-Match", format!("\"{expects}\""));
        }
        let sent = self.world.history.now();
        self.world.history.write(&Line::Send(Send {
            at: sent,
            token: order.token,
            id: id.clone(),
            command: command.to_owned(),
            keyed: order.keyed,
            expects: order.expects,
            node,
        }));
        let (heard, is_final) = self.hear(request).await;
        let at = self.world.history.now();
        self.world.history.write(&Line::Hear(Hear {
            at,
            token: order.token,
            what: heard.clone(),
        }));
        if matches!(heard, Heard::Done { .. }) {
            self.world.acknowledged(node, sent, at);
        }
        Some((heard, is_final))
    }

    /// What an answer says, and whether there is nothing more to find out.
    async fn hear(&self, request: reqwest::RequestBuilder) -> (Heard, bool) {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                return (Heard::Refused("no-connection".to_owned()), false);
            }
            Err(_) => return (Heard::Unknown("no-answer".to_owned()), false),
        };
        let status = answer.status().as_u16();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        let retry_after = answer.headers().contains_key("retry-after");
        let Ok(body) = answer.json::<Value>().await else {
            return (Heard::Unknown("half an answer".to_owned()), false);
        };
        if status < 300 {
            return (done(&body, replayed), true);
        }
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        match (status, code.as_str(), &body["handled"]) {
            (503, "store-unavailable" | "overloaded", _) if retry_after => {
                (Heard::Refused(code), false)
            }
            // A connection that the client opened ahead of need was not used for so long that it was
            // told so just as it was: what was sent on it then was not read.
            (408, "request-timeout", _)
            | (409, "write-conflict", _)
            | (504, "command-timeout", Value::Bool(false)) => (Heard::Refused(code), false),
            (504, "command-timeout", Value::Bool(true)) => (Heard::Unknown(code), false),
            (409, "claim-taken", _)
            | (412, "version-mismatch", _)
            | (422, "command-rejected", _) => (Heard::Refused(code), true),
            _ => {
                self.surprise(&format!("{status}: {body}"));
                (Heard::Unknown(format!("{status} {code}")), true)
            }
        }
    }

    async fn read(&mut self, id: &str) {
        let Some((node, address)) = self.world.any_address(self.random.random()) else {
            return self.pause().await;
        };
        let url = format!("http://{address}/v1/aggregates/{}/{id}", type_of(id));
        let sent = self.world.history.now();
        let Ok(answer) = self.client.get(url).send().await else {
            return self.pause().await;
        };
        let status = answer.status().as_u16();
        let Ok(body) = answer.json::<Value>().await else {
            return;
        };
        let (version, shows) = match status {
            200 => (
                body["version"].as_u64().expect("a version"),
                body["state"][field_of(id)].as_str().and_then(token_of),
            ),
            404 => (0, None),
            408 | 503 | 504 => return self.pause().await,
            _ => return self.surprise(&format!("a read heard {status}: {body}")),
        };
        let at = self.world.history.now();
        self.world.history.write(&Line::Read(Read {
            sent,
            at,
            id: id.to_owned(),
            version,
            shows,
            node,
        }));
        if version > 0 {
            self.versions.insert(id.to_owned(), version);
        }
    }

    fn surprise(&self, what: &str) {
        if self.surprises.fetch_add(1, Ordering::Relaxed) < 10 {
            eprintln!("  SURPRISE: {what}");
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.random_range(5..40))).await;
    }
}

fn done(body: &Value, replayed: bool) -> Heard {
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    Heard::Done {
        version: number("version"),
        position: number("position"),
        event: body["events"][0]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        replayed,
    }
}
