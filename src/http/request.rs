//! What a request says, checked: headers, path, query and body. A wrong one is told by its name.

use std::{str::FromStr, time::Duration};

use actix_web::{
    HttpRequest,
    http::header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, IF_MATCH, IF_NONE_MATCH,
    },
    web::{BytesMut, Payload},
};
use futures_util::StreamExt as _;

use super::{
    edge::Edge,
    limits::{RequestLimits, is_deeper_than},
    problem::{Code, Problem},
};
use crate::{
    domain::{AggregateId, IdempotencyKey, Version},
    runtime::{CommandOptions, Expected},
};

/// The body limit where no settings say another: 1 MiB.
const BODY_LIMIT: usize = 1024 * 1024;

/// How large a body may be, in bytes; put it into the app's data to change it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

/// A segment of the path, as the route names it.
pub(super) fn segment<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.match_info().get(name).unwrap_or_default()
}

/// The aggregate's id in the path.
pub(super) fn aggregate_id(request: &HttpRequest) -> Result<AggregateId, Problem> {
    Ok(AggregateId::parse(segment(request, "id"))?)
}

/// A header that may be sent once.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(format!("the header {name} is sent more than once")));
    }
    // `created_by` may be any text, and clients send it in UTF-8.
    std::str::from_utf8(value.as_bytes())
        .map(Some)
        .map_err(|_| invalid(format!("the header {name} is not UTF-8")))
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, Problem>
where
    T::Err: std::fmt::Display,
{
    header(headers, name)?
        .map(|text| {
            text.parse()
                .map_err(|error| invalid(format!("the header {name}: {error}")))
        })
        .transpose()
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let key: Option<IdempotencyKey> = parsed(headers, "Idempotency-Key")?;
    match key {
        Some(key) if key.is_reserved() => Err(invalid(format!(
            "the header Idempotency-Key must not begin with {}",
            IdempotencyKey::RESERVED
        ))),
        key => Ok(key),
    }
}

/// What the headers say beside the command.
pub(super) fn command_options(headers: &HeaderMap) -> Result<CommandOptions, Problem> {
    Ok(CommandOptions {
        key: key(headers)?,
        expected: expected(headers)?,
        correlation_id: parsed(headers, "X-Correlation-Id")?,
        causation_id: parsed(headers, "X-Causation-Id")?,
        created_by: parsed(headers, "X-Created-By")?,
        // Who calls over the network does not say when something happened: it happens now.
        occurred_at: None,
        timeout: timeout(headers)?,
    })
}

fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let matching = header(headers, IF_MATCH.as_str())?;
    let absent = header(headers, IF_NONE_MATCH.as_str())?;
    match (matching, absent) {
        (None, None) => Ok(Expected::Any),
        (Some(_), Some(_)) => Err(invalid("If-Match and If-None-Match exclude each other")),
        (None, Some(absent)) if absent.trim() == "*" => Ok(Expected::Absent),
        (None, Some(_)) => Err(invalid("If-None-Match must be *")),
        (Some(matching), None) => etag(matching.trim())
            .map(Expected::At)
            .ok_or_else(|| invalid("If-Match must be one version in quotes, like \"7\"")),
    }
}

fn etag(text: &str) -> Option<Version> {
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    // A tag is compared as text (RFC 9110, 8.8.3): "007" is none that was ever given.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    (number <= i64::MAX.cast_unsigned()).then(|| Version::new(number))
}

fn timeout(headers: &HeaderMap) -> Result<Duration, Problem> {
    let Some(text) = header(headers, "X-Timeout-Ms")? else {
        return Ok(CommandOptions::default().timeout);
    };
    match text.trim().parse() {
        Ok(milliseconds @ 1..=60_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(invalid("the header X-Timeout-Ms must be 1 to 60000")),
    }
}

/// The query's parameters in their order; each is one of `known` and stands once.
pub(super) fn query(
    request: &HttpRequest,
    known: &[&str],
) -> Result<Vec<(String, String)>, Problem> {
    query_with_repeats(request, known, &[])
}

/// As [`query`]; those of `repeating` may stand any number of times.
pub(super) fn query_with_repeats(
    request: &HttpRequest,
    known: &[&str],
    repeating: &[&str],
) -> Result<Vec<(String, String)>, Problem> {
    let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| invalid("the query cannot be read"))?
        .into_inner();
    for (index, (name, _)) in pairs.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let known = known.join("`, `");
            let detail = if known.is_empty() {
                format!("unknown query parameter `{name}`; there are none here")
            } else {
                format!("unknown query parameter `{name}`; known are `{known}`")
            };
            return Err(invalid(detail));
        }
        let repeats = repeating.contains(&name.as_str());
        if !repeats && pairs[..index].iter().any(|(other, _)| other == name) {
            return Err(invalid(format!(
                "the query parameter `{name}` stands twice"
            )));
        }
    }
    Ok(pairs)
}

/// A whole number in the query, within a range.
pub(super) fn number(
    query: &[(String, String)],
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Result<u64, Problem> {
    let Some((_, text)) = query.iter().find(|(other, _)| other == name) else {
        return Ok(default);
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| plain && range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        invalid(format!(
            "the query parameter `{name}` must be {least} to {most}"
        ))
    })
}

/// The whole body, which must say that it is JSON unless it is empty.
pub(super) async fn body(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, Problem> {
    let limit = request
        .app_data::<actix_web::web::Data<BodyLimit>>()
        .map_or(BODY_LIMIT, |limit| limit.0);
    let too_large = || {
        Problem::new(
            Code::PayloadTooLarge,
            format!("the body may have {limit} bytes"),
        )
    };
    let announced: Option<usize> = parsed(request.headers(), CONTENT_LENGTH.as_str())?;
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let limits = RequestLimits::at(request);
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(64 * 1024));
    let reading = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| invalid("the body broke off"))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(read) => read?,
        Err(_) => return Err(too_slow(request, limits.body_timeout)),
    }
    if !body.is_empty() {
        check_media_type(request.headers())?;
    }
    if is_deeper_than(limits.json_depth, &body) {
        let detail = format!("the body is nested deeper than {}", limits.json_depth);
        return Err(Problem::new(Code::InvalidJson, detail));
    }
    Ok(body)
}

fn too_slow(request: &HttpRequest, limit: Duration) -> Problem {
    if let Some(edge) = request.app_data::<actix_web::web::Data<Edge>>() {
        edge.meters().body_timed_out();
    }
    let limit = limit.as_secs_f64();
    let detail = format!("the body took longer than {limit} seconds to arrive");
    Problem::new(Code::RequestTimeout, detail)
}

/// How many entries a page is to have: `limit`, up to what the settings allow.
pub(super) fn page_limit(
    request: &HttpRequest,
    query: &[(String, String)],
) -> Result<u64, Problem> {
    let most = u64::from(RequestLimits::at(request).page);
    number(query, "limit", 1..=most, most.min(100))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: &str| Problem::new(Code::UnsupportedMediaType, detail);
    let encoding = header(headers, CONTENT_ENCODING.as_str())?;
    if encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
        return Err(unsupported("the body must not be compressed"));
    }
    let media_type = header(headers, CONTENT_TYPE.as_str())?.unwrap_or_default();
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let is_utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset")
            || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    Err(unsupported(
        "the Content-Type must be application/json, in UTF-8",
    ))
}
