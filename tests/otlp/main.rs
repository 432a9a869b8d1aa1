//! Spans as a collector gets them: the feature `otlp` alone, in a binary of its own so that the feature costs no second
//! build of all other tests.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of the tests stop at the first surprise, as the tests do"
)]

#[allow(dead_code, reason = "the other integration tests use more of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use support::{Backend, server::Server};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes spans, as a collector does.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let collector = Self::default();
        let taking = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(taking.clone().take(stream));
            }
        });
        (collector, url)
    }

    async fn take(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes.extend_from_slice(&part[..read]),
            }
            let Some(body) = whole_body(&bytes) else {
                continue;
            };
            let body: Value = serde_json::from_slice(body).unwrap();
            self.0.lock().unwrap().push(body);
            bytes.clear();
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(answer).await.ok();
        }
    }

    /// The spans of the trace, by name.
    fn spans(&self) -> Vec<Value> {
        let requests = self.0.lock().unwrap();
        let mut found = Vec::new();
        for request in requests.iter() {
            for resource in request["resourceSpans"].as_array().unwrap() {
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    found.extend(scope["spans"].as_array().unwrap().iter().cloned());
                }
            }
        }
        found.retain(|span| span["traceId"] == TRACE);
        found
    }
}

fn whole_body(request: &[u8]) -> Option<&[u8]> {
    let end = request.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    request.get(end..end + length.trim().parse::<usize>().unwrap())
}

// Two threads: the last spans come while one of them waits for the server to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commands_spans_go_on_in_its_callers_trace() {
    let (collector, url) = Collector::start().await;
    let backend = Backend::sqlite();
    let mut server = Server::start(&[
        ("DORMOUSE__STORE__URL", &backend.store_url()),
        ("DORMOUSE__OTLP__ENDPOINT", &url),
    ])
    .await;
    let path = format!("{}/v1/aggregates/Role/r1/commands/create", server.url());
    let command = reqwest::Client::new().post(path);
    let command = command.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));

    let created = command.json(&json!({"code": "c", "name": "a role"})).send();
    let created = created.await.unwrap();
    assert_eq!(created.status(), 201);
    let correlation = created.json::<Value>().await.unwrap()["correlation_id"].clone();
    server.terminate();

    let spans = collector.spans();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span["name"] == name);
        found.unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    let command = named("command");
    assert_eq!(command["parentSpanId"], CALLER);
    let attributes = command["attributes"].as_array().unwrap();
    let of_correlation = attributes.iter().find(|one| one["key"] == "correlation_id");
    assert_eq!(of_correlation.unwrap()["value"]["stringValue"], correlation);
    for stage in ["wait", "recovery", "decide", "flush"] {
        assert_eq!(named(stage)["parentSpanId"], command["spanId"], "{stage}");
    }
}
