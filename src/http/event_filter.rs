//! Which events a query means: the parameters that the audit and the stream have in common.

use std::str::FromStr;

use actix_web::HttpRequest;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::{
    problem::{Code, Problem},
    request::query_with_repeats,
};
use crate::{
    domain::{AggregateId, AggregateType},
    store::EventFilter,
};

/// The parameters, of which `event_type` may repeat.
const FILTERS: [&str; 8] = [
    "aggregate_type",
    "aggregate_id",
    "event_type",
    "created_by",
    "correlation_id",
    "causation_id",
    "from",
    "to",
];

/// The most event types in one filter.
const MOST_TYPES: usize = 100;
/// The longest name of an event type, in bytes.
const LONGEST_TYPE: usize = 256;

/// The filter of a query that may have these parameters too, and all its parameters.
pub(super) fn event_filter(
    request: &HttpRequest,
    others: &[&str],
) -> Result<(EventFilter, Vec<(String, String)>), Problem> {
    let known = [&FILTERS[..], others].concat();
    let query = query_with_repeats(request, &known, &["event_type"])?;
    let filter = EventFilter {
        aggregate_type: parsed_by(&query, "aggregate_type", |text| {
            AggregateType::parse(text.to_owned())
        })?,
        aggregate_id: parsed_by(&query, "aggregate_id", AggregateId::parse)?,
        event_types: event_types(&query)?,
        created_by: parsed(&query, "created_by")?,
        correlation_id: parsed(&query, "correlation_id")?,
        causation_id: parsed(&query, "causation_id")?,
        from: time(&query, "from")?.map(rounded_up),
        to: time(&query, "to")?.map(|time| time.trunc_subsecs(6)),
    };
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && from > to
    {
        return Err(invalid("the query parameter `from` is after `to`"));
    }
    Ok((filter, query))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

fn find<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = query.iter().find(|(other, _)| other == name)?;
    Some(value)
}

fn parsed_by<T, E: std::fmt::Display>(
    query: &[(String, String)],
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Problem> {
    let value = find(query, name).map(parse).transpose();
    value.map_err(|error| invalid(format!("the query parameter `{name}`: {error}")))
}

fn parsed<T: FromStr>(query: &[(String, String)], name: &str) -> Result<Option<T>, Problem>
where
    T::Err: std::fmt::Display,
{
    parsed_by(query, name, str::parse)
}

fn event_types(query: &[(String, String)]) -> Result<Vec<String>, Problem> {
    let types = query.iter().filter(|(name, _)| name == "event_type");
    let types: Vec<String> = types.map(|(_, value)| value.clone()).collect();
    if types.len() > MOST_TYPES {
        return Err(invalid(format!(
            "the query parameter `event_type` may stand {MOST_TYPES} times"
        )));
    }
    // U+0000 is in no text of PostgreSQL's, so it cannot even be asked for.
    let is_name = |name: &String| (1..=LONGEST_TYPE).contains(&name.len()) && !name.contains('\0');
    if !types.iter().all(is_name) {
        return Err(invalid(format!(
            "the query parameter `event_type` must be 1 to {LONGEST_TYPE} characters"
        )));
    }
    Ok(types)
}

/// A time in the query.
pub(super) fn time(
    query: &[(String, String)],
    name: &str,
) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = find(query, name) else {
        return Ok(None);
    };
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(Some(time.to_utc())),
        Err(_) => Err(invalid(format!(
            "the query parameter `{name}` must be a time like 2026-01-02T03:04:05Z (a `+` in a \
             query is written %2B)"
        ))),
    }
}

/// Events have whole microseconds: the first that is not before a time.
fn rounded_up(time: DateTime<Utc>) -> DateTime<Utc> {
    let down = time.trunc_subsecs(6);
    if down == time {
        return time;
    }
    down.checked_add_signed(TimeDelta::microseconds(1))
        .unwrap_or(down)
}
