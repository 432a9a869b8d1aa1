//! The measurements, one function each; every one checks what it was answered.

use std::{error::Error, sync::Arc, time::Duration};

use dormouse::{
    domain::{AggregateId, Position, Version},
    projection::{ProjectionState, Projections, Subscriptions},
    runtime::{At, Runtime},
    settings::{Settings, StoreKind},
    store::{EventFilter, EventStore, LogQuery, Order},
};
use tokio::time::Instant;
use ulid::Ulid;

use super::{
    ledger::{self, Ledger},
    log::Question,
    report::Figure,
    rows,
};

/// Events in a page of an audit: the HTTP contract's default.
const PAGE: u32 = 100;
/// The pause between two looks at how far a projection is.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) const fn name(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Sqlite => "sqlite",
        StoreKind::Postgres => "postgres",
        StoreKind::Memory => "memory",
    }
}

/// The whole log through a subscription.
///
/// # Errors
/// What ended the subscription, or an event out of its place.
pub(crate) async fn subscription(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    kind: StoreKind,
    events: u64,
) -> Result<Figure, Box<dyn Error>> {
    let subscriptions = Subscriptions::new(Arc::clone(store), settings.streams.clone());
    let began = Instant::now();
    let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
    let mut last = Position::ZERO;
    while last.get() < events {
        for event in subscription.next_page().await?.iter() {
            if event.position != last.next() {
                return Err(format!("{} came after {last}", event.position).into());
            }
            last = event.position;
        }
    }
    let took = began.elapsed();
    subscriptions.close();
    Ok(Figure::rate(
        "subscription",
        "the whole log",
        name(kind),
        events,
        took,
    ))
}

/// The whole log into a read model, until it has caught up and is served.
///
/// # Errors
/// The projection does not start, or stops.
pub(crate) async fn projection(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    kind: StoreKind,
) -> Result<Figure, Box<dyn Error>> {
    let head = store.last_position().await?;
    let began = Instant::now();
    let projections = Projections::builder(Arc::clone(store))
        .settings(settings.projections.clone())
        .projection(rows::Rows)
        .start()?;
    loop {
        let all = projections.status().await?;
        let ours = all.iter().find(|status| status.name == rows::NAME);
        match ours {
            Some(status) if status.position >= head => break,
            Some(status) if matches!(status.state, ProjectionState::Stopped(_)) => {
                return Err(format!("the projection stopped: {status:?}").into());
            }
            Some(_) | None => tokio::time::sleep(LOOK).await,
        }
    }
    let took = began.elapsed();
    projections.shutdown().await;
    Ok(Figure::rate(
        "projection",
        "a row for each event",
        name(kind),
        head.get(),
        took,
    ))
}

/// A page found by a filter, the oldest first and the newest first by turns.
///
/// # Errors
/// The store's, or a page of another size than the filter means.
pub(crate) async fn audit(
    store: &dyn EventStore,
    kind: StoreKind,
    question: &Question,
    asked: u64,
) -> Result<Figure, Box<dyn Error>> {
    let mut took = Vec::new();
    for turn in 0..asked {
        let query = LogQuery {
            filter: question.filter.clone(),
            order: if turn % 2 == 0 {
                Order::Ascending
            } else {
                Order::Descending
            },
            after: None,
            limit: PAGE,
        };
        let began = Instant::now();
        let page = store.query_log(&query).await?;
        took.push(began.elapsed());
        let wanted = question.meant.min(PAGE.into());
        if page.events.len() as u64 != wanted
            || !page
                .events
                .iter()
                .all(|event| question.filter.matches(event))
        {
            let found = page.events.len();
            return Err(format!("{}: {found} events instead of {wanted}", question.name).into());
        }
    }
    Ok(Figure::latencies("audit", question.name, name(kind), took))
}

/// One aggregate's state at versions drawn at random; its snapshots are those that a runtime
/// with the default settings leaves.
///
/// # Errors
/// The runtime's, or a state that is not the one of its version.
pub(crate) async fn time_travel(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    events: u64,
    asked: u64,
) -> Result<Figure, Box<dyn Error>> {
    let id = AggregateId::parse(&format!("ledger-{}", Ulid::generate()))?;
    let start = || ledger::register(Runtime::builder(Arc::clone(store)).settings(settings.clone()));
    let filling = start().start().await?;
    ledger::fill(&filling, &id, events).await?;
    // It writes the snapshots that are due.
    filling.shutdown().await;
    let runtime = start().start().await?;
    let ledgers = runtime
        .aggregates::<Ledger>()
        .ok_or("the runtime does not know ledgers")?;
    let mut took = Vec::new();
    for _ in 0..asked {
        let version = rand::random_range(1..=events);
        let began = Instant::now();
        let found = ledgers
            .state_at(&id, At::Version(Version::new(version)))
            .await?;
        took.push(began.elapsed());
        let entries = found.map(|found| found.state.entries);
        if entries != Some(version) {
            return Err(format!("version {version} has {entries:?} entries").into());
        }
    }
    runtime.shutdown().await;
    let of = format!("?version= of {events} events");
    Ok(Figure::latencies(
        "time travel",
        &of,
        name(settings.store.url.kind()),
        took,
    ))
}
