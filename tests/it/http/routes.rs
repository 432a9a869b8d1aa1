//! What holds on every route that the server documents, found by asking each of them.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Reply, Wire,
    openapi::{document, filled, operations},
    send,
};

const STREAM: &str = "/v1/events/stream";

/// Headers that a client may rely on before it asks for the body.
const TOLD: [&str; 5] = [
    "content-type",
    "content-length",
    "etag",
    "cache-control",
    "x-position",
];

/// A server with one user, and its document's routes: each path as documented and filled in.
async fn routes() -> (Wire, Vec<(String, String, Method)>) {
    let wire = Wire::sqlite(&[]).await;
    let created = wire.create_user("u1").await;
    let event = created.body["events"][0]["id"].as_str().unwrap();
    let read = format!(
        "/v1/read/users?after_position={}&wait_ms=5000",
        created.body["position"]
    );
    wire.get(&read).await.is(200);
    let document: Value = document(&wire).await;
    let routes = operations(&document)
        .into_iter()
        .map(|(path, method, _)| {
            let url = filled(&path, event);
            (path, url, method)
        })
        .collect();
    (wire, routes)
}

async fn ask(wire: &Wire, method: &Method, url: &str) -> Reply {
    let request = wire.request(method.clone(), url);
    if *method == Method::POST {
        return send(request.json(&json!({}))).await;
    }
    send(request).await
}

#[tokio::test]
async fn every_route_refuses_a_query_parameter_that_it_does_not_know() {
    let (wire, routes) = routes().await;
    for (_, url, method) in routes {
        let answer = ask(&wire, &method, &format!("{url}?frobnicate=1")).await;

        assert_eq!(answer.status, 400, "{method} {url}: {}", answer.text);
        // The answer to a HEAD has no body to look into.
        if method != Method::HEAD {
            answer.problem_about(400, "invalid-request", "frobnicate");
        }
    }
}

#[tokio::test]
async fn every_route_that_is_read_answers_head_as_it_answers_get() {
    let (wire, routes) = routes().await;
    let read = routes.iter().filter(|(_, _, method)| method == Method::GET);
    let mut asked = 0;
    for (path, url, method) in read {
        let mut url = url.clone();
        if path == STREAM {
            // Otherwise it would go on for ever.
            url.push_str("?to=2001-01-01T00:00:00Z");
        }
        let get = ask(&wire, method, &url).await;
        let head = ask(&wire, &Method::HEAD, &url).await;

        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{url}");
        for name in TOLD {
            // These two tell of the moment, so they may grow between the two questions.
            let grows = ["/metrics", "/v1/runtime"].contains(&path.as_str());
            if !(grows && name == "content-length") {
                assert_eq!(head.header(name), get.header(name), "{url}: {name}");
            }
        }
        asked += 1;
    }
    assert!(asked > 15, "{asked}");
}

#[tokio::test]
async fn every_route_tells_which_methods_are_right() {
    let (wire, routes) = routes().await;
    let mut right: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, url, method) in &routes {
        right.entry(url).or_default().insert(method.as_str());
    }
    for (url, right) in right {
        let allow = right.iter().copied().collect::<Vec<_>>().join(", ");
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
        ] {
            if right.contains(method) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = ask(&wire, &method, url).await;

            assert_eq!(answer.status, 405, "{method} {url}: {}", answer.text);
            if method != Method::HEAD {
                answer.problem(405, "method-not-allowed");
            }
            assert_eq!(answer.header("allow"), Some(allow.as_str()), "{url}");
        }
    }
}
