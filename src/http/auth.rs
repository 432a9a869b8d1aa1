//! The door: whose a request is, and whether it may do what it asks for.
//!
//! Each route says in the list of routes what it [`Need`]s; nothing is served before that is checked.

use std::sync::Arc;

use actix_web::{
    Error, HttpMessage as _, HttpRequest, ResponseError as _,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::AUTHORIZATION,
    middleware::Next,
    web::{Data, Query},
};

use super::{
    client::{Caller, ClientAddress},
    edge::admit_key,
    limits::LoginRates,
    problem::{Code, Problem},
};
use crate::{
    auth::{Authenticator, Principal, Refusal, Right, SignIn, Why},
    domain::CreatedBy,
    metrics::{Collect, Exposition},
};

/// The scheme of the header `Authorization` (RFC 6750).
const SCHEME: &str = "bearer";

/// Who is let in; put it into the app's data (`web::Data<Guard>`). Without it, everybody is.
///
/// ```no_run
/// use std::sync::Arc;
/// use actix_web::{App, web::Data};
/// use dormouse::{auth::Authenticator, domain::SystemClock, http::{self, Guard}};
/// use dormouse::{settings::AuthSettings, store::EventStore};
///
/// # async fn app(settings: AuthSettings, store: Arc<dyn EventStore>) {
/// let clock = Arc::new(SystemClock);
/// let authenticator = Authenticator::start(&settings, store.api_keys(), clock).await;
/// let guard = Data::new(Guard::new(authenticator.expect("keys that can be read")));
/// let app = App::new().app_data(guard).configure(http::configure);
/// # }
/// ```
#[derive(Clone)]
pub struct Guard {
    authenticator: Authenticator,
    pub(super) sign_in: Option<Arc<dyn SignIn>>,
    pub(super) logins: Arc<LoginRates>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Guard {
    /// Lets in whom this knows.
    #[must_use]
    pub fn new(authenticator: Authenticator) -> Self {
        Self {
            logins: Arc::new(LoginRates::new(authenticator.settings())),
            authenticator,
            sign_in: None,
        }
    }

    /// The same with a login, `POST /v1/login`.
    #[must_use]
    pub fn with_sign_in(mut self, sign_in: Arc<dyn SignIn>) -> Self {
        self.sign_in = Some(sign_in);
        self
    }

    pub(super) const fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Waits until a request's caller is not known any more.
    pub(super) async fn until_unknown(&self, principal: &Principal) {
        self.authenticator.until_unknown(principal).await;
    }

    async fn check(
        &self,
        need: Need,
        request: &ServiceRequest,
    ) -> Result<Option<Principal>, Problem> {
        if need.is_open(self.authenticator.settings().open_docs) {
            return Ok(None);
        }
        let known = match token(request) {
            Ok(token) => self.authenticator.authenticate(token).await,
            Err(refusal) => Err(refusal),
        };
        let principal = known.map_err(|refusal| self.refused(request, &refusal))?;
        match need.lacking(&principal, request) {
            None => Ok(Some(principal)),
            Some(right) => Err(self.forbidden(request, &principal, &right)),
        }
    }

    fn refused(&self, request: &ServiceRequest, refusal: &Refusal) -> Problem {
        self.authenticator.count_refusal(refusal.why());
        tracing::info!(
            why = refusal.word(),
            reason = crate::domain::error_chain(refusal),
            method = %request.method(),
            path = request.path(),
            address = address(request.request()).map(tracing::field::display),
            "refused: it is not known who asks"
        );
        match refusal {
            Refusal::Unavailable => Problem::new(Code::StoreUnavailable, refusal.to_string()),
            Refusal::Missing => {
                Problem::unauthenticated("a token is needed: `Authorization: Bearer …`", false)
            }
            // Why, is for the log: a caller who guesses learns nothing.
            Refusal::Malformed | Refusal::UnknownKey | Refusal::ExpiredKey | Refusal::Token(_) => {
                Problem::unauthenticated("the token is not valid, or not any more", true)
            }
        }
    }

    fn forbidden(&self, request: &ServiceRequest, who: &Principal, right: &str) -> Problem {
        self.authenticator.count_refusal(Why::Forbidden);
        tracing::warn!(
            subject = who.subject(),
            created_by = %who.created_by(),
            right,
            method = %request.method(),
            path = request.path(),
            address = address(request.request()).map(tracing::field::display),
            "refused: the right is lacking"
        );
        Problem::forbidden(right)
    }
}

impl Collect for Guard {
    fn collect(&self, exposition: &mut Exposition) {
        self.authenticator.collect(exposition);
    }
}

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: what everybody may know, and the login itself.
    Nothing,
    /// A token, unless `auth.open_docs` says that the contract is told to everybody.
    Contract,
    /// A token, whatever its rights.
    Known,
    /// The right to the command in the path.
    Command,
    /// The right to read the type in the path.
    Read,
    /// The right to read the read model in the path.
    Model,
    /// The right to the log, or to read the one type that is asked for.
    Log,
    /// As [`Self::Log`], and the right to follow it.
    Stream,
    /// The right to the whole log.
    Audit,
    /// The right to see what the server does.
    Admin,
}

impl Need {
    const fn is_open(self, open_docs: bool) -> bool {
        matches!(self, Self::Nothing) || (open_docs && matches!(self, Self::Contract))
    }

    /// Whether a token is ever asked for.
    pub(super) const fn is_protected(self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// The rights to a path of the OpenAPI document; none where any token will do.
    pub(super) fn rights(self, path: &str) -> Vec<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let part = |place: usize| parts.get(place).copied().unwrap_or("*");
        let rights = match self {
            Self::Nothing | Self::Contract | Self::Known => Vec::new(),
            Self::Command => vec![Right::Command {
                aggregate_type: part(3),
                command: parts.last().copied().unwrap_or("*"),
            }],
            Self::Read | Self::Model => vec![Right::Read(part(3))],
            Self::Log | Self::Audit => vec![Right::Audit],
            Self::Stream => vec![Right::Stream, Right::Audit],
            Self::Admin => vec![Right::Admin],
        };
        rights.iter().map(Right::to_string).collect()
    }

    /// The right that someone lacks.
    fn lacking(self, who: &Principal, request: &ServiceRequest) -> Option<String> {
        let segment = |name: &str| request.match_info().get(name).unwrap_or_default();
        let lacks = |right: Right<'_>| (!who.may(&right)).then(|| right.to_string());
        match self {
            Self::Nothing | Self::Contract | Self::Known => None,
            Self::Command => lacks(Right::Command {
                aggregate_type: segment("type"),
                command: segment("command"),
            }),
            Self::Read => lacks(Right::Read(segment("type"))),
            Self::Model => lacks(Right::Read(segment("model"))),
            Self::Log => lacks_log(who, request),
            Self::Stream => lacks(Right::Stream).or_else(|| lacks_log(who, request)),
            Self::Audit => lacks(Right::Audit),
            Self::Admin => lacks(Right::Admin),
        }
    }
}

/// Whoever asks for one type only needs no more than the right to read it.
fn lacks_log(who: &Principal, request: &ServiceRequest) -> Option<String> {
    if who.may(&Right::Audit) {
        return None;
    }
    let query = Query::<Vec<(String, String)>>::from_query(request.query_string());
    let query = query.map(Query::into_inner).unwrap_or_default();
    let mut types = query.iter().filter(|(name, _)| name == "aggregate_type");
    // Asked for twice it is a mistake, which must not be found out by way of a reading right.
    if let (Some((_, only)), None) = (types.next(), types.next())
        && who.may(&Right::Read(only))
    {
        return None;
    }
    Some(Right::Audit.to_string())
}

/// The middleware of every route.
pub(super) async fn admit(
    need: Need,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(guard) = request.app_data::<Data<Guard>>().cloned() else {
        return next.call(request).await;
    };
    match guard.check(need, &request).await {
        Ok(principal) => {
            if let Some(principal) = principal {
                if let Err(problem) = admit_key(&request, &principal) {
                    return Ok(request.into_response(problem.error_response()));
                }
                request.extensions_mut().insert(principal);
            }
            next.call(request).await
        }
        // An answer and not an error: what is around it adds its headers.
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

/// The token of a request.
fn token(request: &ServiceRequest) -> Result<&str, Refusal> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or(Refusal::Missing)?;
    if headers.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let header = std::str::from_utf8(header.as_bytes()).map_err(|_| Refusal::Malformed)?;
    match header.trim_ascii_start().split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) && token.starts_with(' ') => {
            Ok(token.trim_ascii())
        }
        _ => Err(Refusal::Malformed),
    }
}

/// Who sent a request, where it had to be known.
pub(super) fn principal(request: &HttpRequest) -> Option<Principal> {
    request.extensions().get::<Principal>().cloned()
}

/// On whose behalf a command is: the token's subject, never the caller's word.
pub(super) fn created_by(request: &HttpRequest) -> Option<CreatedBy> {
    principal(request).map(|principal| principal.created_by().clone())
}

/// Whether tokens are asked for at all.
pub(super) fn is_guarded(request: &HttpRequest) -> bool {
    request.app_data::<Data<Guard>>().is_some()
}

/// Whether the server that a request came to asks for a token where this is needed.
pub(super) fn asks_for_token(request: &HttpRequest, need: Need) -> bool {
    request
        .app_data::<Data<Guard>>()
        .is_some_and(|guard| !need.is_open(guard.authenticator.settings().open_docs))
}

/// Whom a request is counted for: who is known to ask, or else its address; nothing where nobody
/// looked for that.
pub(super) fn caller(request: &HttpRequest) -> Option<Caller> {
    let extensions = request.extensions();
    match extensions.get::<Principal>() {
        Some(principal) => Some(Caller::of(principal)),
        None => extensions.get::<ClientAddress>().map(Caller::from),
    }
}

/// From where a request comes.
pub(super) fn address(request: &HttpRequest) -> Option<ClientAddress> {
    let found = request.extensions().get::<ClientAddress>().copied();
    found.or_else(|| Some(ClientAddress::new(request.peer_addr()?.ip())))
}
