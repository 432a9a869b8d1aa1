//! `/openapi.json`, `/v1/types` and `/docs`: what the server says of itself is what it does.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use super::{Wire, auth::token, login, send, user};

/// Every path that the contract with clients names, and those of the reference domain's commands.
const PROMISED: &[&str] = &[
    "/v1/aggregates/{type}/{id}/commands/{command}",
    "/v1/aggregates/{type}/commands/{command}",
    "/v1/aggregates/{type}/{id}",
    "/v1/aggregates/{type}/{id}/events",
    "/v1/aggregates/{type}",
    "/v1/events",
    "/v1/events/{id}",
    "/v1/events/{id}/trace",
    "/v1/events/stream",
    "/v1/types",
    "/v1/runtime",
    "/v1/read/users",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/v1/aggregates/User/{id}/commands/create",
    "/v1/aggregates/User/{id}/commands/change-password",
    "/v1/aggregates/Role/{id}/commands/assign-permissions",
];

pub(super) async fn document(wire: &Wire) -> Value {
    wire.get("/openapi.json").await.is(200).body.clone()
}

/// Each path of a document with each of its methods.
pub(super) fn operations(document: &Value) -> Vec<(String, Method, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            (path.clone(), method, operation.clone())
        })
    });
    operations.collect()
}

pub(super) fn filled(path: &str, event: &str) -> String {
    path.replace("/events/{id}", &format!("/events/{event}"))
        .replace("{type}", "User")
        .replace("{id}", "u1")
        .replace("{command}", "update")
        .replace("{model}", "users")
        .replace("{file}", "swagger-ui.css")
}

#[tokio::test]
async fn every_documented_route_is_served_and_answers_what_is_documented() {
    // With a login, which there is only where tokens are asked for.
    let wire = Wire::sqlite(&login::settings(&[])).await;
    let anyone = token(&["*"]);
    let created = wire
        .command_as(&anyone, "User/u1", "create", &user("u1"))
        .await;
    let event = created.is(201).body["events"][0]["id"].as_str().unwrap();

    let told = wire.get_as(&anyone, "/openapi.json").await;
    for (path, method, operation) in operations(&told.is(200).body) {
        let mut url = filled(&path, event);
        if path == "/v1/events/stream" {
            // Otherwise it would go on for ever.
            url.push_str("?to=2001-01-01T00:00:00Z");
        }
        let mut request = wire.request(method.clone(), &url).bearer_auth(&anyone);
        if method == Method::POST {
            request = request.json(&json!({}));
        }
        let reply = send(request).await;

        let status = reply.status.to_string();
        assert!(
            ![404, 405].contains(&reply.status),
            "{method} {path}: {reply:?}"
        );
        let documented = &operation["responses"][&status];
        assert!(documented.is_object(), "{method} {path} answered {status}");
        let media_type = reply.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap();
        let media_types = documented["content"].as_object();
        let known = media_types
            .is_none_or(|types| types.contains_key(media_type) || types.contains_key("*/*"));
        assert!(known, "{method} {path}: {media_type}");
    }
}

#[tokio::test]
async fn what_the_contract_promises_is_documented() {
    let wire = Wire::sqlite(&[]).await;

    let document = document(&wire).await;

    for path in PROMISED {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(document["openapi"], "3.1.0");
    let ids: Vec<_> = operations(&document)
        .into_iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[tokio::test]
async fn nothing_in_the_document_refers_to_what_is_not_there() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(target) if name == "$ref" => found.push(target.to_owned()),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(elements) => elements
                .iter()
                .for_each(|element| references(element, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let wire = Wire::sqlite(&[]).await;
    let document = document(&wire).await;
    let mut found = Vec::new();
    references(&document, &mut found);

    assert!(found.len() > 20, "{found:?}");
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[tokio::test]
async fn a_command_is_documented_with_its_own_fields_and_no_event_with_its_secrets() {
    let wire = Wire::sqlite(&[]).await;

    let document = document(&wire).await;
    let types = wire.get("/v1/types").await.is(200).body["types"].clone();

    let path = &document["paths"]["/v1/aggregates/User/{id}/commands/create"]["post"];
    let body = &path["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/User.create");
    let create = &document["components"]["schemas"]["User.create"];
    let required = json!(["username", "password", "domain", "nick_name"]);
    assert_eq!(create["required"], required);
    assert_eq!(create["additionalProperties"], false);
    assert_eq!(types[1]["aggregate_type"], "User");
    assert_eq!(types[1]["mode"], "event-sourced");
    let commands = types[1]["commands"].as_array().unwrap();
    let named = |name: &str| {
        commands
            .iter()
            .find(|command| command["command"] == name)
            .unwrap()
    };
    assert_eq!(named("create")["schema"]["required"], required);
    assert_eq!(
        named("create")["schema"]["$defs"]["Username"]["maxLength"],
        64
    );
    assert_eq!(named("update")["schema"]["required"], Value::Null);
    let events: Vec<&str> = types[1]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(events.len(), 8);
    assert!(events.contains(&"UserCreatedEvent"));
    for text in [document.to_string(), types.to_string()] {
        assert!(!text.contains("password_hash"));
    }
}

#[tokio::test]
async fn the_page_to_read_it_comes_from_this_server_alone_and_has_no_script_in_it() {
    let wire = Wire::sqlite(&[]).await;

    let page = wire.get("/docs").await;

    assert_eq!(
        page.is(200).header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let links = page
        .text
        .split(['"', '\''])
        .filter(|part| part.starts_with("docs/"));
    let links: Vec<&str> = links.collect();
    assert_eq!(links.len(), 6, "{links:?}");
    for link in links {
        let file = wire.get(&format!("/{link}")).await;
        assert!(file.is(200).text.len() > 50, "{link}");
    }
    assert!(!page.text.contains("//"), "{}", page.text);
    for script in page.text.split("<script").skip(1) {
        assert!(script.contains("></script>"), "{script}");
    }
    let start = wire.get("/docs/swagger-initializer.js").await;
    assert!(
        start.is(200).text.contains("\"openapi.json\""),
        "{}",
        start.text
    );
    let validator = start.text.contains("\"validatorUrl\": \"none\"");
    assert!(validator, "{}", start.text);
    wire.get("/docs/nothing.js").await.problem(404, "not-found");
    wire.get("/docs/..%2f..%2fCargo.toml")
        .await
        .problem(404, "not-found");
}

#[test]
fn routes_are_made_in_one_place_only() {
    let http = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut directories = vec![http];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let code = source
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let makes_routes = code
                .collect::<String>()
                .split_whitespace()
                .collect::<String>();
            let makes_routes = ["web::resource(", "web::scope(", ".service(", "web::to("]
                .iter()
                .any(|sign| makes_routes.contains(sign));
            assert_eq!(
                makes_routes,
                path.ends_with("routes.rs"),
                "{}",
                path.display()
            );
        }
    }
}
