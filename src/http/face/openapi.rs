//! `GET /openapi.json`: the contract with clients, as this process serves it.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};

use super::document::document;
use crate::http::{
    auth::asks_for_token, problem::Problem, read_models::ReadModels, request::query, runtime,
};

pub(in crate::http) async fn openapi(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    let models = request.app_data::<Data<ReadModels>>();
    let models = models.map_or_else(Vec::new, |models| models.described());
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(document(&runtime.descriptions(), &models, &|need| {
            asks_for_token(&request, need)
        })))
}
