//! Requests from someone who means no good: none is ever the server's fault.

mod cases;

use std::net::SocketAddr;

use super::{Reply, Wire, raw, user};
use crate::support::backends;

const CREATE: &[u8] = b"/v1/aggregates/User/x/commands/create";

#[tokio::test]
async fn bad_input_never_makes_a_5xx_and_stores_nothing() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let address = wire.server.address();
        wire.create_user("known").await;
        let cases = cases::all();
        assert!(cases.len() > 150, "{}", cases.len());
        let mut answered = 0;
        for (what, request) in cases {
            let stored = check(&what, raw::exchange(address, &request).await);
            answered += usize::from(stored.is_some());
            assert!(stored != Some(true), "{what} was taken");
        }
        assert!(answered > 140, "{answered}");
        assert_eq!(wire.head().await, 1);
        wire.create_user("x").await;
    }
}

/// Whether it was carried out; nothing where the server hung up.
fn check(what: &str, answer: Option<Reply>) -> Option<bool> {
    let answer = answer?;
    assert!((200..500).contains(&answer.status), "{what}: {answer:?}");
    if answer.status >= 400 {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        answer.problem(answer.status, &code);
    }
    Some(answer.status < 300)
}

#[tokio::test]
async fn a_request_that_breaks_off_does_no_harm() {
    let wire = Wire::sqlite(&[]).await;
    let whole = raw::post(CREATE, b"", user("x").to_string().as_bytes());
    for end in [0, 1, 30, whole.len() / 2, whole.len() - 1] {
        break_off(wire.server.address(), &whole[..end]).await;
    }

    wire.create_user("y").await;

    assert_eq!(wire.head().await, 1);
}

#[tokio::test]
async fn what_is_no_http_is_answered_with_a_problem_too() {
    let wire = Wire::sqlite(&[]).await;
    let address = wire.server.address();
    let lengths =
        b"POST /v1/x HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    for request in [&b"GARBAGE\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", lengths] {
        let answer = raw::exchange(address, request).await.unwrap();

        answer.problem_about(400, "invalid-request", "HTTP");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let good_then_garbage = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\nGARBAGE\r\n\r\n";

    let both = raw::exchange(address, good_then_garbage).await.unwrap();

    // The first is answered as ever, and the problem comes after it.
    assert_eq!(both.is(200).text.matches("alive").count(), 1);
    assert!(
        both.text.contains("HTTP/1.1 400 Bad Request\r\n"),
        "{both:?}"
    );
    assert!(
        both.text
            .ends_with("urn:dormouse:problem:invalid-request\"}"),
        "{both:?}"
    );
}

async fn break_off(address: SocketAddr, part: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(part).await.unwrap();
}
