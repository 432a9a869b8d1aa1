//! Read models: `GET /v1/read/{model}`, with the position that an answer reflects.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde_json::{Map, Value, json};

use super::{
    face::ModelDescription,
    problem::{Code, Problem},
    request::{number, page_limit, query, segment},
};
use crate::{
    domain::Position,
    projection::{NotServed, Projections, ReadModel, ReadRequest, ReadSnapshot},
    store::models::ModelError,
};

/// The parameters that every read model has.
const COMMON: &[&str] = &["after", "limit", "after_position", "wait_ms"];

/// How long a read waits for its position where it does not say.
const DEFAULT_WAIT: Duration = Duration::from_millis(500);

/// The header that tells which position an answer reflects.
const X_POSITION: &str = "X-Position";

/// The read models that an app serves; put it into the app's data.
///
/// ```no_run
/// use actix_web::{App, web::Data};
/// use dormouse::{http::{self, ReadModels}, iam::UserSearch, projection::Projections};
///
/// # fn app(projections: Projections) {
/// let models = Data::new(ReadModels::new(projections).with(UserSearch));
/// let app = App::new().app_data(models).configure(http::configure);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReadModels {
    projections: Projections,
    models: Vec<Arc<dyn ReadModel>>,
}

impl ReadModels {
    /// None so far; they are read through these projections.
    #[must_use]
    pub const fn new(projections: Projections) -> Self {
        Self {
            projections,
            models: Vec::new(),
        }
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, model: impl ReadModel) -> Self {
        self.models.push(Arc::new(model));
        self
    }
}

impl ReadModels {
    /// What keeps them.
    pub(super) const fn projections(&self) -> &Projections {
        &self.projections
    }

    /// What each is called, and which parameters of its own it takes.
    pub(super) fn described(&self) -> Vec<ModelDescription> {
        let models = self.models.iter();
        let described = models.map(|model| ModelDescription {
            path: model.path(),
            parameters: model.parameters(),
        });
        described.collect()
    }
}

/// What a read asks for beside the model's own parameters.
struct Asked {
    request: ReadRequest,
    /// The position to wait for, and how long.
    after_position: Option<(Position, Duration)>,
}

/// `GET /v1/read/{model}`
pub(super) async fn read(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = segment(&request, "model");
    let served = request.app_data::<Data<ReadModels>>();
    let model = served.and_then(|served| served.models.iter().find(|model| model.path() == path));
    let (Some(served), Some(model)) = (served, model) else {
        return Err(Problem::new(
            Code::NotFound,
            format!("there is no read model `{path}`"),
        ));
    };
    let asked = asked(&request, &**model, served.projections.max_wait())?;
    let name = model.projection();
    let mut snapshot = match asked.after_position {
        None => served.projections.snapshot(name).await?,
        Some((position, time)) => {
            let waiting = served.projections.snapshot_after(name, position, time);
            waiting.await?
        }
    };
    let wanted = asked
        .after_position
        .map_or(Position::ZERO, |(position, _)| position);
    let Some(build) = snapshot.build.filter(|_| snapshot.position >= wanted) else {
        return Ok(not_yet(name, snapshot).await);
    };
    let answer = model.read(&asked.request, &build, snapshot.tx()).await;
    let position = snapshot.position;
    snapshot.end().await;
    let answer = answer?;
    let mut body = Map::new();
    body.insert(model.path().to_owned(), Value::Array(answer.rows));
    body.insert(
        "next".to_owned(),
        answer.next.map_or(Value::Null, Value::String),
    );
    Ok(HttpResponse::Ok()
        .insert_header((X_POSITION, position.to_string()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body))
}

/// The read model has not come as far as was asked for: how far it has come.
async fn not_yet(name: &str, snapshot: ReadSnapshot) -> HttpResponse {
    let position = snapshot.position;
    let building = snapshot.build.is_none();
    snapshot.end().await;
    HttpResponse::Accepted()
        .insert_header((X_POSITION, position.to_string()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "projection": name, "position": position, "building": building }))
}

fn asked(
    request: &HttpRequest,
    model: &dyn ReadModel,
    max_wait: Duration,
) -> Result<Asked, Problem> {
    let known = [model.parameters(), COMMON].concat();
    let given = query(request, &known)?;
    let has = |name: &str| given.iter().any(|(other, _)| other == name);
    let limit = page_limit(request, &given)?;
    let after_position = number(&given, "after_position", 0..=i64::MAX.cast_unsigned(), 0)?;
    let most = u64::try_from(max_wait.as_millis()).unwrap_or(u64::MAX);
    let usual = u64::try_from(DEFAULT_WAIT.as_millis()).unwrap_or(u64::MAX);
    let wait = number(&given, "wait_ms", 0..=most, usual.min(most))?;
    if has("wait_ms") && !has("after_position") {
        return Err(Problem::new(
            Code::InvalidRequest,
            "the query parameter `wait_ms` says how long to wait for `after_position`",
        ));
    }
    let wanted = (Position::new(after_position), Duration::from_millis(wait));
    let after_position = has("after_position").then_some(wanted);
    let after = given.iter().find(|(name, _)| name == "after");
    Ok(Asked {
        request: ReadRequest {
            after: after.map(|(_, cursor)| cursor.clone()),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            parameters: given
                .into_iter()
                .filter(|(name, _)| !COMMON.contains(&name.as_str()))
                .collect(),
        },
        after_position,
    })
}

impl From<NotServed> for Problem {
    fn from(error: NotServed) -> Self {
        match error {
            NotServed::Invalid(detail) => Self::new(Code::InvalidRequest, detail),
            NotServed::Model(error) => error.into(),
        }
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let source = source.unwrap_or_default();
        if error.is_retryable() {
            tracing::warn!(source, "a read model could not be read");
            Self::new(Code::StoreUnavailable, "the read model cannot be reached")
        } else {
            tracing::error!(source, "a read model refused a read");
            Self::new(
                Code::Internal,
                "a bug here; the log of the server says more",
            )
        }
    }
}
