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
//! With a [`Guard`] in its data an app lets nobody in who has not the right to what it asks for.
//!
//! Invariants: every error is a problem of the catalogue, made in one place; no answer shows a
//! secret, SQL, a path or a stack trace; nothing in a request can make a 5xx.

mod auth;
mod client;
mod commands;
mod cors;
mod edge;
mod ending;
mod error;
mod event_filter;
mod face;
mod headers;
mod health;
mod history;
mod limits;
mod login;
mod problem;
mod read_models;
mod reads;
mod refusals;
mod request;
mod routes;
mod server;
mod streams;
mod tls;
mod trace;
mod trace_context;

use actix_web::{HttpRequest, web::Data};

pub use auth::Guard;
pub use commands::not_found;
pub use edge::{Edge, keep_bounds};
pub use ending::close_when_ending;
pub use face::metrics::Collectors;
pub use history::TraceLimit;
pub use limits::{EdgeMeters, RequestLimits};
pub use problem::{Code, Problem};
pub use read_models::ReadModels;
pub use request::BodyLimit;
pub use routes::{configure, configure_admin, configure_public};
pub use server::{Listener, Listening};
pub use streams::EventStreams;
pub use tls::{Tls, TlsError};

use crate::runtime::Runtime;

fn runtime(request: &HttpRequest) -> Result<Data<Runtime>, Problem> {
    request.app_data::<Data<Runtime>>().cloned().ok_or_else(|| {
        tracing::error!("the app has no `web::Data<dormouse::runtime::Runtime>`");
        Problem::new(
            Code::Internal,
            "a bug here; the log of the server says more",
        )
    })
}
