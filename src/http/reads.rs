//! Reads: the state of an aggregate now, and its events.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, ETAG},
};
use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    event_filter::time,
    problem::{Code, Problem},
    request::{aggregate_id, number, page_limit, query, segment},
    runtime,
};
use crate::{
    domain::{AggregateId, Version},
    runtime::{At, CommandError, Runtime},
    store::EventView,
};

#[derive(Serialize)]
struct StateBody<'a> {
    aggregate_type: &'a str,
    aggregate_id: &'a AggregateId,
    version: Version,
    state: &'a RawValue,
}

#[derive(Serialize)]
struct EventsBody<'a> {
    events: Vec<EventView<'a>>,
    next: Option<Version>,
}

/// `GET /v1/aggregates/{type}/{id}`
pub(super) async fn state(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    let aggregate_type = known_type(&request, &runtime)?;
    let id = aggregate_id(&request)?;
    let query = query(&request, &["version", "at"])?;
    let as_of = as_of(&query)?;
    let found = match as_of {
        None => runtime.state(aggregate_type, id.clone()).await?,
        Some(as_of) => {
            let found = runtime.state_at(aggregate_type, id.clone(), as_of);
            found.await?
        }
    };
    let Some(found) = found else {
        return Err(no_state(aggregate_type, &id, as_of));
    };
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{}\"", found.version)))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(StateBody {
            aggregate_type,
            aggregate_id: &id,
            version: found.version,
            state: &found.state,
        }))
}

/// `GET /v1/aggregates/{type}/{id}/events`
pub(super) async fn events(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    let aggregate_type = known_type(&request, &runtime)?;
    let id = aggregate_id(&request)?;
    let query = query(&request, &["from_version", "limit"])?;
    let from = number(&query, "from_version", 0..=i64::MAX.cast_unsigned(), 0)?;
    let limit = page_limit(&request, &query)?;
    let read = async |from: u64, limit: u64| {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let found = runtime.events(aggregate_type, id.clone(), Version::new(from), limit);
        Ok::<_, Problem>(found.await?.unwrap_or_default())
    };
    // One more than asked for tells whether there is a next page.
    let mut events = read(from, limit + 1).await?;
    if events.is_empty() && read(0, 1).await?.is_empty() {
        return Err(no_aggregate(aggregate_type, &id));
    }
    let more = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = events.get(more).map(|event| event.version);
    events.truncate(more);
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(EventsBody {
            events: events.iter().map(EventView::from).collect(),
            next,
        }))
}

pub(super) fn known_type<'a>(
    request: &'a HttpRequest,
    runtime: &Runtime,
) -> Result<&'a str, Problem> {
    let aggregate_type = segment(request, "type");
    if runtime.types().any(|known| known == aggregate_type) {
        return Ok(aggregate_type);
    }
    Err(CommandError::UnknownType(aggregate_type.to_owned()).into())
}

/// The moment that a query asks for, if it asks for one.
fn as_of(query: &[(String, String)]) -> Result<Option<At>, Problem> {
    let find = |name: &str| query.iter().any(|(other, _)| other == name);
    match (find("version"), time(query, "at")?) {
        (true, Some(_)) => Err(Problem::new(
            Code::InvalidRequest,
            "the query parameters `version` and `at` exclude each other",
        )),
        (true, None) => {
            let version = number(query, "version", 1..=i64::MAX.cast_unsigned(), 1)?;
            Ok(Some(At::Version(Version::new(version))))
        }
        (false, at) => Ok(at.map(At::Time)),
    }
}

fn no_state(aggregate_type: &str, id: &AggregateId, as_of: Option<At>) -> Problem {
    let detail = match as_of {
        None => return no_aggregate(aggregate_type, id),
        Some(At::Version(version)) => format!("{aggregate_type}/{id} has no version {version}"),
        Some(At::Time(at)) => {
            let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            format!("{aggregate_type}/{id} has no events until {at}")
        }
    };
    Problem::new(Code::AggregateNotFound, detail)
}

fn no_aggregate(aggregate_type: &str, id: &AggregateId) -> Problem {
    Problem::new(
        Code::AggregateNotFound,
        format!("{aggregate_type}/{id} has no events"),
    )
}

/// A route that is there, with another method.
pub(super) async fn only_get() -> Result<HttpResponse, Problem> {
    Err(Problem::method_not_allowed("GET, HEAD"))
}
