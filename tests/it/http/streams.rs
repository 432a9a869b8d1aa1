//! `GET /v1/events/stream`, over the wire.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Method, Wire, role, send, until};
use crate::support::{
    database::Foreign,
    sse::{Message, Sse},
};

const STREAM: &str = "/v1/events/stream";

impl Wire {
    fn stream_url(&self, query: &str) -> String {
        format!("{}{STREAM}{query}", self.server.url())
    }

    async fn stream(&self, query: &str) -> Sse {
        Sse::open(&self.stream_url(query), None).await
    }

    async fn create_roles(&self, prefix: &str, count: usize) {
        for number in 0..count {
            let id = format!("{prefix}{number}");
            let created = self
                .command(&format!("Role/{id}"), "create", &role(&id))
                .await;
            created.is(201);
        }
    }
}

#[tokio::test]
async fn what_is_stored_comes_first_then_what_is_appended() {
    for wire in [Wire::sqlite(&[]).await, Wire::postgres(&[]).await] {
        wire.create_roles("a", 3).await;
        let mut stream = wire.stream("").await;

        let stored = stream.positions(3).await;
        wire.create_roles("b", 3).await;
        let live = stream.positions(3).await;

        assert_eq!((stored, live), (vec![1, 2, 3], vec![4, 5, 6]));
    }
}

#[tokio::test]
async fn an_event_is_the_one_of_the_history_and_shows_no_secret() {
    let wire = Wire::sqlite(&[]).await;
    let mut stream = wire.stream("").await;

    wire.create_user("ada").await;
    let (position, kind, data) = stream.event().await.unwrap();

    assert_eq!((position, kind.as_str()), (1, "UserCreatedEvent"));
    assert_eq!(vec![data.clone()], wire.events("User/ada").await);
    assert!(!data.to_string().contains("argon2"), "{data}");
}

#[tokio::test]
async fn it_begins_after_a_position_and_the_last_event_id_wins() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_roles("a", 6).await;

    let mut after = wire.stream("?after=4").await;
    let mut resumed = Sse::open(&wire.stream_url("?after=4"), Some(2)).await;
    let mut at_end = wire.stream("?after=6").await;
    wire.create_roles("b", 1).await;

    assert_eq!(after.positions(3).await, [5, 6, 7]);
    assert_eq!(resumed.positions(5).await, [3, 4, 5, 6, 7]);
    assert_eq!(at_end.positions(1).await, [7]);
}

#[tokio::test]
async fn every_filter_holds_for_what_is_stored_and_for_what_comes() {
    let wire = Wire::sqlite(&[]).await;
    let correlation = "01J0000000000000000000000A";
    let cause = "01J0000000000000000000000B";
    let events = async || {
        wire.create_roles("x", 1).await;
        let headers = [
            ("X-Correlation-Id", correlation),
            ("X-Created-By", "bob"),
            ("X-Causation-Id", cause),
        ];
        for (id, body) in [("User/u", super::user("u")), ("Role/r", role("r"))] {
            let created = wire.command_with(id, "create", &body, &headers).await;
            created.is(201);
        }
        let renamed = wire
            .command("Role/r", "update", &json!({"name": "R"}))
            .await;
        renamed.is(200);
    };
    let from = "from=2020-01-01T00:00:00Z";
    let queries: [(String, &[u64]); 8] = [
        ("?aggregate_type=User".into(), &[2]),
        ("?aggregate_type=Role&aggregate_id=r".into(), &[3, 4]),
        (
            "?event_type=UserCreatedEvent&event_type=RoleUpdatedEvent".into(),
            &[2, 4],
        ),
        ("?created_by=bob".into(), &[2, 3]),
        (format!("?correlation_id={correlation}&{from}"), &[2, 3]),
        (
            format!("?correlation_id={correlation}&aggregate_type=Role"),
            &[3],
        ),
        (format!("?causation_id={cause}&aggregate_type=User"), &[2]),
        (format!("?{from}&after=1"), &[2, 3, 4]),
    ];
    let mut live = Vec::new();
    for (query, _) in &queries {
        // Nothing is stored yet, and `after` may not be beyond the end.
        live.push(wire.stream(&query.replace("&after=1", "")).await);
    }

    events().await;

    for ((query, expected), live) in queries.iter().zip(&mut live) {
        let mut stored = wire.stream(query).await;
        assert_eq!(stored.positions(expected.len()).await, *expected, "{query}");
        let skipped = usize::from(query.contains("after=1"));
        let found = live.positions(expected.len() + skipped).await;
        assert_eq!(found[skipped..], **expected, "{query}, live");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_by_name() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_roles("a", 1).await;
    for (query, part) in [
        ("?befor=1", "`befor`"),
        ("?after=x", "`after`"),
        ("?after=1&after=1", "`after`"),
        ("?limit=5", "`limit`"),
        ("?order=desc", "`order`"),
        ("?aggregate_type=a%20b", "`aggregate_type`"),
        ("?aggregate_id=", "`aggregate_id`"),
        ("?event_type=", "`event_type`"),
        ("?event_type=a%00b", "`event_type`"),
        ("?created_by=", "`created_by`"),
        ("?correlation_id=1", "`correlation_id`"),
        ("?causation_id=1", "`causation_id`"),
        ("?from=yesterday", "`from`"),
        ("?to=2026-01-01", "`to`"),
        (
            "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "`from`",
        ),
        ("?after=2", "position 2 is beyond the log's end, 1"),
    ] {
        let answer = wire.get(&format!("{STREAM}{query}")).await;
        answer.problem_about(400, "invalid-request", part);
    }
    for id in ["x", "-1", "1.0", "2"] {
        let request = wire
            .request(Method::GET, STREAM)
            .header("Last-Event-ID", id);
        send(request).await.problem(400, "invalid-request");
    }
    let posted = wire.post(STREAM, &json!({})).await;
    posted.problem(405, "method-not-allowed");
    let head = send(wire.request(Method::HEAD, STREAM)).await;
    assert_eq!(
        head.is(200).header("content-type"),
        Some("text/event-stream")
    );
}

#[tokio::test]
async fn a_comment_says_that_an_idle_stream_lives() {
    let wire = Wire::sqlite(&[("DORMOUSE__STREAMS__HEARTBEAT", "50ms")]).await;
    let mut stream = wire.stream("").await;

    let first = [stream.message().await, stream.message().await];
    wire.create_roles("a", 1).await;
    let event = stream.event().await;

    assert_eq!(first, [Some(Message::Comment), Some(Message::Comment)]);
    assert_eq!(event.unwrap().0, 1);
}

#[tokio::test]
async fn open_streams_are_limited_and_one_that_is_left_makes_room() {
    let settings = [
        ("DORMOUSE__STREAMS__MAX_OPEN", "2"),
        ("DORMOUSE__STREAMS__HEARTBEAT", "50ms"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let (first, mut second) = (wire.stream("").await, wire.stream("").await);

    let refused = wire.get(STREAM).await;
    let head = send(wire.request(Method::HEAD, STREAM)).await.status;
    drop(first);

    refused.problem_about(503, "overloaded", "2 streams");
    assert_eq!(head, 503);
    until("there is room again", async || {
        let answer = Sse::request(&wire.stream_url(""), None).await;
        answer.status() == 200
    })
    .await;
    wire.create_roles("a", 1).await;
    assert_eq!(second.positions(1).await, [1]);
}

#[tokio::test]
async fn a_stream_up_to_a_time_ends_once_nothing_more_can_come() {
    let wire = Wire::sqlite(&[]).await;
    let to = "?to=2024-01-01T00:00:00Z";
    let mut database = wire.database().await;
    for aggregate_id in ["a", "b"] {
        // In 2023.
        let event = Foreign {
            aggregate_id,
            version: 1,
            event_type: "UserDeletedEvent",
            data: "{}",
        };
        database.insert(&event).await;
    }
    wire.create_roles("now", 1).await;

    let mut stream = wire.stream(to).await;
    let positions = stream.positions(2).await;
    let end = stream.event().await;
    let again = Sse::request(&wire.stream_url(to), Some(2)).await;

    assert_eq!((positions, end), (vec![1, 2], None));
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn the_server_ends_at_once_whatever_streams_are_open() {
    let mut wire = Wire::sqlite(&[]).await;
    wire.create_roles("a", 1).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = wire.stream("").await;
        assert_eq!(stream.positions(1).await, [1]);
        streams.push(stream);
    }
    let stuck = stuck_client(&wire).await;

    let asked = Instant::now();
    let status = wire.server.terminate();
    let took = asked.elapsed();

    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    for mut stream in streams {
        // In good order: the last chunk came, so the body is whole.
        assert!(stream.response.chunk().await.unwrap().is_none());
        assert_eq!(stream.event().await, None);
    }
    drop(stuck);
}

/// A client that asks for a stream and reads nothing of it.
async fn stuck_client(wire: &Wire) -> TcpStream {
    let mut client = TcpStream::connect(wire.server.address()).await.unwrap();
    let request = format!("GET {STREAM} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_reads_nothing_slows_nobody_and_is_let_go() {
    let settings = [
        ("DORMOUSE__STREAMS__STALL_TIMEOUT", "3s"),
        ("DORMOUSE__STREAMS__MAX_OPEN", "2"),
        ("DORMOUSE__STREAMS__HEARTBEAT", "50ms"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let mut stuck = stuck_client(&wire).await;
    let mut reader = wire.stream("").await;
    until("both are open", async || {
        let third = Sse::request(&wire.stream_url(""), None).await;
        third.status() == 503
    })
    .await;
    let reading = tokio::spawn(async move { reader.positions(40).await });
    // More than sockets hold: 20 MB.
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(500_000));
    let mut database = wire.database().await;
    for version in 1..=40 {
        let event = Foreign {
            aggregate_id: "large",
            version,
            event_type: "UserUpdatedEvent",
            data: &data,
        };
        database.insert(&event).await;
    }
    let read = reading.await.unwrap();
    until("the one that is stuck has made room", async || {
        wire.server.log().contains("took nothing for too long")
    })
    .await;
    let mut third = wire.stream("?after=39").await;

    assert_eq!(read, (1..=40).collect::<Vec<u64>>());
    assert_eq!(third.positions(1).await, [40]);
    // What it was sent before is all that it gets.
    let mut received = Vec::new();
    let ended = stuck.read_to_end(&mut received);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "its stream never ends");
    assert!(received.len() < 20_000_000, "{}", received.len());
}
