//! The log that is read: many aggregates of a few types, people, correlations, and years.

use std::{error::Error, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use dormouse::{
    domain::{
        AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, StreamId,
        Version,
    },
    settings::{StoreKind, StoreUrl},
    store::{Commit, EventFilter, EventStore, NewEvent, Verdict},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use sqlx::{Connection as _, PgConnection};
use ulid::Ulid;

/// Commits in a batch.
const BATCH: u64 = 1000;
/// Events that share a correlation.
const CORRELATED: u64 = 4;
/// People.
const PEOPLE: u64 = 200;
/// Events of an aggregate, about.
const EVENTS_EACH: u64 = 50;
/// Of so many events one is of the rare type.
const RARE: u64 = 1000;
/// Events between the two times of a question, about.
const SPAN: u64 = 5000;

const AGGREGATE_TYPES: [&str; 4] = ["Account", "Order", "Invoice", "Session"];
const EVENT_TYPES: [&str; 3] = ["OpenedEvent", "ChangedEvent", "NotedEvent"];
const RARE_TYPE: &str = "ClosedEvent";

/// What the log was filled with.
#[derive(Debug)]
pub(crate) struct Filled {
    events: u64,
}

/// A filter by name, and how many of the log's events it means.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) filter: EventFilter,
    pub(crate) meant: u64,
}

/// Appends the events, a batch after another.
///
/// # Errors
/// The store's, or a commit that lost: the log was not new.
pub(crate) async fn fill(store: &dyn EventStore, events: u64) -> Result<Filled, Box<dyn Error>> {
    let progress = ProgressBar::new(events);
    let style = "{bar:40} {human_pos} of {human_len} events stored, {per_sec}, {eta} left";
    progress.set_style(ProgressStyle::with_template(style)?);
    let mut next = 0;
    while next < events {
        let end = events.min(next + BATCH);
        let batch: Vec<Commit> = (next..end)
            .map(|number| commit(number, events))
            .collect::<Result<_, _>>()?;
        for verdict in store.append(Arc::from(batch)).await? {
            if let Verdict::Lost(loss) = verdict {
                return Err(format!("the store has such events already: {loss:?}").into());
            }
        }
        progress.inc(end - next);
        next = end;
    }
    progress.finish_and_clear();
    Ok(Filled { events })
}

/// What autovacuum does some time after so many events were stored.
///
/// # Errors
/// The database's.
pub(crate) async fn settle(url: &StoreUrl) -> Result<(), Box<dyn Error>> {
    if url.kind() == StoreKind::Postgres {
        let mut connection = PgConnection::connect(url.expose()).await?;
        let vacuum = "vacuum (analyze) domain_events";
        sqlx::raw_sql(vacuum).execute(&mut connection).await?;
        connection.close().await?;
    }
    Ok(())
}

fn commit(number: u64, events: u64) -> Result<Commit, Box<dyn Error>> {
    let aggregates = (events / EVENTS_EACH).max(1);
    let aggregate = number % aggregates;
    let data = format!(r#"{{"number":{number},"note":"what happened to it this time"}}"#);
    Ok(Commit {
        stream: StreamId {
            aggregate_type: AggregateType::parse(AGGREGATE_TYPES[index(aggregate, 4)])?,
            aggregate_id: AggregateId::parse(&format!("a{aggregate}"))?,
        },
        expected: Version::new(number / aggregates),
        events: vec![NewEvent {
            id: event_id(number),
            event_type: event_type(number).into(),
            schema_version: 1,
            data: RawValue::from_string(data)?,
        }],
        occurred_at: occurred_at(number),
        created_by: Some(person(number % PEOPLE)?),
        correlation_id: correlation(number / CORRELATED),
        causation_id: (!number.is_multiple_of(CORRELATED))
            .then(|| CausationId(event_id(number - 1).0)),
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    })
}

fn event_id(number: u64) -> EventId {
    EventId(Ulid::from_parts(number / 100, u128::from(number)))
}

fn event_type(number: u64) -> &'static str {
    if number % RARE == RARE / 2 {
        return RARE_TYPE;
    }
    EVENT_TYPES[index(number, 3)]
}

fn index(number: u64, of: u64) -> usize {
    usize::try_from(number % of).unwrap_or_default()
}

/// A minute apart.
fn occurred_at(number: u64) -> DateTime<Utc> {
    let minutes = i64::try_from(number).unwrap_or(i64::MAX / 60_000);
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
}

fn person(number: u64) -> Result<CreatedBy, Box<dyn Error>> {
    Ok(CreatedBy::parse(&format!("person-{number}"))?)
}

fn correlation(number: u64) -> CorrelationId {
    CorrelationId(Ulid::from_parts(0, u128::from(number) + 1))
}

/// Each filter alone, and some that people combine.
///
/// # Errors
/// None, as long as the names here are valid.
pub(crate) fn questions(filled: &Filled) -> Result<Vec<Question>, Box<dyn Error>> {
    let mut all = alone(filled)?;
    all.extend(combined(filled)?);
    Ok(all)
}

fn alone(filled: &Filled) -> Result<Vec<Question>, Box<dyn Error>> {
    let all = EventFilter::default;
    let one = filled.middle() % filled.aggregates();
    let correlated = filled.middle() / CORRELATED;
    let cause = correlated * CORRELATED;
    Ok(vec![
        filled.question("everything", all(), |_| true),
        filled.question("aggregate_type", of_type()?, |number| {
            filled.is_of_type(number)
        }),
        filled.question(
            "aggregate_id",
            EventFilter {
                aggregate_id: Some(AggregateId::parse(&format!("a{one}"))?),
                ..all()
            },
            |number| number % filled.aggregates() == one,
        ),
        filled.question(
            "event_type",
            EventFilter {
                event_types: vec![RARE_TYPE.into()],
                ..all()
            },
            is_rare,
        ),
        filled.question(
            "created_by",
            EventFilter {
                created_by: Some(person(7)?),
                ..all()
            },
            |number| number % PEOPLE == 7,
        ),
        filled.question(
            "correlation_id",
            EventFilter {
                correlation_id: Some(correlation(correlated)),
                ..all()
            },
            |number| number / CORRELATED == correlated,
        ),
        filled.question(
            "causation_id",
            EventFilter {
                causation_id: Some(CausationId(event_id(cause).0)),
                ..all()
            },
            |number| number == cause + 1,
        ),
        filled.question("from, to", filled.between(), |number| {
            filled.is_between(number)
        }),
    ])
}

fn combined(filled: &Filled) -> Result<Vec<Question>, Box<dyn Error>> {
    Ok(vec![
        filled.question(
            "created_by, event_type twice",
            EventFilter {
                created_by: Some(person(100)?),
                event_types: vec![RARE_TYPE.into(), EVENT_TYPES[1].into()],
                ..EventFilter::default()
            },
            |number| {
                let typed = is_rare(number) || event_type(number) == EVENT_TYPES[1];
                number % PEOPLE == 100 && typed
            },
        ),
        filled.question(
            "aggregate_type, created_by, from, to",
            EventFilter {
                created_by: Some(person(7)?),
                aggregate_type: of_type()?.aggregate_type,
                ..filled.between()
            },
            |number| {
                let by = number % PEOPLE == 7;
                by && filled.is_of_type(number) && filled.is_between(number)
            },
        ),
    ])
}

fn of_type() -> Result<EventFilter, Box<dyn Error>> {
    Ok(EventFilter {
        aggregate_type: Some(AggregateType::parse(AGGREGATE_TYPES[1])?),
        ..EventFilter::default()
    })
}

fn is_rare(number: u64) -> bool {
    event_type(number) == RARE_TYPE
}

impl Filled {
    const fn middle(&self) -> u64 {
        self.events / 2
    }

    fn aggregates(&self) -> u64 {
        (self.events / EVENTS_EACH).max(1)
    }

    fn is_of_type(&self, number: u64) -> bool {
        index(number % self.aggregates(), 4) == 1
    }

    /// From the middle of the log on, for so many events.
    fn between(&self) -> EventFilter {
        EventFilter {
            from: Some(occurred_at(self.middle())),
            to: Some(occurred_at(self.middle() + SPAN)),
            ..EventFilter::default()
        }
    }

    fn is_between(&self, number: u64) -> bool {
        (self.middle()..=self.middle() + SPAN).contains(&number)
    }

    fn question(
        &self,
        name: &'static str,
        filter: EventFilter,
        is_meant: impl Fn(u64) -> bool,
    ) -> Question {
        let meant = (0..self.events).filter(|number| is_meant(*number));
        Question {
            name,
            filter,
            meant: meant.count() as u64,
        }
    }
}
