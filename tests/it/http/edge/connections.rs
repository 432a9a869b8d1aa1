//! More connections than there may be: they wait, and are served once there is room.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::slow::{GET, answer, connect};
use crate::http::{Wire, until};

/// Long enough for an answer, were there to be one.
const A_WHILE: Duration = Duration::from_secs(1);

async fn is_served(stream: &mut TcpStream) -> bool {
    stream.write_all(GET).await.unwrap();
    answer(stream).await.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn a_connection_over_the_most_waits_and_is_served_once_another_has_gone() {
    let settings = [
        ("DORMOUSE__HTTP__WORKERS", "1"),
        ("DORMOUSE__HTTP__MAX_CONNECTIONS", "2"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let (mut first, mut second) = (connect(&wire).await, connect(&wire).await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    let mut third = connect(&wire).await;
    third.write_all(GET).await.unwrap();

    let early = timeout(A_WHILE, third.readable()).await;
    let others_are = is_served(&mut first).await && is_served(&mut second).await;
    drop(first);
    let later = answer(&mut third).await;

    assert!(early.is_err(), "it is served beside two others");
    assert!(others_are, "the two that are there are served meanwhile");
    assert!(later.starts_with("HTTP/1.1 200 "), "{later}");
}

#[tokio::test]
async fn no_more_wait_than_may_and_room_is_made_for_them() {
    let settings = [
        ("DORMOUSE__HTTP__WORKERS", "1"),
        ("DORMOUSE__HTTP__MAX_CONNECTIONS", "1"),
        ("DORMOUSE__HTTP__BACKLOG", "4"),
    ];
    let wire = Wire::sqlite(&settings).await;
    let mut first = connect(&wire).await;
    assert!(is_served(&mut first).await);

    let mut waiting = Vec::new();
    while waiting.len() < 40 {
        let another = TcpStream::connect(wire.server.address());
        let Ok(another) = timeout(A_WHILE, another).await else {
            break;
        };
        waiting.push(another.unwrap());
    }

    // Linux lets one more wait than it is told to, and the server may have one in its hand.
    assert!((4..=6).contains(&waiting.len()), "{}", waiting.len());
    drop(first);
    assert!(is_served(&mut waiting[0]).await);
    drop(waiting);
    until("there is room", async || {
        wire.get("/livez").await.status == 200
    })
    .await;
}
