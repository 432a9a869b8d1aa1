//! `POST /v1/login`: a username and a password become a token.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CACHE_CONTROL,
    web::{Data, Payload},
};
use chrono::SecondsFormat;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::{
    auth::{Guard, address},
    problem::{Code, Problem},
    request::{body, query},
};
use crate::auth::{Credentials, Issued, LoginOutcome, SignIn, SignInError, SignedIn};

/// A token, and what it is good for.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginBody {
    /// To be sent as `Authorization: Bearer …`.
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// When it expires.
    #[schema(format = DateTime)]
    expires_at: String,
    /// The seconds until then.
    expires_in: i64,
    /// Who it is: what `created_by` says of it.
    subject: String,
    /// What it may do.
    rights: Vec<String>,
}

/// What is sent.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it is there to be described")]
pub(super) struct LoginRequest {
    /// The name to sign in with.
    #[schema(min_length = 1, max_length = 1024)]
    username: String,
    /// The password to sign in with.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    password: String,
}

/// `POST /v1/login`
pub(super) async fn login(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    query(&request, &[])?;
    let guard = request.app_data::<Data<Guard>>();
    let guard = guard.filter(|guard| guard.authenticator().can_issue());
    let sign_in = guard.and_then(|guard| guard.sign_in.clone());
    let (Some(guard), Some(sign_in)) = (guard, sign_in) else {
        return Err(Problem::new(Code::NotFound, "there is no login here"));
    };
    let credentials = credentials(&body(&request, payload).await?)?;
    let counted = guard
        .logins
        .admit(address(&request), credentials.username());
    if let Err(wait) = counted {
        guard.authenticator().count_login(LoginOutcome::Limited);
        tracing::warn!(
            address = address(&request).map(tracing::field::display),
            "a login is refused: there were too many"
        );
        let problem = Problem::new(Code::RateLimited, "too many logins were tried");
        return Err(problem.retry_after(wait));
    }
    let signed_in = signed_in(guard, &*sign_in, &credentials, &request).await?;
    let issued = guard
        .authenticator()
        .issue(&signed_in.subject, &signed_in.rights);
    let issued = issued.ok_or_else(|| failed("there is no key for tokens any more"))?;
    guard.authenticator().count_login(LoginOutcome::Granted);
    Ok(respond(guard, &signed_in, &issued))
}

/// No error repeats what was sent.
fn credentials(body: &[u8]) -> Result<Credentials, Problem> {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        return Err(Problem::new(Code::InvalidJson, "the body is no JSON"));
    }
    serde_json::from_slice(body).map_err(|_| {
        Problem::new(
            Code::InvalidRequest,
            "the body must have `username` and `password`, each a text of 1 to 1024 bytes, and \
             nothing else",
        )
    })
}

async fn signed_in(
    guard: &Guard,
    sign_in: &dyn SignIn,
    credentials: &Credentials,
    request: &HttpRequest,
) -> Result<SignedIn, Problem> {
    // Not before the body is there: a client that holds back its last byte would use up the floor.
    let began = Instant::now();
    let error = match sign_in.sign_in(credentials).await {
        Ok(signed_in) => return Ok(signed_in),
        Err(error) => error,
    };
    if error == SignInError::Refused {
        guard.authenticator().count_login(LoginOutcome::Refused);
        // Not the name: people type their password there.
        tracing::info!(
            address = address(request).map(tracing::field::display),
            "a login is refused: the name, the password or the user is not right"
        );
        // Whatever the reason took, all take the same: names, passwords and users stay unknown.
        let floor = guard.authenticator().settings().login_failure_time;
        sleep_until(began + floor).await;
        return Err(Problem::unauthenticated(error.to_string(), false));
    }
    guard.authenticator().count_login(LoginOutcome::Failed);
    Err(match error {
        SignInError::Busy => Problem::new(Code::Overloaded, error.to_string()),
        SignInError::Unavailable => Problem::new(Code::StoreUnavailable, error.to_string()),
        SignInError::Refused | SignInError::Failed => failed("a login met a bug"),
    })
}

fn failed(logged: &str) -> Problem {
    tracing::error!("{logged}");
    Problem::new(
        Code::Internal,
        "a bug here; the log of the server says more",
    )
}

fn respond(guard: &Guard, signed_in: &SignedIn, issued: &Issued) -> HttpResponse {
    let lifetime = guard.authenticator().settings().login_ttl;
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(LoginBody {
            token: issued.token.to_string(),
            token_type: "Bearer",
            expires_at: issued
                .expires_at
                .to_rfc3339_opts(SecondsFormat::Micros, true),
            expires_in: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
            subject: signed_in.subject.clone(),
            rights: signed_in.rights.texts().collect(),
        })
}
