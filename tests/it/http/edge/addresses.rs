//! Whose address a request is counted for, and how often that one may ask.

use reqwest::Method;

use crate::http::{Reply, Wire, send};

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
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    from(&wire, "").await.is(200);
    let page = wire.get("/metrics").await;
    let by_address = "dormouse_http_rate_limited_total{by=\"address\"}";
    if page.status == 200 {
        assert!(crate::support::exposition::Figures::read(&page.text).get(by_address) >= 1.0);
    }
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
