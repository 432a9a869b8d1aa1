//! CORS: which pages may call from a browser. None may, unless the settings name their origin.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
        },
    },
};

const METHODS: &str = "GET, HEAD, POST";
/// What the contract and its proxies read.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, \
                               If-None-Match, Last-Event-ID, X-Correlation-Id, X-Causation-Id, \
                               X-Created-By, X-Timeout-Ms, traceparent, tracestate";
/// What a page may read of an answer beside what every page may.
const ANSWER_HEADERS: &str = "Allow, ETag, Idempotency-Replayed, Location, Retry-After, \
                              WWW-Authenticate";
/// How long a browser need not ask again.
const MAX_AGE_SECONDS: &str = "600";

/// The origin of a request, where the settings name it.
pub(super) fn origin(request: &ServiceRequest, named: &[String]) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    let known = named
        .iter()
        .any(|named| named.as_bytes() == origin.as_bytes());
    known.then(|| origin.clone())
}

/// Whether a browser only asks what it may.
pub(super) fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that.
pub(super) fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
        .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS))
        .finish()
}

/// Lets the pages of that origin read an answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let exposed = HeaderValue::from_static(ANSWER_HEADERS);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
