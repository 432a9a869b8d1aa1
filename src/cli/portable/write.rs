//! Events on the way out, and what becomes of their secrets.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::SPEC;
use crate::{
    domain::{CreatedBy, redact},
    store::{EventView, RecordedEvent},
};

const JSON: &str = "application/json";

/// Our own form: an event as everywhere, and whether something was left out of it.
#[derive(Serialize)]
struct Own<'a> {
    #[serde(flatten)]
    event: EventView<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    aggregatetype: &'a str,
    version: String,
    position: String,
    schemaversion: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    createdby: Option<&'a str>,
    correlationid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    data: Cow<'a, RawValue>,
}

/// What becomes of secrets on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are left out, and the event says that something is missing.
    LeftOut,
    /// They are written as they are stored.
    Included,
}

/// An event as a line of our own form.
///
/// # Errors
/// None that an event of a store can cause.
pub fn own(event: &RecordedEvent, secrets: Secrets) -> serde_json::Result<String> {
    let (data, redacted) = data_of(event, secrets);
    let event = EventView {
        event_data: data,
        ..EventView::from(event)
    };
    serde_json::to_string(&Own { event, redacted })
}

/// An event as a line that is a `CloudEvent`.
///
/// # Errors
/// None that an event of a store can cause.
pub fn cloud_event(event: &RecordedEvent, secrets: Secrets) -> serde_json::Result<String> {
    let (data, redacted) = data_of(event, secrets);
    let view = EventView::from(event);
    serde_json::to_string(&CloudEvent {
        specversion: SPEC,
        id: view.id.to_string(),
        source: format!("urn:dormouse:{}", view.aggregate_type),
        r#type: view.event_type,
        subject: view.aggregate_id.as_str(),
        time: view.occurred_at,
        datacontenttype: JSON,
        aggregatetype: view.aggregate_type,
        version: view.version.to_string(),
        position: view.position.to_string(),
        schemaversion: view.schema_version,
        createdby: view.created_by.map(CreatedBy::as_str),
        correlationid: view.correlation_id.to_string(),
        causationid: view.causation_id.map(|id| id.to_string()),
        redacted,
        data,
    })
}

/// The data to write, and whether something was left out of it.
fn data_of(event: &RecordedEvent, secrets: Secrets) -> (Cow<'_, RawValue>, bool) {
    if secrets == Secrets::Included {
        return (Cow::Borrowed(&event.data), false);
    }
    let shown = EventView::from(event).event_data;
    if let Cow::Borrowed(shown) = shown {
        return (Cow::Borrowed(shown), false);
    }
    // It was looked at closely; that does not mean that a secret was found.
    let stored = serde_json::from_str::<serde_json::Value>(event.data.get());
    let redacted = stored.map_or(true, |stored| {
        let mut without = stored.clone();
        redact(&mut without);
        without != stored
    });
    (shown, redacted)
}
