//! History: the audit's questions to the log, one event, its trace, and the list of a type's
//! aggregates.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, ContentType},
    web::Data,
};
use chrono::SecondsFormat;
use serde::Serialize;

use super::{
    event_filter::event_filter,
    problem::{Code, Problem},
    reads::known_type,
    request::{number, page_limit, query, segment},
    runtime, trace,
};
use crate::{
    domain::{AggregateId, AggregateType, EventId, Position, Version},
    runtime::Runtime,
    store::{EventFilter, EventView, LogQuery, Order, RecordedEvent},
};

/// The most events of a trace where no settings say another number.
const TRACE_LIMIT: u32 = 1000;

/// How many events a trace shows at most; put it into the app's data to change it.
#[derive(Debug, Clone, Copy)]
pub struct TraceLimit(pub u32);

#[derive(Serialize)]
struct LogBody<'a> {
    events: Vec<EventView<'a>>,
    next: Option<Position>,
}

#[derive(Serialize)]
struct AggregatesBody<'a> {
    aggregates: Vec<AggregateBody<'a>>,
    next: Option<&'a AggregateId>,
}

#[derive(Serialize)]
struct AggregateBody<'a> {
    aggregate_id: &'a AggregateId,
    version: Version,
    updated_at: String,
}

/// `GET /v1/aggregates/{type}`
pub(super) async fn aggregates(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    let aggregate_type = AggregateType::parse(known_type(&request, &runtime)?.to_owned())?;
    let query = query(&request, &["after", "limit"])?;
    let after = query.iter().find(|(name, _)| name == "after");
    let after = after.map(|(_, id)| AggregateId::parse(id)).transpose();
    let after = after.map_err(|error| invalid(format!("the query parameter `after`: {error}")))?;
    let limit = limit(&request, &query)?;
    // One more than asked for tells whether there is a next page.
    let found = runtime.aggregates_of(&aggregate_type, after.as_ref(), limit + 1);
    let mut found = found.await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let shown = found.iter().map(|head| AggregateBody {
        aggregate_id: &head.aggregate_id,
        version: head.version,
        updated_at: head.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    Ok(ok().json(AggregatesBody {
        aggregates: shown.collect(),
        next: found.last().filter(|_| more).map(|head| &head.aggregate_id),
    }))
}

/// `GET /v1/events`
pub(super) async fn events(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    let (filter, query) = event_filter(&request, &["after", "order", "limit"])?;
    let limit = limit(&request, &query)?;
    let find = |name: &str| query.iter().find(|(other, _)| other == name);
    let after = match find("after") {
        None => None,
        Some(_) => Some(number(&query, "after", 0..=i64::MAX.cast_unsigned(), 0)?),
    };
    let order = match find("order").map(|(_, order)| order.as_str()) {
        None | Some("asc") => Order::Ascending,
        Some("desc") => Order::Descending,
        Some(_) => {
            return Err(invalid(
                "the query parameter `order` must be `asc` or `desc`",
            ));
        }
    };
    let asked = LogQuery {
        filter,
        order,
        after: after.map(Position::new),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    let mut events = runtime.query_log(&asked).await?.events;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    Ok(ok().json(LogBody {
        events: events.iter().map(EventView::from).collect(),
        next: events.last().filter(|_| more).map(|event| event.position),
    }))
}

/// `GET /v1/events/{id}`
pub(super) async fn event(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    let event = wanted(&request, &runtime).await?;
    Ok(ok().json(EventView::from(&event)))
}

/// `GET /v1/events/{id}/trace`
pub(super) async fn event_trace(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    let event = wanted(&request, &runtime).await?;
    let limit = request.app_data::<Data<TraceLimit>>();
    let limit = limit.map_or(TRACE_LIMIT, |limit| limit.0);
    let asked = LogQuery {
        filter: EventFilter {
            correlation_id: Some(event.correlation_id),
            ..EventFilter::default()
        },
        order: Order::Ascending,
        after: None,
        limit: limit.saturating_add(1),
    };
    let mut events = runtime.query_log(&asked).await?.events;
    let truncated = events.len() > limit as usize;
    events.truncate(limit as usize);
    // Whatever is left out, the event that was asked for is not.
    if truncated && !events.iter().any(|other| other.id == event.id) {
        events.pop();
        events.push(event.clone());
    }
    let body = trace::to_json(&event.correlation_id, &events, truncated)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(ok().content_type(ContentType::json()).body(body))
}

async fn wanted(request: &HttpRequest, runtime: &Runtime) -> Result<RecordedEvent, Problem> {
    let id: EventId = segment(request, "id")
        .parse()
        .map_err(|_| invalid("the id of an event must be a ULID of 26 characters"))?;
    let event = runtime.event(id).await?;
    event.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no event {id}")))
}

fn ok() -> actix_web::HttpResponseBuilder {
    let mut ok = HttpResponse::Ok();
    ok.insert_header((CACHE_CONTROL, "no-store"));
    ok
}

fn limit(request: &HttpRequest, query: &[(String, String)]) -> Result<u32, Problem> {
    let limit = page_limit(request, query)?;
    Ok(u32::try_from(limit).unwrap_or(u32::MAX))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}
