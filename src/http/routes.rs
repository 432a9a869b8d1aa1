//! The one list of all routes. The app is made from it and so is `/openapi.json`: a route cannot
//! be served without being documented, nor the other way round.

use actix_web::{
    Resource, Route, guard,
    http::Method,
    web::{self, ServiceConfig},
};

use super::{
    commands,
    face::{self, log_operations, operation::Operation, operations},
    health, history, not_found, read_models, reads, streams,
};

/// How a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `GET`, and `HEAD` likewise.
    Get,
    /// `POST`.
    Post,
}

/// A route, and what is said of it.
pub(super) struct Endpoint {
    pub(super) verb: Verb,
    /// Its path with `{names}`, as in OpenAPI.
    pub(super) path: &'static str,
    /// Its handler; a method is added here.
    route: fn() -> Route,
    /// Its documentation.
    pub(super) operation: fn() -> Operation,
}

/// A line of the list: `GET "/path" => handler, documentation`.
macro_rules! endpoints {
    ($($verb:ident $path:literal => $handler:path, $operation:path;)*) => {
        &[$(Endpoint {
            verb: Verb::$verb,
            path: $path,
            route: || web::to($handler),
            operation: $operation,
        }),*]
    };
}

/// Every route, in the order in which they are tried: what is asked for most comes first.
pub(super) const ENDPOINTS: &[Endpoint] = endpoints! {
    Post "/v1/aggregates/{type}/{id}/commands/{command}" => commands::on_aggregate, operations::command;
    Post "/v1/aggregates/{type}/commands/{command}" => commands::on_new_aggregate, operations::new_aggregate;
    Get "/v1/aggregates/{type}/{id}/events" => reads::events, operations::history;
    Get "/v1/aggregates/{type}/{id}" => reads::state, operations::state;
    Get "/v1/aggregates/{type}" => history::aggregates, operations::aggregates;
    Get "/v1/events/stream" => streams::stream, log_operations::stream;
    Get "/v1/events" => history::events, log_operations::events;
    Get "/v1/events/{id}/trace" => history::event_trace, log_operations::trace;
    Get "/v1/events/{id}" => history::event, log_operations::event;
    Get "/v1/read/{model}" => read_models::read, operations::read_model;
    Get "/v1/types" => face::types::types, operations::types;
    Get "/v1/runtime" => face::runtime::view, operations::runtime;
    Get "/livez" => health::livez, operations::livez;
    Get "/readyz" => health::readyz, operations::readyz;
    Get "/metrics" => face::metrics::metrics, operations::metrics;
    Get "/openapi.json" => face::openapi::openapi, operations::openapi;
    Get "/docs" => face::docs::page, operations::docs;
    Get "/docs/{file}" => face::docs::file, operations::docs_file;
};

const SCOPE: &str = "/v1";
/// What moves to `http.admin_bind`.
const FOR_OPERATORS: &[&str] = &[
    "/v1/runtime",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/{file}",
];
/// What is at both.
const FOR_ALL: &[&str] = &["/livez", "/readyz"];
const NEW_AGGREGATE: &str = "/v1/aggregates/{type}/commands/{command}";

/// Adds dormouse's routes: `/v1/…`, `/livez`, `/readyz`, `/metrics`, `/openapi.json` and `/docs`.
///
/// The app needs the runtime in its data (`web::Data<Runtime>`), and may have a
/// [`BodyLimit`](super::BodyLimit), [`RequestLimits`](super::RequestLimits),
/// [`TraceLimit`](super::TraceLimit),
/// [`ReadModels`](super::ReadModels), [`EventStreams`](super::EventStreams) and
/// [`Collectors`](super::Collectors). What lies outside these routes stays the app's own;
/// [`not_found`] is a default for it.
pub fn configure(config: &mut ServiceConfig) {
    add(config, |_| true);
}

/// As [`configure`], without what is for operators: [`configure_admin`] has that.
pub fn configure_public(config: &mut ServiceConfig) {
    add(config, |path| !FOR_OPERATORS.contains(&path));
}

/// What is for operators: `/metrics`, `/docs`, `/openapi.json` and `/v1/runtime`; and `/livez` and
/// `/readyz`, which [`configure_public`] has as well.
pub fn configure_admin(config: &mut ServiceConfig) {
    add(config, |path| {
        FOR_OPERATORS.contains(&path) || FOR_ALL.contains(&path)
    });
}

fn add(config: &mut ServiceConfig, has: fn(&str) -> bool) {
    let mut v1 = web::scope(SCOPE);
    for endpoint in ENDPOINTS.iter().filter(|endpoint| has(endpoint.path)) {
        if endpoint.path == NEW_AGGREGATE {
            // An aggregate may have the id `commands`; this route would take its events.
            let events = web::resource("/aggregates/{type}/{id:commands}/events")
                .guard(guard::Any(guard::Get()).or(guard::Head()));
            v1 = v1.service(events.to(reads::events));
        }
        match endpoint.path.strip_prefix(SCOPE) {
            Some(path) => v1 = v1.service(endpoint.resource(path)),
            None => {
                config.service(endpoint.resource(endpoint.path));
            }
        }
    }
    config.service(v1.default_service(web::to(not_found)));
}

impl Endpoint {
    fn resource(&self, path: &str) -> Resource {
        let resource = web::resource(path);
        match self.verb {
            Verb::Get => resource
                .route((self.route)().method(Method::GET))
                .route((self.route)().method(Method::HEAD))
                .default_service(web::to(reads::only_get)),
            Verb::Post => resource
                .route((self.route)().method(Method::POST))
                .default_service(web::to(commands::only_post)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_operators_is_there() {
        for path in FOR_OPERATORS.iter().chain(FOR_ALL) {
            let is_it = |endpoint: &&Endpoint| endpoint.path == *path;
            assert_eq!(ENDPOINTS.iter().filter(is_it).count(), 1, "{path}");
        }
    }
}
