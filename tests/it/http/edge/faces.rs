//! What every answer says, to whom pages may call, and the second address.

use reqwest::Method;

use crate::http::{Wire, send, user};

const FOR_OPERATORS: [&str; 4] = ["/metrics", "/openapi.json", "/docs", "/v1/runtime"];

#[tokio::test]
async fn every_answer_forbids_what_a_browser_should_not_do_and_names_no_server() {
    let wire = Wire::sqlite(&[]).await;
    let created = wire.create_user("u1").await;

    for answer in [
        created,
        wire.get("/livez").await,
        wire.get("/nowhere").await,
        wire.get("/v1/aggregates/User/none").await,
        wire.get("/v1/events?limit=x").await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("script-src"), "{policy}");
        for banner in ["server", "x-powered-by"] {
            assert_eq!(answer.header(banner), None);
        }
    }
}

#[tokio::test]
async fn the_documents_page_may_run_its_own_scripts_and_no_others() {
    let wire = Wire::sqlite(&[]).await;

    for path in ["/docs", "/docs/swagger-ui-bundle.js"] {
        let answer = wire.get(path).await;
        let policy = answer.is(200).header("content-security-policy").unwrap();
        let scripts = policy
            .split("; ")
            .find(|part| part.starts_with("script-src"));
        assert_eq!(scripts, Some("script-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}

#[tokio::test]
async fn no_page_may_call_unless_its_origin_is_named() {
    let origin = "https://app.example.org";
    let closed = Wire::sqlite(&[]).await;
    let open = Wire::sqlite(&[("DORMOUSE__HTTP__CORS_ORIGINS", origin)]).await;
    let ask = async |wire: &Wire, method: Method, origin: &str| {
        let request = wire.request(method, "/v1/types").header("origin", origin);
        send(request.header("access-control-request-method", "POST")).await
    };

    for (wire, from) in [
        (&closed, origin),
        (&open, "https://evil.example.org"),
        (&open, "null"),
    ] {
        let read = ask(wire, Method::GET, from).await;
        assert_eq!(read.is(200).header("access-control-allow-origin"), None);
        let asked = ask(wire, Method::OPTIONS, from).await;
        asked.problem(405, "method-not-allowed");
        assert_eq!(asked.header("access-control-allow-origin"), None);
    }
    let read = ask(&open, Method::GET, origin).await;
    assert_eq!(
        read.is(200).header("access-control-allow-origin"),
        Some(origin)
    );
    assert!(read.header("vary").unwrap().contains("Origin"));
    let asked = ask(&open, Method::OPTIONS, origin).await;
    assert_eq!(
        asked.is(204).header("access-control-allow-origin"),
        Some(origin)
    );
    let may = asked.header("access-control-allow-headers").unwrap();
    assert!(
        may.contains("Idempotency-Key") && may.contains("Authorization"),
        "{may}"
    );
    // What has no body does not say how long it is (RFC 9110, 8.6).
    assert_eq!(asked.header("content-length"), None);
    // No cookie is anybody's proof here.
    assert_eq!(asked.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn what_is_for_operators_moves_to_the_second_address() {
    let wire = Wire::sqlite(&[("DORMOUSE__HTTP__ADMIN_BIND", "127.0.0.1:0")]).await;
    let log = wire.server.log();
    let (_, rest) = log.split_once("for operators: ").unwrap();
    let admin = rest.lines().next().unwrap().trim();
    let at = async |path: &str| {
        let answer = wire
            .client
            .get(format!("{admin}{path}"))
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };

    for path in FOR_OPERATORS {
        assert_eq!(at(path).await, 200, "{path}");
        wire.get(path).await.problem(404, "not-found");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(at(path).await, 200, "{path}");
        wire.get(path).await.is(200);
    }
    assert_eq!(at("/v1/events").await, 404);
    let command = format!("{admin}/v1/aggregates/User/u1/commands/create");
    let command = send(wire.client.post(command).json(&user("a"))).await;
    command.problem(404, "not-found");
    wire.create_user("u1").await;
}

#[tokio::test]
async fn without_a_second_address_everything_is_at_the_first() {
    let wire = Wire::sqlite(&[]).await;

    for path in FOR_OPERATORS {
        wire.get(path).await.is(200);
    }
}
