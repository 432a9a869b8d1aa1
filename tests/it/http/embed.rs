//! The routes in an app of someone else's, which stays its own.

use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    http::StatusCode,
    rt::System,
    test::{TestRequest, call_service, init_service},
    web::{self, Data},
};
use std::{borrow::Cow, sync::Arc};

use dormouse::{
    domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection},
    http::{self, BodyLimit},
    iam::{self, PasswordHasher, PasswordSettings},
    runtime::Runtime,
    settings::Settings,
    store::memory::MemoryStore,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

/// An aggregate that makes as many events as it is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Heap {
    grains: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum HeapEvent {
    #[serde(rename = "HeapGrewEvent")]
    Grew {},
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pour {
    grains: usize,
}

#[derive(Debug, thiserror::Error)]
enum Never {}

impl Rejection for Never {
    fn reason(&self) -> Cow<'static, str> {
        match *self {}
    }
}

impl Event for HeapEvent {
    const TYPES: &'static [EventType] = &[EventType::new("HeapGrewEvent", 1)];
}

impl Aggregate for Heap {
    const TYPE: &'static str = "Heap";
    type Event = HeapEvent;
    type Error = Never;

    fn apply(&mut self, _: &HeapEvent) {
        self.grains += 1;
    }
}

impl Handle<Pour> for Heap {
    type Reply = ();

    fn handle(&self, pour: &Pour, _: &CommandContext<'_>) -> Result<Decision<Self>, Never> {
        Ok(Decision::persist(vec![HeapEvent::Grew {}; pour.grains]))
    }
}

#[test]
fn a_command_of_more_events_than_it_may_make_stores_none_of_them() {
    System::new().block_on(async {
        let mut settings = Settings::default();
        settings.runtime.max_command_events = 3;
        let builder = Runtime::builder(Arc::new(MemoryStore::new())).settings(settings);
        let builder = builder.aggregate::<Heap>(|heap| heap.command::<Pour>("pour"));
        let runtime = builder.start().await.unwrap();
        let pour = |grains: usize| {
            let request = TestRequest::post().uri("/v1/aggregates/Heap/h/commands/pour");
            request.set_json(json!({ "grains": grains }))
        };

        let over = ask(&runtime, pour(4)).await;
        let most = ask(&runtime, pour(3)).await;
        let state = ask(&runtime, TestRequest::get().uri("/v1/aggregates/Heap/h")).await;

        assert_eq!(over.0, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(over.1.contains("4 events; it may make 3"), "{}", over.1);
        assert_eq!(most.0, StatusCode::CREATED);
        let state: Value = serde_json::from_str(&state.1).unwrap();
        assert_eq!(
            (&state["version"], &state["state"]["grains"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(runtime.shutdown().await.unanswered, 0);
    });
}
