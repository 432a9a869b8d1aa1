//! What can be asked of the log: filters that may be combined, an order, and pages by position.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};

use super::RecordedEvent;
use crate::domain::{AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, Position};

/// Which events are meant: those that meet every condition that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of aggregates of this type.
    pub aggregate_type: Option<AggregateType>,
    /// Of aggregates with this id.
    pub aggregate_id: Option<AggregateId>,
    /// Of one of these types; of any where it is empty.
    pub event_types: Vec<String>,
    /// Sent by this one.
    pub created_by: Option<CreatedBy>,
    /// Of this correlation.
    pub correlation_id: Option<CorrelationId>,
    /// Caused by this.
    pub causation_id: Option<CausationId>,
    /// Not before this time.
    pub from: Option<DateTime<Utc>>,
    /// Not after this time.
    pub to: Option<DateTime<Utc>>,
}

impl EventFilter {
    /// Whether it asks for times and for nothing that few events have in common: then the times
    /// are worth looking up first.
    pub(in crate::store) const fn is_mainly_of_times(&self) -> bool {
        (self.from.is_some() || self.to.is_some())
            && self.aggregate_id.is_none()
            && self.correlation_id.is_none()
            && self.causation_id.is_none()
    }

    /// Whether an event is meant.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.aggregate_type.as_ref(), &event.stream.aggregate_type)
            && is(self.aggregate_id.as_ref(), &event.stream.aggregate_id)
            && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
            && (self.created_by.is_none() || self.created_by == event.created_by)
            && is(self.correlation_id.as_ref(), &event.correlation_id)
            && (self.causation_id.is_none() || self.causation_id == event.causation_id)
            && self.from.is_none_or(|from| event.occurred_at >= from)
            && self.to.is_none_or(|to| event.occurred_at <= to)
    }
}

/// In which order events are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// By position, the oldest first.
    #[default]
    Ascending,
    /// By position, the newest first.
    Descending,
}

/// One page of the log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Which events.
    pub filter: EventFilter,
    /// In which order.
    pub order: Order,
    /// Where the page before ended, exclusive; nothing for the first page.
    pub after: Option<Position>,
    /// How many events at most.
    pub limit: u32,
}

/// What was found, and how far the answer reaches.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The events, in the order asked for.
    pub events: Vec<RecordedEvent>,
    /// In ascending order: every event up to this position that is meant has been read with this
    /// page or before it, so the next page may start after it. It is the last event's position
    /// on a full page, and the log's last position as of the same view on one that is not full;
    /// never less than where an ascending page was to start.
    pub read_to: Position,
}

impl LogPage {
    /// The answer to a query: the events found, and the log's last position in the view they
    /// were found in.
    #[must_use]
    pub fn new(query: &LogQuery, mut events: Vec<RecordedEvent>, last: Position) -> Self {
        // They come in order as a rule, and are then only compared.
        match query.order {
            Order::Ascending => events.sort_by_key(|event| event.position),
            Order::Descending => events.sort_by_key(|event| Reverse(event.position)),
        }
        let full = events.len() as u64 >= u64::from(query.limit);
        let reached = match query.order {
            Order::Ascending => last.max(query.after.unwrap_or(Position::ZERO)),
            Order::Descending => last,
        };
        let read_to = match events.last() {
            Some(event) if full => event.position,
            // Nothing was asked for, so nothing has been read.
            None if full => query.after.unwrap_or(Position::ZERO),
            Some(_) | None => reached,
        };
        Self { events, read_to }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use ulid::Ulid;

    use super::*;
    use crate::domain::{EventId, StreamId, Version};

    fn event() -> RecordedEvent {
        RecordedEvent {
            id: EventId(Ulid::from_parts(1, 1)),
            stream: StreamId {
                aggregate_type: AggregateType::parse("User").unwrap(),
                aggregate_id: AggregateId::parse("u1").unwrap(),
            },
            event_type: "UserCreatedEvent".into(),
            schema_version: 1,
            data: RawValue::from_string("{}".into()).unwrap(),
            version: Version::new(1),
            position: Position::new(1),
            occurred_at: DateTime::from_timestamp(100, 0).unwrap(),
            created_by: Some(CreatedBy::parse("ada").unwrap()),
            correlation_id: CorrelationId(Ulid::from_parts(1, 2)),
            causation_id: None,
        }
    }

    #[test]
    fn every_condition_that_is_set_must_be_met() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let all = EventFilter {
            aggregate_type: AggregateType::parse("User").ok(),
            aggregate_id: AggregateId::parse("u1").ok(),
            event_types: vec!["Other".into(), "UserCreatedEvent".into()],
            created_by: CreatedBy::parse("ada").ok(),
            correlation_id: Some(event().correlation_id),
            causation_id: None,
            from: at(100),
            to: at(100),
        };
        assert!(EventFilter::default().matches(&event()));
        assert!(all.matches(&event()));

        let misses: [fn(&mut EventFilter); 8] = [
            |filter| filter.aggregate_type = AggregateType::parse("Role").ok(),
            |filter| filter.aggregate_id = AggregateId::parse("u2").ok(),
            |filter| filter.event_types = vec!["Other".into()],
            |filter| filter.created_by = CreatedBy::parse("bob").ok(),
            |filter| filter.correlation_id = Some(CorrelationId(Ulid::nil())),
            |filter| filter.causation_id = Some(CausationId(Ulid::nil())),
            |filter| filter.from = DateTime::from_timestamp(101, 0),
            |filter| filter.to = DateTime::from_timestamp(99, 0),
        ];
        for (index, miss) in misses.iter().enumerate() {
            let mut filter = all.clone();
            miss(&mut filter);
            assert!(!filter.matches(&event()), "condition {index}");
        }
    }
}
