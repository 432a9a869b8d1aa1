//! An event as it is shown to whoever may read: over HTTP, in streams and on a shell.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use super::RecordedEvent;
use crate::domain::{
    AggregateId, CausationId, CorrelationId, CreatedBy, EventId, Position, Version, redacted,
};

/// An event with the names and forms of the HTTP contract, and without its secrets.
#[derive(Debug, Clone, Serialize)]
pub struct EventView<'a> {
    /// Its identity.
    pub id: EventId,
    /// The id of its aggregate.
    pub aggregate_id: &'a AggregateId,
    /// The type of its aggregate.
    pub aggregate_type: &'a str,
    /// Its type.
    pub event_type: &'a str,
    /// Its data, without secrets.
    pub event_data: Cow<'a, RawValue>,
    /// Its number in the aggregate.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
    /// The schema version of its data.
    pub schema_version: u32,
    /// When it happened: RFC 3339 in UTC with microseconds.
    pub occurred_at: String,
    /// Who sent its command.
    pub created_by: Option<&'a CreatedBy>,
    /// Its correlation.
    pub correlation_id: CorrelationId,
    /// What caused its command.
    pub causation_id: Option<CausationId>,
}

impl<'a> From<&'a RecordedEvent> for EventView<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            id: event.id,
            aggregate_id: &event.stream.aggregate_id,
            aggregate_type: event.stream.aggregate_type.as_str(),
            event_type: &event.event_type,
            event_data: redacted(&event.data),
            version: event.version,
            position: event.position,
            schema_version: event.schema_version,
            occurred_at: event
                .occurred_at
                .to_rfc3339_opts(SecondsFormat::Micros, true),
            created_by: event.created_by.as_ref(),
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
        }
    }
}
