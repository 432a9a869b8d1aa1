//! Schemas that many routes have in common.

use serde_json::{Value, json};

use super::operation::Operation;

/// The schema, or null.
pub(super) fn maybe(schema: &Value) -> Value {
    json!({ "oneOf": [schema, { "type": "null" }] })
}

pub(super) fn aggregate_id() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._:-]+$",
    })
}

/// A ULID as it may be sent, in either case.
pub(super) fn sent_ulid() -> Value {
    json!({ "type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$" })
}

/// Who sent a command, as it may be sent.
pub(super) fn created_by() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 26, "pattern": "^[!-~]+$" })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn whole() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX })
}

pub(super) fn ulid() -> Value {
    json!({ "type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$" })
}

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn limit(operation: Operation) -> Operation {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
    operation.query("limit", &limit, "How many at most.")
}

/// An event, here and everywhere.
pub(super) fn event() -> Value {
    object(&[
        ("id", ulid()),
        ("aggregate_id", text()),
        ("aggregate_type", text()),
        ("event_type", text()),
        (
            "event_data",
            json!({ "description": "Without its secrets." }),
        ),
        ("version", whole()),
        ("position", whole()),
        ("schema_version", whole()),
        ("occurred_at", time()),
        ("created_by", maybe(&text())),
        ("correlation_id", ulid()),
        ("causation_id", maybe(&ulid())),
    ])
}

/// An object with exactly these members.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<String, Value> = members
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

pub(super) fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

pub(super) fn etag() -> Value {
    json!({ "type": "string", "pattern": "^\"[0-9]+\"$" })
}
