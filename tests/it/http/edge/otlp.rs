//! Spans as a collector gets them; with the feature `otlp` alone.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::http::{Wire, user};

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

#[tokio::test]
async fn a_commands_spans_go_on_in_its_callers_trace() {
    let (collector, url) = Collector::start().await;
    let mut wire = Wire::sqlite(&[("DORMOUSE__OTLP__ENDPOINT", &url)]).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");

    let created = wire
        .command_with("User/u1", "create", &user("a"), &[("traceparent", &parent)])
        .await;
    let correlation = created.is(201).body["correlation_id"].clone();
    wire.server.terminate();

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
