//! Clients that take their time: each is let go, and none holds up another.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::http::{Wire, raw, until, user};

const SOON: Duration = Duration::from_secs(20);
const CREATE: &str = "/v1/aggregates/User/u1/commands/create";
pub(super) const GET: &[u8] = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

pub(super) async fn connect(wire: &Wire) -> TcpStream {
    TcpStream::connect(wire.server.address()).await.unwrap()
}

/// Reads until there is nothing more; the connection must end by itself.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    timeout(SOON, read).await.expect("it is let go").ok();
    String::from_utf8(text).unwrap()
}

/// Reads one answer without a body's end being a connection's.
pub(super) async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let mut part = [0; 1024];
        let read = timeout(SOON, stream.read(&mut part)).await.unwrap();
        match read.unwrap() {
            0 => break,
            read => text.extend_from_slice(&part[..read]),
        }
    }
    String::from_utf8(text).unwrap()
}

/// Sends a byte every now and then until the server has enough.
async fn drip(mut stream: TcpStream, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let (mut reading, mut writing) = stream.split();
    let dripping = async {
        for byte in bytes.iter().cycle() {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut text = Vec::new();
        timeout(SOON, reading.read_to_end(&mut text))
            .await
            .expect("it is let go")
            .ok();
        String::from_utf8(text).unwrap()
    };
    tokio::select! {
        () = dripping => unreachable!(),
        text = reading => (text, begun.elapsed()),
    }
}

async fn timeouts(wire: &Wire, what: &str) -> f64 {
    let page = wire.get("/metrics").await.text;
    let sample = format!("dormouse_http_timeouts_total{{what=\"{what}\"}}");
    crate::support::exposition::Figures::read(&page).get(&sample)
}

#[tokio::test]
async fn a_first_head_that_comes_byte_by_byte_is_answered_408_in_time() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__HEAD_TIMEOUT", "1s")]).await;

    let (text, took) = drip(
        connect(&wire).await,
        b"GET /livez HTTP/1.1\r\nX: aaaaaaaaaaaaa",
    )
    .await;

    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_later_head_that_comes_byte_by_byte_ends_its_connection() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__HEAD_TIMEOUT", "1s")]).await;
    let mut stream = connect(&wire).await;
    stream.write_all(GET).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));

    let (text, took) = drip(stream, b"GET /livez HTTP/1.1\r\nX: aaaaaaaaaaaaa").await;

    assert_eq!(text, "");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(timeouts(&wire, "head").await >= 1.0);
}

#[tokio::test]
async fn a_part_of_a_head_that_came_with_the_request_before_holds_nothing() {
    let settings = [
        ("DORMOUSE__HTTP__HEAD_TIMEOUT", "1s"),
        ("DORMOUSE__HTTP__KEEP_ALIVE", "1s"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let mut stream = connect(&wire).await;

    stream
        .write_all(&[GET, b"GET /livez HT"].concat())
        .await
        .unwrap();

    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn requests_one_after_another_are_served_for_longer_than_a_head_may_take() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__HEAD_TIMEOUT", "500ms")]).await;
    let mut stream = connect(&wire).await;

    for _ in 0..12 {
        stream.write_all(GET).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__KEEP_ALIVE", "1s")]).await;
    let mut stream = connect(&wire).await;
    stream.write_all(GET).await.unwrap();
    let begun = Instant::now();

    rest(&mut stream).await;

    assert!(begun.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_answered_408_and_stores_nothing() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__BODY_TIMEOUT", "1s")]).await;
    let body = user("a").to_string();
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(&wire).await;
    stream.write_all(head.as_bytes()).await.unwrap();

    let (text, took) = drip(stream, body.as_bytes()).await;

    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("\"request-timeout\""), "{text}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(wire.head().await, 0);
    assert!(timeouts(&wire, "body").await >= 1.0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_let_go() {
    let settings = [
        ("DORMOUSE__HTTP__WRITE_TIMEOUT", "1s"),
        ("DORMOUSE__HTTP__KEEP_ALIVE", "1s"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let mut stream = connect(&wire).await;

    // More answers than the buffers of both sides hold, and nobody who reads them.
    let asking = async {
        loop {
            let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: t\r\n\r\n";
            if stream.write_all(request).await.is_err() {
                return;
            }
        }
    };

    timeout(SOON, asking).await.expect("it is let go");
    until("it is counted", async || {
        timeouts(&wire, "write").await >= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__HEAD_LIMIT", "2048")]).await;
    let long = "x".repeat(2048);
    let head = |line: &str| {
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{line}\r\n\r\n")
    };

    let over = raw::exchange(
        wire.server.address(),
        head(&format!("X: {long}")).as_bytes(),
    )
    .await;
    let under = raw::exchange(
        wire.server.address(),
        head(&format!("X: {}", &long[..1900])).as_bytes(),
    )
    .await;

    over.unwrap().problem_about(431, "head-too-large", "2048");
    under.unwrap().is(200);
}

#[tokio::test]
async fn a_body_that_is_nested_too_deep_is_refused() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__JSON_DEPTH", "3")]).await;
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        serde_json::from_str(&format!("{{\"role_ids\":{open}{close}}}")).unwrap()
    };
    wire.create_user("u1").await;

    let over = wire.command("User/u1", "assign-roles", &deep(3)).await;
    let under = wire.command("User/u1", "assign-roles", &deep(1)).await;

    over.problem_about(400, "invalid-json", "deeper than 3");
    under.is(200);
}

#[tokio::test]
async fn a_page_has_no_more_than_the_settings_say() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__PAGE_LIMIT", "5")]).await;
    for number in 0..7 {
        wire.create_user(&format!("u{number}")).await;
    }

    let page = wire.get("/v1/events").await;

    assert_eq!(page.is(200).body["events"].as_array().unwrap().len(), 5);
    for path in [
        "/v1/events",
        "/v1/aggregates/User",
        "/v1/aggregates/User/u1/events",
        "/v1/runtime",
    ] {
        let over = wire.get(&format!("{path}?limit=6")).await;
        over.problem_about(400, "invalid-request", "1 to 5");
        wire.get(&format!("{path}?limit=5")).await.is(200);
    }
}

#[tokio::test]
async fn a_command_whose_events_are_too_large_stores_nothing_and_the_next_one_is_taken() {
    let wire = Wire::sqlite(&[("DORMOUSE__RUNTIME__MAX_COMMAND_BYTES", "1024")]).await;
    wire.create_user("u1").await;
    let named = |length: usize| serde_json::json!({"nick_name": "n".repeat(length)});
    let roles: Vec<String> = (0..60)
        .map(|_| ulid::Ulid::generate().to_string())
        .collect();

    let over = wire
        .command(
            "User/u1",
            "assign-roles",
            &serde_json::json!({"role_ids": roles}),
        )
        .await;
    let next = wire.command("User/u1", "update", &named(20)).await;

    over.problem_about(413, "payload-too-large", "1024");
    assert_eq!(next.is(200).body["version"], 2);
    assert_eq!(wire.head().await, 2);
}

#[tokio::test]
async fn a_caller_has_no_more_streams_than_it_may_and_gets_back_what_it_closes() {
    let settings = [
        ("DORMOUSE__STREAMS__MAX_PER_CALLER", "2"),
        ("DORMOUSE__HTTP__TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let open = async |client: &str| {
        let request = wire.request(reqwest::Method::GET, "/v1/events/stream");
        request
            .header("x-forwarded-for", client)
            .send()
            .await
            .unwrap()
    };

    let (first, second) = (open("192.0.2.1").await, open("192.0.2.1").await);
    let third = open("192.0.2.1").await;
    let other = open("192.0.2.2").await;

    assert_eq!(
        (first.status(), second.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert_eq!(third.status(), 429);
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(other.status(), 200);
    drop(first);
    until("the place is free", async || {
        open("192.0.2.1").await.status() == 200
    })
    .await;
}
