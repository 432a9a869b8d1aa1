//! Events on the way in: a line of either form becomes a commit, or tells the field at fault.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::SPEC;
use crate::{
    domain::{
        AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, StreamId,
        Version,
    },
    store::{Commit, NewEvent},
};

/// The longest event type that is taken in, in characters.
const MAX_TYPE: usize = 255;

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
pub(in crate::cli) fn stream_of(line: &str) -> Option<StreamId> {
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
