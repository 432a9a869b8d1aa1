//! The routes in an app of someone else's, which stays its own.

use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    http::StatusCode,
    rt::System,
    test::{TestRequest, call_service, init_service},
    web::{self, Data},
};
use std::sync::Arc;

use dormouse::{
    http::{self, BodyLimit},
    iam::{self, PasswordHasher, PasswordSettings},
    runtime::Runtime,
    store::memory::MemoryStore,
};
use serde_json::Value;

use super::{role, user};

async fn runtime() -> Runtime {
    let cheap = PasswordSettings {
        memory_kib: 8,
        iterations: 1,
        ..PasswordSettings::default()
    };
    let hasher = PasswordHasher::new(cheap).unwrap();
    let builder = Runtime::builder(Arc::new(MemoryStore::new()));
    iam::register(builder, &hasher).start().await.unwrap()
}

/// Sends one request to an app with routes of its own before and after those of dormouse.
async fn ask(runtime: &Runtime, request: TestRequest) -> (StatusCode, String) {
    let app = App::new()
        .app_data(Data::new(runtime.clone()))
        .app_data(Data::new(BodyLimit(1024)))
        .route("/own", web::get().to(async || "mine"))
        .configure(http::configure)
        .route("/later", web::get().to(async || "mine too"))
        .default_service(web::to(async || HttpResponse::ImATeapot().body("default")));
    let app = init_service(app).await;
    let answer = call_service(&app, request.to_request()).await;
    let status = answer.status();
    let body = to_bytes(answer.into_body()).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn an_app_keeps_its_own_routes_and_its_own_default() {
    System::new().block_on(async {
        let runtime = runtime().await;
        let get = |path: &str| TestRequest::get().uri(path);

        let own = ask(&runtime, get("/own")).await;
        let later = ask(&runtime, get("/later")).await;
        let default = ask(&runtime, get("/nowhere")).await;
        let inside = ask(&runtime, get("/v1/nowhere")).await;
        let alive = ask(&runtime, get("/livez")).await;

        assert_eq!(own, (StatusCode::OK, "mine".to_owned()));
        assert_eq!(later, (StatusCode::OK, "mine too".to_owned()));
        assert_eq!(default, (StatusCode::IM_A_TEAPOT, "default".to_owned()));
        assert!(inside.0 == StatusCode::NOT_FOUND && inside.1.contains("\"not-found\""));
        assert_eq!(alive.0, StatusCode::OK);
        assert_eq!(runtime.shutdown().await.unanswered, 0);
    });
}

#[test]
fn commands_and_reads_work_in_an_app_with_the_limit_it_sets() {
    System::new().block_on(async {
        let runtime = runtime().await;
        let create = |kind: &str, body: &Value| {
            let path = format!("/v1/aggregates/{kind}/x/commands/create");
            TestRequest::post().uri(&path).set_json(body)
        };
        let mut long = role("c");
        long["description"] = "x".repeat(1024).into();

        let created = ask(&runtime, create("User", &user("a"))).await;
        let too_long = ask(&runtime, create("Role", &long)).await;
        let state = ask(&runtime, TestRequest::get().uri("/v1/aggregates/User/x")).await;

        assert_eq!(created.0, StatusCode::CREATED);
        assert_eq!(too_long.0, StatusCode::PAYLOAD_TOO_LARGE);
        let state: Value = serde_json::from_str(&state.1).unwrap();
        assert_eq!(state["state"]["username"], "a");
        assert_eq!(runtime.shutdown().await.unanswered, 0);
    });
}

#[test]
fn an_app_without_a_runtime_is_told_in_the_log_and_not_to_the_client() {
    System::new().block_on(async {
        let app = init_service(App::new().configure(http::configure)).await;
        let request = TestRequest::get().uri("/v1/aggregates/User/x").to_request();

        let answer = call_service(&app, request).await;

        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(answer.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("Runtime"));
    });
}
