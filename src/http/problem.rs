//! Problems: every error a client sees, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde_json::{Map, Value, json};

/// The catalogue of codes: clients match on the slug, so none of them ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the slugs below say it in the contract's own words"
)]
pub enum Code {
    InvalidJson,
    InvalidCommand,
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    UnknownAggregateType,
    UnknownCommand,
    AggregateNotFound,
    NotFound,
    MethodNotAllowed,
    ClaimTaken,
    WriteConflict,
    VersionMismatch,
    RequestTimeout,
    PayloadTooLarge,
    HeadTooLarge,
    UnsupportedMediaType,
    CommandRejected,
    IdempotencyKeyReused,
    RateLimited,
    Overloaded,
    StoreUnavailable,
    CommandTimeout,
    Internal,
}

impl Code {
    /// The slug, the status and the title.
    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidJson => ("invalid-json", 400, "The body is not JSON"),
            Self::InvalidCommand => ("invalid-command", 400, "The command is malformed"),
            Self::InvalidRequest => ("invalid-request", 400, "The request is malformed"),
            Self::Unauthenticated => ("unauthenticated", 401, "It is not known who asks"),
            Self::Forbidden => ("forbidden", 403, "The right to this is lacking"),
            Self::UnknownAggregateType => (
                "unknown-aggregate-type",
                404,
                "There is no such aggregate type",
            ),
            Self::UnknownCommand => ("unknown-command", 404, "There is no such command"),
            Self::AggregateNotFound => ("aggregate-not-found", 404, "The aggregate has no events"),
            Self::NotFound => ("not-found", 404, "There is nothing here"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not allowed here"),
            Self::ClaimTaken => (
                "claim-taken",
                409,
                "A unique value belongs to another aggregate",
            ),
            Self::WriteConflict => ("write-conflict", 409, "Other writers kept winning"),
            Self::VersionMismatch => (
                "version-mismatch",
                412,
                "The aggregate is at another version",
            ),
            Self::RequestTimeout => ("request-timeout", 408, "The request came too slowly"),
            Self::HeadTooLarge => ("head-too-large", 431, "The head is too large"),
            Self::RateLimited => ("rate-limited", 429, "This caller asks too often"),
            Self::PayloadTooLarge => ("payload-too-large", 413, "The body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                415,
                "The body is of another type than JSON",
            ),
            Self::CommandRejected => (
                "command-rejected",
                422,
                "The aggregate rejected the command",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                422,
                "The idempotency key was used for another command",
            ),
            Self::Overloaded => ("overloaded", 503, "Too much is waiting to be answered"),
            Self::StoreUnavailable => ("store-unavailable", 503, "The store cannot be reached"),
            Self::CommandTimeout => ("command-timeout", 504, "The command took too long"),
            Self::Internal => ("internal", 500, "Something is broken here"),
        }
    }

    /// The slug that clients match on.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.parts().0
    }

    /// The status it is sent with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.parts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether it passes by itself, so that a client should come back.
    pub(super) const fn passes(self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::StoreUnavailable | Self::RateLimited
        )
    }
}

/// Seconds after which a client may come back.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error on its way to a client: what is said here is all the client sees.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {detail}", .code.slug())]
pub struct Problem {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    allow: Option<&'static str>,
    /// What the header `WWW-Authenticate` says (RFC 6750, section 3).
    authenticate: Option<String>,
    retry_after: u64,
}

impl Problem {
    /// A problem with a sentence for the client.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            members: Map::new(),
            allow: None,
            authenticate: None,
            retry_after: RETRY_AFTER_SECONDS,
        }
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same, for a client that may come back after that time, in whole seconds.
    #[must_use]
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = seconds.max(RETRY_AFTER_SECONDS);
        self
    }

    /// A method that is not allowed, and those that are.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(Code::MethodNotAllowed, format!("allowed here: {allow}"));
        problem.allow = Some(allow);
        problem
    }

    /// It is not known who asks; a token was sent and is not valid, or none was.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>, sent: bool) -> Self {
        let mut problem = Self::new(Code::Unauthenticated, detail);
        let invalid = if sent {
            ", error=\"invalid_token\""
        } else {
            ""
        };
        problem.authenticate = Some(format!("Bearer realm=\"dormouse\"{invalid}"));
        problem
    }

    /// It is known who asks, and it lacks a right.
    #[must_use]
    pub fn forbidden(right: &str) -> Self {
        let detail = format!("the right `{right}` is lacking");
        let mut problem = Self::new(Code::Forbidden, detail).with("right", right);
        // What the path named may hold what must not stand in a quoted string of a header.
        let scope: String = right
            .chars()
            .filter(|sign| sign.is_ascii_graphic() && !"\"\\".contains(*sign))
            .collect();
        problem.authenticate = Some(format!(
            "Bearer realm=\"dormouse\", error=\"insufficient_scope\", scope=\"{scope}\""
        ));
        problem
    }

    /// What a client reads of it.
    pub(super) fn body(&self) -> Value {
        let (slug, status, title) = self.code.parts();
        let mut body = json!({
            "type": format!("urn:dormouse:problem:{slug}"),
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": slug,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.members.clone());
        }
        body
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.content_type("application/problem+json");
        response.insert_header((CACHE_CONTROL, "no-store"));
        if self.code.passes() {
            response.insert_header((RETRY_AFTER, self.retry_after.to_string()));
        }
        if let Some(authenticate) = &self.authenticate {
            response.insert_header((WWW_AUTHENTICATE, authenticate.as_str()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        response.body(self.body().to_string())
    }
}
