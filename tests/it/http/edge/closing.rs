//! A client that is answered before it has sent all: it may send on for a while, and is let go.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::slow::{answer, connect};
use crate::http::{Wire, auth::GUARDED};

/// How long a connection lives whose request is answered before its body is there.
async fn lives_on(close_timeout: &str) -> Duration {
    let mut settings = GUARDED.to_vec();
    settings.push(("DORMOUSE__HTTP__CLOSE_TIMEOUT", close_timeout));
    let wire = Wire::sqlite(&settings).await;
    let mut stream = connect(&wire).await;
    let head = "POST /v1/aggregates/User/u1/commands/create HTTP/1.1\r\nHost: t\r\n\
                Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let began = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let answered = answer(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 401 "), "{answered}");
    // While it may send on this is taken; a connection that has ended is reset by it.
    stream.write_all(b"\"username\"").await.ok();
    let mut byte = [0];
    let read = stream.read(&mut byte);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    let more = read.expect("it is let go").unwrap_or_default();
    assert_eq!(more, 0, "there is no second answer");
    began.elapsed()
}

#[tokio::test]
async fn a_client_that_is_answered_early_may_send_on_for_the_time_that_is_set() {
    let (short, long) = tokio::join!(lives_on("100ms"), lives_on("3s"));

    assert!(short < Duration::from_secs(3), "{short:?}");
    // actix looks at the clock twice a second, and counts from its last look.
    assert!(long > Duration::from_secs(2), "{long:?}");
}
