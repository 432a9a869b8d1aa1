//! Whose address a request is counted for, and how often that one may ask.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::slow::connect;
use crate::http::{
    Reply, Wire,
    api_keys::make_key,
    auth::{GUARDED, token_for},
    send,
};

const SLOWLY: [(&str, &str); 2] = [
    ("DORMOUSE__RATE__PER_ADDRESS", "1"),
    ("DORMOUSE__RATE__BURST", "30s"),
];
const TRUSTED: (&str, &str) = ("DORMOUSE__HTTP__TRUSTED_PROXIES", "127.0.0.0/8");

async fn from(wire: &Wire, client: &str) -> Reply {
    let request = wire.request(Method::GET, "/livez");
    send(request.header("x-forwarded-for", client)).await
}

/// Asks until that is too often.
async fn exhaust(wire: &Wire, client: &str) -> Reply {
    for _ in 0..200 {
        let answer = from(wire, client).await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("it was never too often");
}

#[tokio::test]
async fn an_address_that_asks_too_often_hears_429_and_when_to_come_back() {
    let wire = Wire::sqlite(&SLOWLY).await;

    let refused = exhaust(&wire, "").await;

    refused.problem_about(429, "rate-limited", "address");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1, "{wait}");
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    tokio::time::sleep(Duration::from_secs(wait)).await;
    from(&wire, "").await.is(200);
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let page = wire.get("/metrics").await;
    let by_address = "dormouse_http_rate_limited_total{by=\"address\"}";
    let page = crate::support::exposition::Figures::read(&page.is(200).text);
    assert!(page.get(by_address) >= 1.0);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_counted_alone() {
    let wire = Wire::sqlite(&[SLOWLY[0], SLOWLY[1], TRUSTED]).await;

    exhaust(&wire, "198.51.100.7")
        .await
        .problem(429, "rate-limited");

    from(&wire, "198.51.100.8").await.is(200);
    // What a client says of itself stands before what the proxy adds.
    let lied = from(&wire, "203.0.113.1, 198.51.100.7").await;
    lied.problem(429, "rate-limited");
}

#[tokio::test]
async fn without_a_trusted_proxy_what_a_client_says_of_itself_changes_nothing() {
    let wire = Wire::sqlite(&SLOWLY).await;

    exhaust(&wire, "198.51.100.7")
        .await
        .problem(429, "rate-limited");

    from(&wire, "198.51.100.8")
        .await
        .problem(429, "rate-limited");
}

#[tokio::test]
async fn the_other_header_counts_where_it_is_named_and_then_it_alone() {
    let forwarded = ("DORMOUSE__HTTP__FORWARDED_HEADER", "forwarded");
    let wire = Wire::sqlite(&[SLOWLY[0], SLOWLY[1], TRUSTED, forwarded]).await;
    let ask = async |forwarded: &str, other: &str| {
        let request = wire.request(Method::GET, "/livez");
        let request = request.header("forwarded", format!("for={forwarded}"));
        send(request.header("x-forwarded-for", other)).await
    };

    // Whoever says another address in the header that does not count stays who it is.
    let mut refused = ask("198.51.100.7", "203.0.113.0").await;
    for number in 1..200 {
        if refused.status != 200 {
            break;
        }
        refused = ask("198.51.100.7", &format!("203.0.113.{number}")).await;
    }

    refused.problem(429, "rate-limited");
    ask("198.51.100.8", "203.0.113.1").await.is(200);
}

#[tokio::test]
async fn a_key_or_subject_that_asks_too_often_hears_429_and_no_other_does() {
    let mut settings = GUARDED.to_vec();
    settings.extend([("DORMOUSE__RATE__PER_KEY", "1"), SLOWLY[1]]);
    let wire = Wire::sqlite(&settings).await;
    let often = make_key(&wire.store_url, "often", "*", "1d");
    let rarely = make_key(&wire.store_url, "rarely", "*", "1d");
    let exhaust = async |token: &str| {
        for _ in 0..200 {
            let answer = wire.get_as(token, "/v1/types").await;
            if answer.status != 200 {
                return answer;
            }
        }
        panic!("it was never too often");
    };

    let refused = exhaust(&often).await;
    exhaust(&token_for("ada", &[], 600)).await;

    refused.problem_about(429, "rate-limited", "key");
    wire.get_as(&rarely, "/v1/types").await.is(200);
    let grace = token_for("grace", &[], 600);
    wire.get_as(&grace, "/v1/types").await.is(200);
    // A subject is one caller, whatever its tokens are.
    let another = token_for("ada", &["audit"], 900);
    wire.get_as(&another, "/v1/types")
        .await
        .problem(429, "rate-limited");
}

/// The statuses of a request from each of these clients, of which none waits for the one before.
async fn statuses(wire: &Wire, clients: impl Iterator<Item = Ipv4Addr>) -> Vec<u16> {
    let head =
        |client| format!("HEAD /livez HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {client}\r\n\r\n");
    let mut asked: String = clients.map(head).collect();
    asked.insert_str(asked.len() - 2, "Connection: close\r\n");
    let (mut reading, mut writing) = connect(wire).await.into_split();
    let mut answers = String::new();
    let (wrote, read) = tokio::join!(
        writing.write_all(asked.as_bytes()),
        reading.read_to_string(&mut answers)
    );
    wrote.unwrap();
    read.unwrap();
    let lines = answers.lines();
    let statuses = lines.filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    statuses.map(|line| line[..3].parse().unwrap()).collect()
}

#[tokio::test]
async fn more_callers_than_are_remembered_share_what_is_left() {
    // A busy machine may not ask fast enough for all to be remembered to the end.
    for _ in 0..5 {
        if strangers_share_a_rate().await {
            return;
        }
    }
    panic!("it takes too long to make the server remember a thousand");
}

/// Whether it was quick enough to be seen.
async fn strangers_share_a_rate() -> bool {
    let wire = Wire::sqlite(&[
        SLOWLY[0],
        ("DORMOUSE__RATE__BURST", "10s"),
        ("DORMOUSE__RATE__CALLERS", "1000"),
        TRUSTED,
    ])
    .await;
    let client = |number: u32| Ipv4Addr::from(number + (10 << 24));
    let began = Instant::now();
    // Each asks so often that it is remembered for eight seconds; whoever waited for the start is too.
    let known = (0..999).flat_map(|number| [client(number); 8]);
    let known = statuses(&wire, known).await;
    let strangers = statuses(&wire, (1000..1040).map(client)).await;
    let one_that_is_known = statuses(&wire, std::iter::once(client(998))).await;
    if began.elapsed() > Duration::from_secs(7) {
        return false;
    }

    assert_eq!(known, [200; 8 * 999]);
    // Each asks for the first time; ten may, and one more with each second that passes.
    let refused = strangers.iter().filter(|status| **status == 429).count();
    assert_eq!((strangers.len(), strangers[0]), (40, 200));
    assert!((20..=30).contains(&refused), "{strangers:?}");
    assert_eq!(one_that_is_known, [200]);
    true
}
