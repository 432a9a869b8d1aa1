//! The three modes of a type, held against each other: the same requests get the same answers,
//! whether events, rows or both are kept.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Reply, Wire, is_ulid, role, send, user};
use crate::support::{Backend, admin};

const MODES: [&str; 3] = ["event-sourced", "dual-write", "state-only"];

/// What is done next.
enum Step {
    /// A request, and the status that every mode answers.
    Ask(u16, Request),
    /// A command that changes what no column of the table holds, which rows alone cannot keep
    /// (decision 63): where they are all there is, it is refused. Nothing may rest on it.
    AskWithoutColumn(Request),
    /// The server is killed and started again: what it answers from now on, it has stored.
    Kill,
}

#[derive(Debug)]
struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<Value>,
}

fn ask(status: u16, method: Method, path: &str) -> Step {
    let path = format!("/v1/aggregates/{path}");
    let (headers, body) = (Vec::new(), None);
    Step::Ask(
        status,
        Request {
            method,
            path,
            headers,
            body,
        },
    )
}

fn get(status: u16, aggregate: &str) -> Step {
    ask(status, Method::GET, aggregate)
}

/// A command such as `User/a create`.
fn command(status: u16, command: &str, body: Value) -> Step {
    let path = match command.split_once(' ') {
        Some((aggregate, command)) => format!("{aggregate}/commands/{command}"),
        None => command.to_owned(),
    };
    ask(status, Method::POST, &path).body(body)
}

impl Step {
    fn request(self, change: impl FnOnce(&mut Request)) -> Self {
        let Self::Ask(status, mut request) = self else {
            return self;
        };
        change(&mut request);
        Self::Ask(status, request)
    }

    fn without_column(self) -> Self {
        match self {
            Self::Ask(_, request) => Self::AskWithoutColumn(request),
            other @ (Self::AskWithoutColumn(_) | Self::Kill) => other,
        }
    }

    fn body(self, body: Value) -> Self {
        self.request(|request| request.body = Some(body))
    }

    fn with(self, name: &'static str, value: &'static str) -> Self {
        self.request(|request| request.headers.push((name, value)))
    }

    fn key(self, key: &'static str) -> Self {
        self.with("Idempotency-Key", key)
    }

    fn if_match(self, version: &'static str) -> Self {
        self.with("If-Match", version)
    }
}

/// A user with an address.
fn reachable(username: &str, email: &str) -> Value {
    let mut user = user(username);
    user["email"] = json!(email);
    user
}

fn nick(name: &str) -> Value {
    json!({"nick_name": name})
}

/// Nothing is there yet, then it is made once.
fn creation() -> Vec<Step> {
    let a = || reachable("ann", "ann@example.org");
    vec![
        get(404, "User/a"),
        ask(404, Method::HEAD, "User/a"),
        command(422, "User/a update", nick("N")),
        command(422, "User/a delete", json!({})),
        command(412, "User/a update", nick("N")).if_match("\"3\""),
        command(201, "User/a create", a())
            .with("If-None-Match", "*")
            .key("k1"),
        command(201, "User/a create", a()).key("k1"),
        command(422, "User/a create", user("bob")).key("k1"),
        command(422, "User/a update", nick("N")).key("k1"),
        command(422, "User/a create", a()),
        command(412, "User/a create", a()).with("If-None-Match", "*"),
        command(409, "User/b create", user("ann")),
        command(409, "User/b create", reachable("bob", "ann@example.org")),
        command(409, "User/b create", reachable("bob", "Ann@Example.ORG")),
        get(404, "User/b"),
        command(201, "User/b create", reachable("bob", "bob@example.org")),
        command(201, "User/commands/create", user("eve")).key("k9"),
        command(201, "User/commands/create", user("eve")).key("k9"),
        get(200, "User/a"),
        ask(200, Method::HEAD, "User/a"),
    ]
}

/// It is changed, by whoever knows its version, and once under a key.
fn changes() -> Vec<Step> {
    vec![
        command(200, "User/a update", nick("N")),
        command(200, "User/a update", nick("N")),
        command(412, "User/a update", nick("M")).if_match("\"1\""),
        command(200, "User/a update", nick("M"))
            .if_match("\"2\"")
            .key("k2"),
        Step::Kill,
        command(200, "User/a update", nick("M"))
            .if_match("\"2\"")
            .key("k2"),
        command(201, "User/a create", reachable("ann", "ann@example.org")).key("k1"),
        command(422, "User/a update", nick("O")).key("k2"),
        command(409, "User/a update", json!({"email": "bob@example.org"})),
        command(
            200,
            "User/a update",
            json!({"email": "a@example.org", "phone_number": "+4912345678"}),
        ),
        command(409, "User/b update", json!({"phone_number": "+4912345678"})),
        command(200, "User/b update", json!({"email": "ann@example.org"})),
        command(200, "User/a update", json!({"phone_number": null})),
        command(200, "User/b update", json!({"phone_number": "+4912345678"})),
        command(200, "User/a assign-roles", json!({"role_ids": ["2", "1"]})),
        command(200, "User/a assign-roles", json!({"role_ids": ["1", "2"]})),
        command(
            200,
            "User/a change-password",
            json!({"password": "another one"}),
        ),
        command(200, "User/a update", json!({"status": "BANNED"})),
        command(200, "User/b update", nick("B")).key("k4"),
        get(200, "User/a"),
        get(200, "User/b"),
        command(400, "User/a update", json!({"nick": "N"})),
        command(400, "User/a update", json!({"nick_name": 7})),
        command(400, "User/a update", json!([])),
        command(400, "User/a update", nick("N")).if_match("x"),
        command(400, "User/a%20b update", nick("N")),
        command(404, "User/a forget", json!({})),
        command(404, "Nobody/a update", json!({})),
        get(404, "Nobody/a"),
    ]
}

/// It is deleted, what was its own is free, and it stays deleted.
fn deletion() -> Vec<Step> {
    vec![
        command(412, "User/a delete", json!({})).if_match("\"1\""),
        command(200, "User/a delete", json!({})).key("k3"),
        get(200, "User/a"),
        command(422, "User/a update", nick("N")),
        Step::Kill,
        get(200, "User/a"),
        ask(200, Method::HEAD, "User/a"),
        command(200, "User/a delete", json!({})).key("k3"),
        command(422, "User/a delete", json!({})),
        command(422, "User/a update", nick("N")),
        command(422, "User/a create", user("ann")),
        command(201, "User/c create", reachable("ann", "a@example.org")),
        command(422, "User/b update", nick("C")).key("k4"),
        get(200, "User/b"),
        get(200, "User/c"),
    ]
}

/// The same of roles, whose permissions no column holds.
fn roles() -> Vec<Step> {
    let permissions = json!({"permissions": [{"resource": "user", "action": "read"}]});
    vec![
        get(404, "Role/r"),
        command(201, "Role/r create", role("admin")).key("k1"),
        command(409, "Role/s create", role("admin")),
        command(201, "Role/s create", role("clerk")),
        command(
            200,
            "Role/r update",
            json!({"description": "it rules", "status": "DISABLED"}),
        ),
        Step::Kill,
        command(201, "Role/r create", role("admin")).key("k1"),
        get(200, "Role/r"),
        command(200, "Role/r update", json!({"description": null})),
        command(200, "Role/r delete", json!({})).if_match("\"3\""),
        command(422, "Role/r update", json!({"name": "N"})),
        command(201, "Role/t create", role("admin")),
        get(200, "Role/r"),
        get(200, "Role/s"),
        command(200, "Role/s assign-permissions", permissions).without_column(),
    ]
}

/// What one answer says, but for what no two runs have in common: ULIDs that were made.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    etag: Option<String>,
    location: Option<String>,
    replayed: Option<String>,
    body: Value,
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        let header = |name| reply.header(name).map(str::to_owned);
        let mut body = reply.body.clone();
        blot(&mut body);
        let location = header("location").map(|location| {
            let (path, id) = location.rsplit_once('/').unwrap();
            let mut id = json!(id);
            blot(&mut id);
            format!("{path}/{}", id.as_str().unwrap())
        });
        Self {
            status: reply.status,
            etag: header("etag"),
            location,
            replayed: header("idempotency-replayed"),
            body,
        }
    }

    /// The same without what only a log has.
    fn without_log(&self) -> (u16, [&Option<String>; 3], Value) {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut()
            && body.contains_key("events")
        {
            body.insert("events".to_owned(), json!([]));
            body.remove("position");
        }
        let headers = [&self.etag, &self.location, &self.replayed];
        (self.status, headers, body)
    }
}

fn blot(value: &mut Value) {
    if is_ulid(value) {
        *value = json!("a ULID");
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(blot),
        Value::Object(members) => members.values_mut().for_each(blot),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Wire {
    async fn ask(&self, asked: &Request) -> Reply {
        let mut request = self.request(asked.method.clone(), &asked.path);
        for (name, value) in &asked.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = &asked.body {
            request = request.json(body);
        }
        send(request).await
    }
}

/// Everything is done and asked on a server in one mode, on a store of its own.
async fn answers(store_url: &str, mode: &str) -> Vec<(String, Answer)> {
    let settings = [
        ("DORMOUSE__AGGREGATES__User__MODE", mode),
        ("DORMOUSE__AGGREGATES__Role__MODE", mode),
    ];
    let mut wire = Wire::start_with(store_url, &settings).await;
    let mut answers = Vec::new();
    for step in [creation(), changes(), deletion(), roles()]
        .into_iter()
        .flatten()
    {
        let (status, asked) = match step {
            Step::Ask(status, asked) => (status, asked),
            Step::AskWithoutColumn(asked) => {
                let reply = wire.ask(&asked).await;
                if mode == "state-only" {
                    reply.problem(422, "command-rejected");
                    assert_eq!(reply.body["reason"], "no-column");
                } else {
                    reply.is(200);
                }
                continue;
            }
            Step::Kill => {
                wire.server.kill9();
                wire = Wire::start_with(store_url, &settings).await;
                continue;
            }
        };
        let reply = wire.ask(&asked).await;
        let what = format!("{mode}, {}: {asked:?}", answers.len());
        assert_eq!(reply.status, status, "{what}\n{}", reply.text);
        answers.push((what, Answer::of(&reply)));
    }
    answers
}

async fn hold_against_each_other(backends: [Backend; 3]) {
    let mut of_modes = Vec::new();
    for (backend, mode) in backends.iter().zip(MODES) {
        admin::load_empty(backend).await;
        of_modes.push(answers(&backend.store_url(), mode).await);
    }

    let [events, both, rows] = &of_modes[..] else {
        unreachable!("there are three modes");
    };
    for (place, (_, expected)) in events.iter().enumerate() {
        let (what, answer) = &both[place];
        assert_eq!(answer, expected, "{what}");
        let (what, answer) = &rows[place];
        assert_eq!(answer.without_log(), expected.without_log(), "{what}");
        if answer.status < 300 && answer.body.get("events").is_some() {
            assert_eq!(answer.body["events"], json!([]), "{what}");
        }
    }
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers_in_every_mode_on_sqlite() {
    hold_against_each_other([(); 3].map(|()| Backend::sqlite())).await;
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers_in_every_mode_on_postgres() {
    let [first, second, third] = [(); 3].map(|()| Backend::postgres());
    hold_against_each_other([first.await, second.await, third.await]).await;
}
