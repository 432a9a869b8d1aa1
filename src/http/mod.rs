//! HTTP: the contract with clients, as routes for an actix-web app. It is the only module that
//! names actix-web, and knows no aggregate.
//!
//! The `dormouse` server uses [`configure`], and so can any actix-web service:
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use dormouse::{http, runtime::Runtime};
//!
//! # async fn start(runtime: Runtime) -> std::io::Result<()> {
//! HttpServer::new(move || {
//!     App::new()
//!         .app_data(web::Data::new(runtime.clone()))
//!         .configure(http::configure)
//! })
//! .bind("127.0.0.1:8080")?
//! .run()
//! .await
//! # }
//! ```
//!
//! Invariants: every error is a problem of the catalogue, made in one place; no answer shows a
//! secret, SQL, a path or a stack trace; nothing in a request can make a 5xx.

mod commands;
mod ending;
mod error;
mod event_filter;
mod face;
mod health;
mod history;
mod problem;
mod read_models;
mod reads;
mod request;
mod streams;
mod trace;

use actix_web::{
    HttpRequest, guard,
    http::Method,
    web::{self, Data, ServiceConfig},
};

pub use commands::not_found;
pub use ending::close_when_ending;
pub use face::metrics::Collectors;
pub use history::TraceLimit;
pub use problem::{Code, Problem};
pub use read_models::ReadModels;
pub use request::BodyLimit;
pub use streams::EventStreams;

use crate::runtime::Runtime;

/// Adds dormouse's routes: `/v1/…`, `/livez`, `/readyz` and `/metrics`.
///
/// The app needs the runtime in its data (`web::Data<Runtime>`), and may have a [`BodyLimit`],
/// [`ReadModels`], [`EventStreams`] and [`Collectors`].
/// What lies outside these routes stays the app's own; [`not_found`] is a default for it.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/livez")
                .route(web::get().to(health::livez))
                .route(web::head().to(health::livez))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/readyz")
                .route(web::get().to(health::readyz))
                .route(web::head().to(health::readyz))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/metrics")
                .route(web::get().to(face::metrics::metrics))
                .route(web::head().to(face::metrics::metrics))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::scope("/v1")
                .configure(of_aggregates)
                .configure(of_the_log)
                .configure(of_the_node)
                .default_service(web::to(not_found)),
        );
}

/// Commands, states and the events of one aggregate.
fn of_aggregates(config: &mut ServiceConfig) {
    config
        // Routes are tried in their order, and this one is asked for most.
        .service(
            web::resource("/aggregates/{type}/{id}/commands/{command}")
                .route(web::post().to(commands::on_aggregate))
                .default_service(web::to(commands::only_post)),
        )
        // An aggregate may have the id `commands`; the next route would take its events.
        .service(
            web::resource("/aggregates/{type}/{id:commands}/events")
                .guard(guard::Any(guard::Get()).or(guard::Head()))
                .to(reads::events),
        )
        .service(
            web::resource("/aggregates/{type}/commands/{command}")
                .route(web::post().to(commands::on_new_aggregate))
                .default_service(web::to(commands::only_post)),
        )
        .service(
            web::resource("/aggregates/{type}/{id}/events")
                .route(web::get().to(reads::events))
                .route(web::method(Method::HEAD).to(reads::events))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/aggregates/{type}/{id}")
                .route(web::get().to(reads::state))
                .route(web::method(Method::HEAD).to(reads::state))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/aggregates/{type}")
                .route(web::get().to(history::aggregates))
                .route(web::head().to(history::aggregates))
                .default_service(web::to(reads::only_get)),
        );
}

/// Events of the whole log.
fn of_the_log(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/events/stream")
                .route(web::get().to(streams::stream))
                .route(web::head().to(streams::stream))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/events")
                .route(web::get().to(history::events))
                .route(web::head().to(history::events))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/events/{id}/trace")
                .route(web::get().to(history::event_trace))
                .route(web::head().to(history::event_trace))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/events/{id}")
                .route(web::get().to(history::event))
                .route(web::head().to(history::event))
                .default_service(web::to(reads::only_get)),
        );
}

/// What the node does, and its read models.
fn of_the_node(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/runtime")
                .route(web::get().to(face::runtime::view))
                .route(web::head().to(face::runtime::view))
                .default_service(web::to(reads::only_get)),
        )
        .service(
            web::resource("/read/{model}")
                .route(web::get().to(read_models::read))
                .route(web::head().to(read_models::read))
                .default_service(web::to(reads::only_get)),
        );
}

fn runtime(request: &HttpRequest) -> Result<Data<Runtime>, Problem> {
    request.app_data::<Data<Runtime>>().cloned().ok_or_else(|| {
        tracing::error!("the app has no `web::Data<dormouse::runtime::Runtime>`");
        Problem::new(
            Code::Internal,
            "a bug here; the log of the server says more",
        )
    })
}
