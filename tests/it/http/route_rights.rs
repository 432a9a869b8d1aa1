//! Each route of the OpenAPI document asks for the right that it names, and for no other.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{
    Wire,
    auth::{GUARDED, token},
    openapi::{document, operations},
    send,
};

/// A request to an operation of the document, as the schema would have it or worse.
fn ask(wire: &Wire, method: &Method, path: &str) -> RequestBuilder {
    let path = path
        .replace("/events/{id}", "/events/01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .replace("{type}", "User")
        .replace("{id}", "u1")
        .replace("{command}", "update")
        .replace("{model}", "users")
        .replace("{file}", "swagger-ui.css");
    let request = wire.request(method.clone(), &path);
    if method == Method::POST {
        request.json(&json!({}))
    } else {
        request
    }
}

#[tokio::test]
async fn every_route_of_the_document_says_which_right_it_needs_and_needs_it() {
    let wire = Wire::sqlite(&GUARDED).await;
    let document = wire
        .get_as(&token(&[]), "/openapi.json")
        .await
        .is(200)
        .body
        .clone();
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    let mut open = BTreeSet::new();
    let mut protected = 0;
    for (path, method, operation) in operations(&document) {
        let Some(security) = operation["security"].as_array() else {
            open.insert(path);
            continue;
        };
        protected += 1;
        let rights = security[0]["token"].as_array().unwrap();
        let without = send(ask(&wire, &method, &path)).await;
        assert_eq!(without.status, 401, "{method} {path}");
        assert!(operation["responses"]["401"].is_object(), "{method} {path}");
        let nothing = send(ask(&wire, &method, &path).bearer_auth(token(&[]))).await;
        if rights.is_empty() {
            assert_eq!(nothing.status, 200, "{method} {path}");
            continue;
        }
        assert_eq!(nothing.status, 403, "{method} {path}");
        assert!(operation["responses"]["403"].is_object(), "{method} {path}");
        let rights: Vec<String> = rights
            .iter()
            .map(|right| right.as_str().unwrap().replace("{type}", "User"))
            .map(|right| {
                right
                    .replace("{command}", "update")
                    .replace("{model}", "users")
            })
            .collect();
        // Each alone of several is too little, and all are enough.
        for left_out in &rights {
            let fewer = rights.iter().filter(|right| *right != left_out);
            let fewer: Vec<&str> = fewer.map(String::as_str).collect();
            let denied = send(ask(&wire, &method, &path).bearer_auth(token(&fewer))).await;
            assert_eq!(denied.status, 403, "{method} {path} with {fewer:?}");
        }
        if path != "/v1/events/stream" {
            let all: Vec<&str> = rights.iter().map(String::as_str).collect();
            let reply = send(ask(&wire, &method, &path).bearer_auth(token(&all))).await;
            assert!(
                ![401, 403].contains(&reply.status),
                "{method} {path}: {}",
                reply.text
            );
        }
    }
    let known = ["/docs", "/docs/{file}", "/livez", "/readyz", "/v1/login"];
    assert_eq!(open.iter().map(String::as_str).collect::<Vec<_>>(), known);
    assert!(protected > 30, "{protected}");
}

#[tokio::test]
async fn the_contract_is_told_to_everybody_only_where_that_is_set() {
    let closed = Wire::sqlite(&GUARDED).await;
    closed
        .get("/openapi.json")
        .await
        .problem(401, "unauthenticated");
    let mut settings = GUARDED.to_vec();
    settings.push(("DORMOUSE__AUTH__OPEN_DOCS", "true"));

    let open = Wire::sqlite(&settings).await;

    let told = document(&open).await;
    let paths = &told["paths"];
    let own = &paths["/openapi.json"]["head"]["security"];
    assert!(own.is_null(), "it says of itself what is so: {own}");
    assert!(!paths["/v1/types"]["head"]["security"].is_null());
    open.get("/v1/types").await.problem(401, "unauthenticated");
}
