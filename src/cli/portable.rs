//! Events as lines of JSON that leave one log and enter another: our own form, and `CloudEvents` 1.0.
//!
//! A `CloudEvent`'s integers have 32 bits, so version and position are texts there (`CloudEvents` 1.0,
//! section "Type System"); its extension attributes have names of lower-case letters only.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{
        AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, StreamId,
        Version, redact,
    },
    store::{Commit, EventView, NewEvent, RecordedEvent},
};

/// The longest event type that is taken in, in characters.
const MAX_TYPE: usize = 255;
const JSON: &str = "application/json";
const SPEC: &str = "1.0";

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

/// Our own form on the way in. The position is the other log's, and of no use here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnLine<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    aggregate_id: Cow<'a, str>,
    #[serde(borrow)]
    aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_data: &'a RawValue,
    version: u64,
    #[serde(default, rename = "position")]
    _position: serde::de::IgnoredAny,
    #[serde(default = "first_schema")]
    schema_version: u32,
    #[serde(borrow)]
    occurred_at: Cow<'a, str>,
    created_by: Option<Cow<'a, str>>,
    #[serde(borrow)]
    correlation_id: Cow<'a, str>,
    causation_id: Option<Cow<'a, str>>,
    #[serde(default)]
    redacted: bool,
}

/// A `CloudEvent` on the way in; further attributes are none of ours.
#[derive(Deserialize)]
struct CloudLine<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    aggregatetype: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(default = "first_schema")]
    schemaversion: u32,
    createdby: Option<Cow<'a, str>>,
    correlationid: Option<Cow<'a, str>>,
    causationid: Option<Cow<'a, str>>,
    #[serde(default)]
    redacted: bool,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Whether a line is a `CloudEvent`.
#[derive(Deserialize)]
struct Kind {
    specversion: Option<serde::de::IgnoredAny>,
}

const fn first_schema() -> u32 {
    1
}

/// An event that came in, fit to be appended.
#[derive(Debug)]
pub struct Incoming {
    /// A commit of the one event.
    pub commit: Commit,
    /// Whether something was left out of it when it was exported.
    pub redacted: bool,
}

/// What is wrong with a line: the field at fault, where it is one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadLine {
    /// The field, or `the line`.
    pub field: String,
    /// Why it is not taken.
    pub problem: String,
}

fn bad(field: &str, problem: &dyn ToString) -> BadLine {
    BadLine {
        field: field.to_owned(),
        problem: problem.to_string(),
    }
}

/// Reads a line of either form.
///
/// # Errors
/// [`BadLine`] tells the field at fault.
pub fn read(line: &str) -> Result<Incoming, BadLine> {
    let may_be_cloud_event = line.contains("\"specversion\"");
    if may_be_cloud_event && parse::<Kind>(line)?.specversion.is_some() {
        return read_cloud_event(&parse(line)?);
    }
    read_own(&parse(line)?)
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, BadLine> {
    // Which field is at fault costs as much as all the rest, so it is asked where one is.
    if let Ok(read) = serde_json::from_str(line) {
        return Ok(read);
    }
    let mut json = serde_json::Deserializer::from_str(line);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // Broken JSON has a `?`, and JSON may have a name without a letter: neither names a field.
        let is_named = !matches!(path.as_str(), "." | "?" | "");
        bad(if is_named { &path } else { "the line" }, &error.inner())
    })?;
    json.end().map_err(|error| bad("the line", &error))?;
    Ok(read)
}

/// Whose event a line of either form is.
#[derive(Deserialize)]
struct Whose<'a> {
    specversion: Option<serde::de::IgnoredAny>,
    aggregate_type: Option<Cow<'a, str>>,
    aggregate_id: Option<Cow<'a, str>>,
    aggregatetype: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
}

/// The aggregate of a line that was read before; nothing where it is none that [`read`] takes.
pub(super) fn stream_of(line: &str) -> Option<StreamId> {
    let whose: Whose<'_> = serde_json::from_str(line).ok()?;
    let (aggregate_type, aggregate_id) = match whose.specversion {
        Some(_) => (whose.aggregatetype?, whose.subject?),
        None => (whose.aggregate_type?, whose.aggregate_id?),
    };
    Some(StreamId {
        aggregate_type: AggregateType::parse(aggregate_type.into_owned()).ok()?,
        aggregate_id: AggregateId::parse(&aggregate_id).ok()?,
    })
}

/// The fields of either form, with the names they have in it.
struct Fields<'a> {
    id: (&'static str, &'a str),
    aggregate_type: (&'static str, &'a str),
    aggregate_id: (&'static str, &'a str),
    version: u64,
    event_type: (&'static str, &'a str),
    schema_version: (&'static str, u32),
    occurred_at: (&'static str, &'a str),
    created_by: (&'static str, Option<&'a str>),
    correlation_id: (&'static str, &'a str),
    causation_id: (&'static str, Option<&'a str>),
    data: &'a RawValue,
}

fn read_own(line: &OwnLine<'_>) -> Result<Incoming, BadLine> {
    let commit = commit(&Fields {
        id: ("id", &line.id),
        aggregate_type: ("aggregate_type", &line.aggregate_type),
        aggregate_id: ("aggregate_id", &line.aggregate_id),
        version: line.version,
        event_type: ("event_type", &line.event_type),
        schema_version: ("schema_version", line.schema_version),
        occurred_at: ("occurred_at", &line.occurred_at),
        created_by: ("created_by", line.created_by.as_deref()),
        correlation_id: ("correlation_id", &line.correlation_id),
        causation_id: ("causation_id", line.causation_id.as_deref()),
        data: line.event_data,
    })?;
    let redacted = line.redacted;
    Ok(Incoming { commit, redacted })
}

fn read_cloud_event(line: &CloudLine<'_>) -> Result<Incoming, BadLine> {
    if line.specversion != SPEC {
        return Err(bad("specversion", &"must be 1.0"));
    }
    let version = line.version.parse();
    let version = version.map_err(|_| bad("version", &"must be a whole number as text"))?;
    let commit = commit(&Fields {
        id: ("id", &line.id),
        aggregate_type: ("aggregatetype", &line.aggregatetype),
        aggregate_id: ("subject", &line.subject),
        version,
        event_type: ("type", &line.r#type),
        schema_version: ("schemaversion", line.schemaversion),
        occurred_at: ("time", &line.time),
        created_by: ("createdby", line.createdby.as_deref()),
        // An event that says nothing of other events is a piece of work of its own.
        correlation_id: (
            "correlationid",
            line.correlationid.as_deref().unwrap_or(&line.id),
        ),
        causation_id: ("causationid", line.causationid.as_deref()),
        data: line.data,
    })?;
    let redacted = line.redacted;
    Ok(Incoming { commit, redacted })
}

fn commit(fields: &Fields<'_>) -> Result<Commit, BadLine> {
    fn of<T, E: ToString>(
        (name, text): (&str, &str),
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, BadLine> {
        parse(text).map_err(|error| bad(name, &error))
    }
    if fields.version == 0 || i64::try_from(fields.version).is_err() {
        return Err(bad("version", &"must be at least 1"));
    }
    let (name, event_type) = fields.event_type;
    let length = event_type.chars().count();
    if !(1..=MAX_TYPE).contains(&length) || event_type.chars().any(char::is_control) {
        let problem = "must be 1 to 255 characters, none of them a control character";
        return Err(bad(name, &problem));
    }
    let (name, schema_version) = fields.schema_version;
    if schema_version == 0 || i32::try_from(schema_version).is_err() {
        return Err(bad(name, &"must be at least 1"));
    }
    let occurred_at = of(fields.occurred_at, chrono::DateTime::parse_from_rfc3339)?;
    let (by, causation) = (fields.created_by, fields.causation_id);
    Ok(Commit {
        stream: StreamId {
            aggregate_type: of(fields.aggregate_type, |text| {
                AggregateType::parse(text.to_owned())
            })?,
            aggregate_id: of(fields.aggregate_id, AggregateId::parse)?,
        },
        expected: Version::new(fields.version - 1),
        events: vec![NewEvent {
            id: of(fields.id, str::parse::<EventId>)?,
            event_type: event_type.to_owned().into(),
            schema_version,
            data: fields.data.to_owned(),
        }],
        occurred_at: occurred_at.to_utc(),
        created_by: by
            .1
            .map(|text| of((by.0, text), CreatedBy::parse))
            .transpose()?,
        correlation_id: of(fields.correlation_id, str::parse::<CorrelationId>)?,
        causation_id: causation
            .1
            .map(|text| of((causation.0, text), str::parse::<CausationId>))
            .transpose()?,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use ulid::Ulid;

    use super::*;
    use crate::domain::Position;

    fn event(data: &str) -> RecordedEvent {
        RecordedEvent {
            id: EventId(Ulid::from_parts(1, 1)),
            stream: StreamId {
                aggregate_type: AggregateType::parse("User").unwrap(),
                aggregate_id: AggregateId::parse("u1").unwrap(),
            },
            event_type: "UserCreatedEvent".into(),
            schema_version: 2,
            data: RawValue::from_string(data.to_owned()).unwrap(),
            version: Version::new(3),
            position: Position::new(5_000_000_000),
            occurred_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
            created_by: CreatedBy::parse("ada").ok(),
            correlation_id: CorrelationId(Ulid::from_parts(1, 2)),
            causation_id: Some(CausationId(Ulid::from_parts(1, 3))),
        }
    }

    #[test]
    fn an_event_comes_in_as_it_went_out_in_either_form() {
        let event = event(r#"{"a":[1,"specversion"],"p":{"$secret":"x"}}"#);
        for write in [own, cloud_event] {
            let line = write(&event, Secrets::Included).unwrap();
            let back = read(&line).unwrap();

            let commit = back.commit;
            assert_eq!(commit.stream, event.stream, "{line}");
            assert_eq!(commit.version_after(), event.version);
            assert_eq!(commit.events[0].id, event.id);
            assert_eq!(commit.events[0].event_type, event.event_type);
            assert_eq!(commit.events[0].schema_version, 2);
            assert_eq!(commit.events[0].data.get(), event.data.get());
            assert_eq!(commit.occurred_at, event.occurred_at);
            assert_eq!(commit.created_by, event.created_by);
            assert_eq!(commit.correlation_id, event.correlation_id);
            assert_eq!(commit.causation_id, event.causation_id);
            assert!(!back.redacted);
            assert_eq!(stream_of(&line), Some(event.stream.clone()), "{line}");
        }
    }

    #[test]
    fn secrets_are_left_out_and_the_event_says_so() {
        let secret = event(r#"{"a":1,"p":{"$secret":"hunter2"}}"#);
        let escaped = event(r#"{"a":"\u0001"}"#);
        for write in [own, cloud_event] {
            let line = write(&secret, Secrets::LeftOut).unwrap();
            assert!(
                !line.contains("hunter2") && !line.contains("$secret"),
                "{line}"
            );
            assert!(read(&line).unwrap().redacted);

            let line = write(&escaped, Secrets::LeftOut).unwrap();
            assert!(!read(&line).unwrap().redacted, "{line}");
        }
    }

    #[test]
    fn the_integers_of_a_cloud_event_fit_its_type_system() {
        let line = cloud_event(&event("{}"), Secrets::LeftOut).unwrap();

        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["position"], json!("5000000000"));
        assert_eq!(line["specversion"], json!("1.0"));
        assert_eq!(line["source"], json!("urn:dormouse:User"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let good: Value =
            serde_json::from_str(&own(&event("{}"), Secrets::LeftOut).unwrap()).unwrap();
        let wrong = [
            ("id", json!("42")),
            ("id", json!(42)),
            ("aggregate_type", json!("a b")),
            ("aggregate_id", json!("")),
            ("event_type", json!("a\nb")),
            ("version", json!(0)),
            ("version", json!("1")),
            ("schema_version", json!(0)),
            ("occurred_at", json!("yesterday")),
            ("created_by", json!("")),
            ("correlation_id", json!(null)),
            ("causation_id", json!("x")),
        ];
        for (field, value) in wrong {
            let mut line = good.clone();
            line[field] = value;
            let error = read(&line.to_string()).err().unwrap();
            assert_eq!(error.field, field, "{error}");
        }
        let mut unknown = good;
        unknown["colour"] = json!("red");
        assert!(
            read(&unknown.to_string())
                .err()
                .unwrap()
                .to_string()
                .contains("colour")
        );
        for broken in ["", "[]", "{", "{}", "null", "{\"\":1}", "{\"\"x"] {
            let error = read(broken).err().unwrap();
            assert_eq!(error.field, "the line", "{broken}");
        }
    }
}
