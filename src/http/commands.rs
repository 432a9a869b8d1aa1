//! Commands: a request becomes a command, its answer a response.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, ETAG, LOCATION},
    },
    web::{Data, Payload},
};
use serde::Serialize;
use tracing::{Instrument as _, info_span};
use ulid::Ulid;

use super::{
    problem::{Code, Problem},
    request::{aggregate_id, body, command_options, query, segment},
    runtime,
    trace_context::continue_trace,
};
use crate::{
    domain::{AggregateId, CorrelationId, EventId, Position, Version},
    runtime::{Answer, CommandOptions, Runtime},
};

#[derive(Serialize)]
struct AnswerBody<'a> {
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    version: Version,
    position: Position,
    correlation_id: CorrelationId,
    events: Vec<EventBody<'a>>,
}

#[derive(Serialize)]
struct EventBody<'a> {
    id: EventId,
    event_type: &'a str,
    version: Version,
    position: Position,
}

/// `POST /v1/aggregates/{type}/{id}/commands/{command}`
pub(super) async fn on_aggregate(
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    checked_route(&request, &runtime)?;
    let id = aggregate_id(&request)?;
    let options = command_options(request.headers())?;
    execute(&request, payload, &runtime, id, options).await
}

/// `POST /v1/aggregates/{type}/commands/{command}`
pub(super) async fn on_new_aggregate(
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    checked_route(&request, &runtime)?;
    let options = command_options(request.headers())?;
    let id: Ulid = runtime.new_aggregate_id(
        segment(&request, "type"),
        segment(&request, "command"),
        options.key.as_ref(),
        options.created_by.as_ref(),
    );
    let id = AggregateId::parse(&id.to_string())?;
    execute(&request, payload, &runtime, id, options).await
}

fn checked_route(request: &HttpRequest, runtime: &Runtime) -> Result<(), Problem> {
    runtime.check_command(segment(request, "type"), segment(request, "command"))?;
    query(request, &[])?;
    Ok(())
}

async fn execute(
    request: &HttpRequest,
    payload: Payload,
    runtime: &Data<Runtime>,
    id: AggregateId,
    mut options: CommandOptions,
) -> Result<HttpResponse, Problem> {
    let aggregate_type = segment(request, "type");
    let command = segment(request, "command");
    let correlation_id = options
        .correlation_id
        .unwrap_or_else(|| CorrelationId(runtime.new_id()));
    options.correlation_id = Some(correlation_id);
    let span = info_span!("command", aggregate_type, aggregate_id = %id, command, %correlation_id);
    continue_trace(&span, request.headers());
    let executed = async {
        let body = body(request, payload).await?;
        let executing = runtime.execute(aggregate_type, id.clone(), command, &body, options);
        match executing.await {
            Ok(answer) => {
                tracing::debug!(version = %answer.version, replayed = answer.replayed, "answered");
                Ok(respond(aggregate_type, &id, &answer))
            }
            Err(error) => {
                tracing::debug!(%error, "not carried out");
                Err(Problem::from(error))
            }
        }
    };
    executed.instrument(span).await
}

fn respond(aggregate_type: &str, id: &AggregateId, answer: &Answer<()>) -> HttpResponse {
    let status = if answer.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = AnswerBody {
        aggregate_type,
        aggregate_id: id.as_str(),
        version: answer.version,
        position: answer.position,
        correlation_id: answer.correlation_id,
        events: answer
            .events
            .iter()
            .map(|event| EventBody {
                id: event.id,
                event_type: &event.event_type,
                version: event.version,
                position: event.position,
            })
            .collect(),
    };
    let mut response = HttpResponse::build(status);
    response.insert_header((ETAG, format!("\"{}\"", answer.version)));
    response.insert_header((CACHE_CONTROL, "no-store"));
    if answer.created {
        response.insert_header((LOCATION, format!("/v1/aggregates/{aggregate_type}/{id}")));
    }
    if answer.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    response.json(body)
}

/// A route that is there, with another method.
pub(super) async fn only_post() -> Result<HttpResponse, Problem> {
    Err(Problem::method_not_allowed("POST"))
}

/// A route that is not there: a default for an app.
///
/// # Errors
/// Always: the problem that says so.
pub async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Code::NotFound, "there is no such route"))
}
