//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{
    problem::{Code, Problem},
    request::query,
    runtime,
};
use crate::runtime::Runtime;

/// How long the store may take to say that it is there.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /livez`: the process answers.
pub(super) async fn livez(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query(&request, &[])?;
    Ok(HttpResponse::Ok().json(json!({ "status": "alive" })))
}

/// `GET /readyz`: the store is reachable and migrated, and the process takes work.
pub(super) async fn readyz(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    match tokio::time::timeout(READY_TIMEOUT, runtime.ready()).await {
        Ok(Ok(())) => Ok(HttpResponse::Ok().json(ready(&runtime))),
        Ok(Err(reason)) => Err(Problem::new(Code::StoreUnavailable, reason.to_string())),
        Err(_) => Err(Problem::new(
            Code::StoreUnavailable,
            "the store does not answer",
        )),
    }
}

/// Events of other programs that cannot be read concern their aggregates alone, so they do not take
/// the process out of service; but they are told.
fn ready(runtime: &Runtime) -> serde_json::Value {
    match runtime.refused_foreign_events() {
        0 => json!({ "status": "ready" }),
        refused => json!({ "status": "ready", "foreign_events_refused": refused }),
    }
}
