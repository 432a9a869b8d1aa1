//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{
    problem::{Code, Problem},
    request::query,
    runtime,
};

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
        Ok(Ok(())) => Ok(HttpResponse::Ok().json(json!({ "status": "ready" }))),
        Ok(Err(reason)) => Err(Problem::new(Code::StoreUnavailable, reason.to_string())),
        Err(_) => Err(Problem::new(
            Code::StoreUnavailable,
            "the store does not answer",
        )),
    }
}
