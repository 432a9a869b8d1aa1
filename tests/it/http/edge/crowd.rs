//! Many connections that do nothing, and others that do it slowly, beside clients that work.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::http::{Wire, until};

/// Requests of the clients that work.
const REQUESTS: usize = 2000;
const AT_ONCE: usize = 8;

/// As many as the descriptors of an ordinary process allow.
const IDLE: usize = 400;
const SLOW: usize = 100;
const CROWD: f64 = 500.0;

/// How long 99 of 100 requests take at most.
async fn p99(wire: &Wire) -> Duration {
    let worker = || async {
        let mut took = Vec::new();
        for _ in 0..REQUESTS / AT_ONCE {
            let begun = Instant::now();
            wire.get("/v1/aggregates/User/u1").await.is(200);
            took.push(begun.elapsed());
        }
        took
    };
    let all = futures_util::future::join_all((0..AT_ONCE).map(|_| worker())).await;
    let mut all = all.concat();
    all.sort_unstable();
    all[all.len() * 99 / 100]
}

async fn open(wire: &Wire) -> f64 {
    let page = wire.get("/metrics").await.text;
    crate::support::exposition::Figures::read(&page).get("dormouse_http_connections")
}

/// The bound here is wide, as the machine that runs tests does other things; what was measured on
/// an idle one is in docs/operations.md.
#[tokio::test]
async fn idle_and_slow_connections_do_not_hold_up_those_that_work() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__HEAD_TIMEOUT", "1h")]).await;
    wire.create_user("u1").await;
    let alone = p99(&wire).await;
    let address = wire.server.address();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(TcpStream::connect(address).await.unwrap());
    }
    until("all are accepted", async || open(&wire).await >= CROWD).await;

    let dripping = async {
        loop {
            for stream in &mut slow {
                stream.write_all(b"G").await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let beside = tokio::select! {
        beside = p99(&wire) => beside,
        () = dripping => unreachable!(),
    };

    println!("p99: {alone:?} alone, {beside:?} beside {IDLE} idle and {SLOW} slow connections");
    assert!(
        beside < alone * 5 + Duration::from_millis(50),
        "{alone:?} {beside:?}"
    );
    assert!(open(&wire).await >= CROWD);
    drop((idle, slow));
    until("they are gone", async || open(&wire).await < 50.0).await;
}
