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
    // What is no HTTP at all is refused before any route is known, with an empty answer.
    if answer.status >= 400 && !answer.text.is_empty() {
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

async fn break_off(address: SocketAddr, part: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(part).await.unwrap();
}
