//! Callers of the real server: they send, retry under their keys, and write down what they hear.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dormouse::{
    store::RecordedEvent,
    testing::checker::{Call, Refusal, Row},
};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::checker::{self, check, check_with_rows, command, open, stream, told};

const ROLES: usize = 4;
const CALLERS: usize = 12;
/// Between two tries of a command: a caller backs off, if not for long.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(1);

/// Callers at work.
pub(super) struct Load {
    world: Arc<World>,
    callers: JoinSet<()>,
}

struct World {
    client: reqwest::Client,
    /// The servers, any of which takes any command.
    servers: Mutex<Vec<String>>,
    ended: AtomicBool,
    history: Mutex<checker::Heard>,
    /// How often each code was heard.
    problems: Mutex<BTreeMap<String, usize>>,
}

/// What a caller heard of a command.
enum Heard {
    Done {
        answer: Value,
        replayed: bool,
    },
    /// The aggregate said no.
    Decided,
    /// Nothing was stored.
    Refused,
    /// Nobody knows.
    Unknown,
}

#[derive(Clone)]
struct Order {
    role: String,
    command: &'static str,
    body: Value,
    token: String,
    keyed: bool,
}

impl Load {
    pub(super) fn start(servers: Vec<String>) -> Self {
        let world = Arc::new(World {
            client: reqwest::Client::new(),
            servers: Mutex::new(servers),
            ended: AtomicBool::new(false),
            history: Mutex::default(),
            problems: Mutex::default(),
        });
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let world = Arc::clone(&world);
            callers.spawn(async move { world.call(caller).await });
        }
        Self { world, callers }
    }

    /// From now on the callers send to these.
    pub(super) fn redirect(&self, servers: Vec<String>) {
        *lock(&self.world.servers) = servers;
    }

    pub(super) fn acknowledged(&self) -> usize {
        lock(&self.world.history).acknowledged()
    }

    /// How many 503 and 504 were heard.
    pub(super) fn problems(&self) -> usize {
        lock(&self.world.problems).values().sum()
    }

    /// Waits until so many more commands are acknowledged.
    pub(super) async fn progress(&mut self, more: usize) {
        let wanted = self.acknowledged() + more;
        self.until(|load| load.acknowledged() >= wanted).await;
    }

    pub(super) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let holds = async {
            while !condition(self) {
                while let Some(ended) = self.callers.try_join_next() {
                    ended.expect("no caller hears what it must not");
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, holds).await.expect("the load goes on");
    }

    /// Lets the callers end what they have begun: those with a key are done then.
    pub(super) async fn stop(mut self) -> Report {
        self.world.ended.store(true, Ordering::Relaxed);
        let ended = async {
            while let Some(ended) = self.callers.join_next().await {
                ended.expect("no caller hears what it must not");
            }
        };
        timeout(PATIENCE, ended).await.expect("the callers end");
        Report {
            history: std::mem::take(&mut *lock(&self.world.history)),
        }
    }
}

/// What all callers heard.
pub(super) struct Report {
    history: checker::Heard,
}

impl Report {
    /// Checks it against the store.
    pub(super) async fn check(&self, url: &str) {
        let store = open(url).await;
        check(&*store, &self.history).await;
        store.close().await;
    }

    /// The same, with the rows of the roles.
    pub(super) async fn check_with_rows(&self, url: &str, rows: &[Row<Value>]) {
        let store = open(url).await;
        check_with_rows(&*store, &self.history, rows, fold).await;
        store.close().await;
    }
}

/// What the events that callers bring about do to the columns of a role.
fn fold(role: &mut Value, event: &RecordedEvent) {
    let data: Value = serde_json::from_str(event.data.get()).expect("an event is JSON");
    let mut set = |column: &str| {
        if let Some(value) = data.get(column) {
            role[column] = value.clone();
        }
    };
    ["code", "name", "description"]
        .into_iter()
        .for_each(&mut set);
}

impl World {
    async fn call(&self, caller: usize) {
        for number in 0.. {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            self.carry_out(&order(caller, number)).await;
        }
    }

    /// Sends a command; one with a key until it is done, the others once.
    async fn carry_out(&self, order: &Order) {
        loop {
            let sent = command(&order.token, order.keyed);
            let call = lock(&self.history).sent(stream("Role", &order.role), sent);
            let heard = self.send(order).await;
            let done = matches!(heard, Heard::Done { .. });
            self.write_down(call, heard);
            if done || !order.keyed {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    fn write_down(&self, call: Call, heard: Heard) {
        let mut history = lock(&self.history);
        match heard {
            Heard::Done { answer, replayed } => {
                let number = |name: &str| answer[name].as_u64().expect("a number");
                let told = told(number("version"), number("position"), replayed);
                history.answered(call, told);
            }
            Heard::Decided => history.refused(call, Refusal::Decided(None)),
            Heard::Refused => history.refused(call, Refusal::NotServed),
            Heard::Unknown => history.unknown(call),
        }
    }

    async fn send(&self, order: &Order) -> Heard {
        let server = {
            let servers = lock(&self.servers);
            servers[rand::rng().random_range(0..servers.len())].clone()
        };
        let (role, command) = (&order.role, order.command);
        let url = format!("{server}/v1/aggregates/Role/{role}/commands/{command}");
        let mut request = self.client.post(url).header("X-Timeout-Ms", "1000");
        if order.keyed {
            request = request.header("Idempotency-Key", &order.token);
        }
        let answer = match request.json(&order.body).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Heard::Refused,
            Err(_) => return Heard::Unknown,
        };
        let status = answer.status().as_u16();
        let replayed = answer.headers().contains_key("Idempotency-Replayed");
        let Ok(body) = answer.json::<Value>().await else {
            return Heard::Unknown;
        };
        if status < 300 {
            return Heard::Done {
                answer: body,
                replayed,
            };
        }
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        let heard = match (status, code.as_str(), &body["handled"]) {
            (503, "store-unavailable" | "overloaded", _)
            | (409, "write-conflict", _)
            | (504, "command-timeout", Value::Bool(false)) => Heard::Refused,
            // The roles that are updated are made by whoever comes first.
            (422, "command-rejected", _) if body["reason"] == "role-not-found" => Heard::Decided,
            (504, "command-timeout", Value::Bool(true)) => Heard::Unknown,
            _ => panic!(
                "{order_token} heard {status}: {body}",
                order_token = order.token
            ),
        };
        if status >= 500 {
            *lock(&self.problems).entry(code).or_default() += 1;
        }
        heard
    }
}

/// Mostly updates of a few hot roles, some of them without a key, and now and then a new role.
fn order(caller: usize, number: usize) -> Order {
    let token = format!("t-{caller}-{number}");
    let hot = (caller + number) % ROLES;
    let create = |role: String, code: String| Order {
        role,
        command: "create",
        body: json!({"code": code, "name": "a role", "description": token}),
        token: token.clone(),
        keyed: true,
    };
    if number == 0 && caller < ROLES {
        return create(format!("hot-{caller}"), format!("hot{caller}"));
    }
    if number % 8 == 7 {
        let order = create(
            format!("r-{caller}-{number}"),
            format!("c{caller}x{number}"),
        );
        return Order {
            keyed: number % 16 == 7,
            ..order
        };
    }
    Order {
        role: format!("hot-{hot}"),
        command: "update",
        body: json!({"description": token}),
        token,
        keyed: number % 4 != 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
