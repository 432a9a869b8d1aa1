//! `GET /v1/runtime`: what the process is doing, down to each live aggregate.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    adoption::{DriftView, Seen},
    http::{
        problem::{Code, Problem},
        request::{page_limit, query},
        runtime,
    },
    runtime::{CommandError, JournalView, LiveOrder, LiveQuery, LiveView, RuntimeView, TypeView},
};

/// What the process is doing.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RuntimeBody {
    /// When the runtime started; all counts begin there.
    #[schema(format = DateTime)]
    since: String,
    /// Commands and reads of states that are taken and not answered.
    in_flight: usize,
    /// How many may be: `runtime.max_in_flight`.
    in_flight_limit: usize,
    /// How many aggregates may be live: `runtime.max_live`.
    live_limit: usize,
    /// The aggregate types, by name.
    types: Vec<TypeBody>,
    /// What was written.
    journal: JournalBody,
    /// Snapshots, which are written beside everything else.
    snapshots: SnapshotsBody,
    /// The look for drift: each type in `dual-write` whose rows are held against their events.
    drift: Vec<DriftBody>,
    /// Live aggregates, in the order that was asked for.
    aggregates: Vec<LiveBody>,
    /// The `after` of the next page, with `order=id`.
    next: Option<String>,
}

/// The aggregates of one type.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TypeBody {
    aggregate_type: String,
    /// How many are live.
    live: usize,
    /// What is unanswered in all of them.
    depth: u64,
    /// What is unanswered in the one with most.
    deepest: u32,
    /// How often one was woken.
    activations: u64,
    /// How often a state could not be read from the store.
    activation_failures: u64,
    /// How often an actor ended, by cause.
    passivations: BTreeMap<&'static str, u64>,
    /// How often a commit lost to an earlier one, by what it lost.
    conflicts: BTreeMap<&'static str, u64>,
}

/// What the journal has written.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct JournalBody {
    /// Appends.
    batches: u64,
    /// Commits in them.
    commits: u64,
    /// Events in them.
    events: u64,
    /// Appends that failed or whose answer was lost.
    failures: u64,
    /// How long an append takes on average, in milliseconds; null before the first.
    mean_flush_ms: Option<f64>,
}

/// Snapshots since the start.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SnapshotsBody {
    written: u64,
    failed: u64,
}

/// What the look for drift has seen of one type.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DriftBody {
    aggregate_type: String,
    /// When rows were last held against their events; null before the first time.
    #[schema(format = DateTime)]
    last_look: Option<String>,
    /// Rounds through all rows and aggregates of the type.
    rounds: u64,
    /// Rows that were looked at, in all rounds.
    compared: u64,
    /// Rows that do not agree with their events, by the last whole round or, where that is more, by
    /// this one so far.
    differing: u64,
    /// Looks that failed, because the store or the table could not be read.
    failures: u64,
}

/// One live aggregate.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LiveBody {
    aggregate_type: String,
    aggregate_id: String,
    /// The version its actor stands at; 0 while its state is being read.
    version: u64,
    /// Commands and reads in it that are not answered.
    depth: u32,
    /// How long the oldest of them waits, in milliseconds; null where there is none.
    oldest_wait_ms: Option<f64>,
    /// How long its last append took, in milliseconds; null where it has made none.
    last_append_ms: Option<f64>,
    /// Since when it is live.
    #[schema(format = DateTime)]
    since: String,
}

/// `GET /v1/runtime`
pub(in crate::http) async fn view(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    let query = query(&request, &["aggregate_type", "order", "after", "limit"])?;
    let value = |name: &str| {
        let found = query.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    };
    let aggregate_type = value("aggregate_type");
    if let Some(wanted) = aggregate_type
        && !runtime.types().any(|known| known == wanted)
    {
        return Err(CommandError::UnknownType(wanted.to_owned()).into());
    }
    let order = order(value("order"), value("after"))?;
    let limit = page_limit(&request, &query)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut aggregates = runtime.live(&LiveQuery {
        aggregate_type,
        order,
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    });
    let more = aggregates.len() > limit;
    aggregates.truncate(limit);
    let last = aggregates
        .last()
        .filter(|_| more && order != LiveOrder::Depth);
    let next = last.map(|last| format!("{}/{}", last.aggregate_type, last.aggregate_id));
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body(runtime.view(), drift(&request), aggregates, next)))
}

fn order<'a>(order: Option<&str>, after: Option<&'a str>) -> Result<LiveOrder<'a>, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Code::InvalidRequest, detail));
    match (order, after) {
        (None | Some("depth"), None) => Ok(LiveOrder::Depth),
        (None | Some("depth"), Some(_)) => invalid("`after` needs `order=id`"),
        (Some("id"), None) => Ok(LiveOrder::Id(None)),
        (Some("id"), Some(after)) => match after.split_once('/') {
            Some(after) => Ok(LiveOrder::Id(Some(after))),
            None => invalid("the query parameter `after` must be a type and an id, like User/u1"),
        },
        (Some(_), _) => invalid("the query parameter `order` must be depth or id"),
    }
}

/// What was seen of drift, where somebody looks.
fn drift(request: &HttpRequest) -> Vec<DriftView> {
    let seen = request.app_data::<Data<Seen>>();
    seen.map(|seen| seen.view()).unwrap_or_default()
}

fn body(
    view: RuntimeView,
    drift: Vec<DriftView>,
    aggregates: Vec<LiveView>,
    next: Option<String>,
) -> RuntimeBody {
    RuntimeBody {
        since: time(view.since),
        in_flight: view.in_flight,
        in_flight_limit: view.in_flight_limit,
        live_limit: view.live_limit,
        types: view.types.into_iter().map(TypeBody::from).collect(),
        journal: journal(view.journal),
        snapshots: SnapshotsBody {
            written: view.snapshots_written,
            failed: view.snapshots_failed,
        },
        drift: drift.into_iter().map(DriftBody::from).collect(),
        aggregates: aggregates.into_iter().map(LiveBody::from).collect(),
        next,
    }
}

impl From<TypeView> for TypeBody {
    fn from(view: TypeView) -> Self {
        Self {
            aggregate_type: view.aggregate_type,
            live: view.live,
            depth: view.depth,
            deepest: view.deepest,
            activations: view.activations,
            activation_failures: view.activation_failures,
            passivations: view.passivations,
            conflicts: view.conflicts,
        }
    }
}

impl From<DriftView> for DriftBody {
    fn from(view: DriftView) -> Self {
        Self {
            aggregate_type: view.aggregate_type,
            last_look: view.last_look.map(time),
            rounds: view.rounds,
            compared: view.compared,
            differing: view.differing,
            failures: view.failures,
        }
    }
}

impl From<LiveView> for LiveBody {
    fn from(view: LiveView) -> Self {
        Self {
            aggregate_type: view.aggregate_type,
            aggregate_id: view.aggregate_id.as_str().to_owned(),
            version: view.version.get(),
            depth: view.depth,
            oldest_wait_ms: view.oldest_wait.map(milliseconds),
            last_append_ms: view.last_append.map(milliseconds),
            since: time(view.since),
        }
    }
}

fn journal(view: JournalView) -> JournalBody {
    let batches = u32::try_from(view.batches).unwrap_or(u32::MAX);
    JournalBody {
        batches: view.batches,
        commits: view.commits,
        events: view.events,
        failures: view.failures,
        mean_flush_ms: view.flushing.checked_div(batches).map(milliseconds),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
