//! `GET /metrics`: what the process counted, as Prometheus reads it.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::Data,
};

use super::followers;
use crate::{
    http::{Guard, problem::Problem, request::query, runtime},
    metrics::{Collect, Exposition},
};

/// What stands in `/metrics` beside the runtime's own figures; put it into the app's data.
#[derive(Clone, Default)]
pub struct Collectors(pub Vec<Arc<dyn Collect>>);

impl std::fmt::Debug for Collectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Collectors").field(&self.0.len()).finish()
    }
}

/// The one version of the text format that every Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(in crate::http) async fn metrics(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    let mut exposition = Exposition::default();
    runtime.collect(&mut exposition);
    followers::collect(&request, &mut exposition).await;
    if let Some(guard) = request.app_data::<Data<Guard>>() {
        guard.collect(&mut exposition);
    }
    if let Some(collectors) = request.app_data::<Data<Collectors>>() {
        for collector in &collectors.0 {
            collector.collect(&mut exposition);
        }
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, TEXT_FORMAT))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(exposition.into_text()))
}
