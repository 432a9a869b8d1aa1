//! The edge: what is done with every request before it is any route's, and with every answer.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage as _, ResponseError as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header::HeaderValue},
    middleware::Next,
    web::{Bytes, Data},
};

use super::{
    client::{self, ClientAddress},
    cors, headers,
    limits::{EdgeMeters, Rate},
    problem::{Code, Problem},
    server::{Pace, Working},
};
use crate::{
    auth::Principal,
    settings::{HttpSettings, RateSettings},
};

/// What [`keep_bounds`] goes by; in the app's data. Clones are the same.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: HttpSettings,
    per_address: Option<Rate<ClientAddress>>,
    per_key: Option<Rate<Arc<str>>>,
    meters: Arc<EdgeMeters>,
}

impl Edge {
    /// The edge that the settings ask for.
    #[must_use]
    pub fn new(http: &HttpSettings, rate: &RateSettings, meters: Arc<EdgeMeters>) -> Self {
        Self(Arc::new(Inner {
            settings: http.clone(),
            per_address: Rate::new(rate.per_address, rate.burst, rate.callers),
            per_key: Rate::new(rate.per_key, rate.burst, rate.callers),
            meters,
        }))
    }

    /// What is counted.
    pub(super) fn meters(&self) -> &EdgeMeters {
        &self.0.meters
    }

    /// Tells who asks, and refuses what is refused before anything is looked at.
    fn admit(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let settings = &self.0.settings;
        let size = head_size(request);
        if size > settings.head_limit {
            let limit = settings.head_limit;
            let detail = format!("the head of the request has {size} bytes and may have {limit}");
            return Err(Problem::new(Code::HeadTooLarge, detail));
        }
        // There is none in a test's request, and none on a Unix socket.
        let Some(peer) = request.peer_addr() else {
            return Ok(());
        };
        let address = ClientAddress::new(client::address(
            peer.ip(),
            request.headers(),
            &settings.trusted_proxies,
            settings.forwarded_header,
        ));
        request.extensions_mut().insert(address);
        let Some(rate) = &self.0.per_address else {
            return Ok(());
        };
        rate.admit(address).map_err(|wait| {
            self.0.meters.refused_by_address();
            tracing::debug!(%address, "an address asks too often");
            Problem::new(Code::RateLimited, "this address asks too often").retry_after(wait)
        })
    }
}

/// Counts a request for the subject of a key or token, once that is verified.
pub(super) fn admit_key(request: &ServiceRequest, principal: &Principal) -> Result<(), Problem> {
    let Some(edge) = request.app_data::<Data<Edge>>() else {
        return Ok(());
    };
    let Some(rate) = &edge.0.per_key else {
        return Ok(());
    };
    rate.admit(principal.shared_subject()).map_err(|wait| {
        edge.meters().refused_by_key();
        let subject = principal.subject();
        tracing::debug!(subject, "a key asks too often");
        Problem::new(Code::RateLimited, "this key asks too often").retry_after(wait)
    })
}

/// The bytes of the request line and the headers, about as they came.
fn head_size(request: &ServiceRequest) -> usize {
    // Each line has a colon, a blank and its end.
    const SIGNS: usize = 4;
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + SIGNS);
    let line = request.method().as_str().len() + request.uri().path().len();
    let query = request.query_string().len();
    // Two blanks, `HTTP/1.1`, the end of the line and that of the head.
    line + query + 14 + headers.sum::<usize>()
}

/// A middleware, to be the outermost: it tells who asks, keeps the bounds, answers the questions of
/// browsers, and gives every answer its headers. It needs [`Data<Edge>`](Edge).
///
/// # Errors
/// Those of the service it wraps; and the problem that the request took too long.
pub async fn keep_bounds<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(edge) = request.app_data::<Data<Edge>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let working = request.conn_data::<Rc<Pace>>().map(Pace::begin);
    let origin = cors::origin(&request, &edge.0.settings.cors_origins);
    let mut response = if origin.is_some() && cors::is_preflight(&request) {
        request.into_response(cors::preflight())
    } else if let Err(problem) = edge.admit(&request) {
        request.into_response(problem.error_response())
    } else {
        let commanding = request.method() == Method::POST;
        let limit = edge.0.settings.handler_timeout;
        let Ok(handled) = tokio::time::timeout(limit, next.call(request)).await else {
            edge.meters().handler_timed_out();
            return Err(took_too_long(commanding, limit).into());
        };
        handled?.map_body(|_, body| watched(body.boxed(), working))
    };
    finish(&mut response, origin);
    Ok(response)
}

/// A command that began may be stored all the same; a read is only late.
fn took_too_long(commanding: bool, limit: Duration) -> Problem {
    let limit = limit.as_secs_f64();
    let detail = format!("the request took longer than {limit} seconds");
    Problem::new(Code::CommandTimeout, detail).with("handled", commanding)
}

fn finish(response: &mut ServiceResponse, origin: Option<HeaderValue>) {
    let path = response.request().path().to_owned();
    let headers = response.headers_mut();
    headers::add(headers, &path);
    if let Some(origin) = origin {
        cors::allow(headers, origin);
    }
}

/// The work on a request ends with its answer; what is there whole is only to be sent.
fn watched(body: BoxBody, working: Option<Working>) -> BoxBody {
    // An answer without a body is not one with an empty body.
    if matches!(body.size(), BodySize::None) {
        return body;
    }
    match body.try_into_bytes() {
        Ok(whole) => BoxBody::new(whole),
        Err(body) => BoxBody::new(Watched {
            body,
            _working: working,
        }),
    }
}

/// The body of an answer that comes bit by bit.
struct Watched {
    body: BoxBody,
    /// Given back with the rest.
    _working: Option<Working>,
}

impl MessageBody for Watched {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(ctx)
    }
}
