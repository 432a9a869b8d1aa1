//! What is said of the routes to the whole log.

use serde_json::json;

use super::{
    operation::{Answer, Operation},
    shapes::{
        self, aggregate_id, created_by, limit, list, maybe, object, sent_ulid, time, ulid, whole,
    },
};
use crate::http::problem::Code;

/// The filters that the audit and the stream have in common.
fn filtered(operation: Operation) -> Operation {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$" });
    let types = json!({
        "type": "array", "maxItems": 100,
        "items": { "type": "string", "minLength": 1, "maxLength": 64 },
    });
    operation
        .query("aggregate_type", &name, "Only of this aggregate type.")
        .query(
            "aggregate_id",
            &aggregate_id(),
            "Only of the aggregate with this id.",
        )
        .query(
            "event_type",
            &types,
            "Only of these event types; it may repeat.",
        )
        .query(
            "created_by",
            &created_by(),
            "Only of commands that were sent by this.",
        )
        .query("correlation_id", &sent_ulid(), "Only of this correlation.")
        .query("causation_id", &sent_ulid(), "Only of this cause.")
        .query("from", &time(), "Not before this time.")
        .query("to", &time(), "Not after this time.")
}

pub(in crate::http) fn events() -> Operation {
    let order = json!({ "type": "string", "enum": ["asc", "desc"], "default": "asc" });
    let body = object(&[
        ("events", list(&shapes::event())),
        ("next", maybe(&whole())),
    ]);
    limit(filtered(Operation::new(
        "events",
        "Events of the whole log, by position",
    )))
    .query(
        "after",
        &whole(),
        "A position, exclusive: the `next` of the page before.",
    )
    .query("order", &order, "Oldest first, or newest.")
    .answers(Answer::json(200, body, "A page of events."))
    .problems(&[Code::StoreUnavailable])
}

pub(in crate::http) fn event() -> Operation {
    Operation::new("events", "One event")
        .answers(Answer::json(200, shapes::event(), "The event."))
        .problems(&[Code::NotFound, Code::StoreUnavailable])
}

pub(in crate::http) fn trace() -> Operation {
    let node = object(&[
        ("event", shapes::event()),
        (
            "effects",
            json!({ "type": "array", "description": "Nodes like this one." }),
        ),
    ]);
    let body = object(&[
        ("correlation_id", ulid()),
        (
            "truncated",
            json!({ "type": "boolean", "description": "Whether there are more events." }),
        ),
        ("roots", list(&node)),
    ]);
    Operation::new(
        "events",
        "Every event of the same correlation, as a tree by causation",
    )
    .answers(Answer::json(200, body, "The trace."))
    .problems(&[Code::NotFound, Code::StoreUnavailable])
}

pub(in crate::http) fn stream() -> Operation {
    let id = json!({ "type": "string", "pattern": "^[0-9]+$" });
    filtered(Operation::new(
        "events",
        "Events as they come, as server-sent events",
    ))
    .query(
        "after",
        &whole(),
        "A position, exclusive, to begin after; stored events come first.",
    )
    .header(
        "Last-Event-ID",
        &id,
        "The position to resume after; it wins over `after`.",
    )
    .answers(Answer::text(
        "text/event-stream",
        "`id:` is the position, `event:` the event type, `data:` the event on one line.",
    ))
    .answers(Answer::empty(
        204,
        "Nothing that is asked for can come any more.",
    ))
    .problems(&[Code::NotFound, Code::Overloaded, Code::StoreUnavailable])
}
