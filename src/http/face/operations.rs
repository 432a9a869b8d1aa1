//! What is said of each route, in the order of the list.

use serde_json::{Value, json};

use super::{
    operation::{Answer, Operation},
    runtime::RuntimeBody,
    shapes::{
        aggregate_id, created_by, etag, event, limit, list, maybe, object, sent_ulid, text, time,
        ulid, whole,
    },
    types::TypesBody,
};
use crate::http::{
    login::{LoginBody, LoginRequest},
    problem::Code,
};

const COMMAND_PROBLEMS: &[Code] = &[
    Code::InvalidJson,
    Code::InvalidCommand,
    Code::UnknownAggregateType,
    Code::UnknownCommand,
    Code::ClaimTaken,
    Code::WriteConflict,
    Code::VersionMismatch,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::CommandRejected,
    Code::IdempotencyKeyReused,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::CommandTimeout,
];

const READ_PROBLEMS: &[Code] = &[
    Code::UnknownAggregateType,
    Code::AggregateNotFound,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::CommandTimeout,
];

pub(in crate::http) fn command() -> Operation {
    commanded("Send a command to an aggregate")
}

pub(in crate::http) fn new_aggregate() -> Operation {
    commanded("Send a command to a new aggregate, whose id the server gives")
}

fn commanded(summary: &'static str) -> Operation {
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" });
    let timeout = json!({ "type": "integer", "minimum": 1, "maximum": 60000, "default": 10000 });
    Operation::new("commands", summary)
        .header(
            "Idempotency-Key",
            &key,
            "The same key with the same command answers the first receipt again.",
        )
        .header(
            "If-Match",
            &etag(),
            "The version the aggregate must be at, in quotes.",
        )
        .header(
            "If-None-Match",
            &json!({ "type": "string", "enum": ["*"] }),
            "The aggregate must not exist yet.",
        )
        .header(
            "X-Correlation-Id",
            &sent_ulid(),
            "Stored with every event; made where it is absent.",
        )
        .header("X-Causation-Id", &sent_ulid(), "Stored with every event.")
        .header(
            "X-Created-By",
            &created_by(),
            "Stored with every event where no tokens are asked for; else the token's subject is.",
        )
        .header(
            "X-Timeout-Ms",
            &timeout,
            "A command that still waits then is dropped unhandled.",
        )
        .takes_body()
        .answers(answered(
            200,
            "It changed an aggregate, or found nothing to change.",
        ))
        .answers(answered(201, "It made the aggregate.").header("Location", text(), "Its path."))
        .problems(COMMAND_PROBLEMS)
}

fn answered(status: u16, description: &'static str) -> Answer {
    let event = object(&[
        ("id", ulid()),
        ("event_type", text()),
        ("version", whole()),
        ("position", whole()),
    ]);
    let body = object(&[
        ("aggregate_type", text()),
        ("aggregate_id", text()),
        ("version", whole()),
        ("position", whole()),
        ("correlation_id", ulid()),
        ("events", list(&event)),
    ]);
    Answer::json(status, body, description)
        .header("ETag", etag(), "The version after the command.")
        .header(
            "Idempotency-Replayed",
            json!({ "type": "string", "enum": ["true"] }),
            "Whether this is the answer of an earlier command under the same key.",
        )
}

pub(in crate::http) fn history() -> Operation {
    let next = maybe(&whole());
    let body = object(&[("events", list(&event())), ("next", next)]);
    limit(Operation::new(
        "aggregates",
        "The events of an aggregate, ascending",
    ))
    .query("from_version", &whole(), "The first version to show.")
    .answers(Answer::json(200, body, "A page of events."))
    .problems(READ_PROBLEMS)
}

pub(in crate::http) fn state() -> Operation {
    let body = object(&[
        ("aggregate_type", text()),
        ("aggregate_id", text()),
        ("version", whole()),
        ("state", json!({ "description": "Without its secrets." })),
    ]);
    let answer = Answer::json(200, body, "The state after every acknowledged command.");
    let version = json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX });
    Operation::new("aggregates", "The state of an aggregate, now or as it was")
        .query(
            "version",
            &version,
            "As it was at this version; excludes `at`.",
        )
        .query("at", &time(), "As it was at this time; excludes `version`.")
        .answers(answer.header("ETag", etag(), "Its version."))
        .problems(READ_PROBLEMS)
}

pub(in crate::http) fn aggregates() -> Operation {
    let aggregate = object(&[
        ("aggregate_id", text()),
        ("version", whole()),
        ("updated_at", time()),
    ]);
    let body = object(&[("aggregates", list(&aggregate)), ("next", maybe(&text()))]);
    limit(Operation::new(
        "aggregates",
        "The aggregates of a type that have events, by id",
    ))
    .query("after", &aggregate_id(), "The `next` of the page before.")
    .answers(Answer::json(200, body, "A page of aggregates."))
    .problems(&[Code::UnknownAggregateType, Code::StoreUnavailable])
}

pub(in crate::http) fn read_model() -> Operation {
    let next = maybe(&text());
    let rows = json!({ "type": "object", "required": ["next"], "properties": { "next": next } });
    let behind = object(&[
        ("projection", text()),
        ("position", whole()),
        ("building", json!({ "type": "boolean" })),
    ]);
    let at = |answer: Answer| answer.header("X-Position", whole(), "The position it reflects.");
    limit(Operation::new("read models", "A page of a read model"))
        .query("after", &text(), "The `next` of the page before.")
        .query(
            "after_position",
            &whole(),
            "Wait until the model reflects this position.",
        )
        .query(
            "wait_ms",
            &whole(),
            "How long to wait for `after_position`.",
        )
        .answers(at(Answer::json(200, rows, "Rows, under the model's name.")))
        .answers(at(Answer::json(
            202,
            behind,
            "It has not come that far yet.",
        )))
        .problems(&[Code::StoreUnavailable])
}

pub(in crate::http) fn types() -> Operation {
    Operation::new(
        "service",
        "The aggregate types with their commands and events",
    )
    .answers(Answer::typed::<TypesBody>(200, "Types", "The types."))
}

pub(in crate::http) fn runtime() -> Operation {
    let order = json!({ "type": "string", "enum": ["depth", "id"], "default": "depth" });
    let after = json!({ "type": "string", "pattern": "^[^/]*/.*$" });
    limit(Operation::new(
        "service",
        "What the process is doing, down to each live aggregate",
    ))
    .query(
        "aggregate_type",
        &text(),
        "Only live aggregates of this type.",
    )
    .query(
        "order",
        &order,
        "Those with most unanswered first, or by type and id.",
    )
    .query(
        "after",
        &after,
        "With `order=id`: the `next` of the page before.",
    )
    .answers(Answer::typed::<RuntimeBody>(
        200,
        "Runtime",
        "What it is doing.",
    ))
    .problems(&[Code::UnknownAggregateType])
}

pub(in crate::http) fn login() -> Operation {
    Operation::new("service", "A token for a username and a password")
        .takes::<LoginRequest>("LoginRequest")
        .answers(Answer::typed::<LoginBody>(200, "Login", "A token."))
        .problems(&[
            Code::InvalidJson,
            Code::Unauthenticated,
            Code::NotFound,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
            Code::RateLimited,
            Code::Overloaded,
            Code::StoreUnavailable,
        ])
}

fn status(word: &str) -> Value {
    object(&[("status", json!({ "type": "string", "enum": [word] }))])
}

pub(in crate::http) fn livez() -> Operation {
    Operation::new("service", "Whether the process answers").answers(Answer::json(
        200,
        status("alive"),
        "It does.",
    ))
}

pub(in crate::http) fn readyz() -> Operation {
    Operation::new("service", "Whether the process can serve")
        .answers(Answer::json(200, status("ready"), "It can."))
        .problems(&[Code::StoreUnavailable])
}

pub(in crate::http) fn metrics() -> Operation {
    Operation::new("service", "What the process counted, for Prometheus").answers(Answer::text(
        "text/plain",
        "Prometheus' text format, 0.0.4.",
    ))
}

pub(in crate::http) fn openapi() -> Operation {
    let document = json!({ "type": "object" });
    Operation::new("service", "This document").answers(Answer::json(200, document, "OpenAPI 3.1."))
}

pub(in crate::http) fn docs() -> Operation {
    Operation::new("service", "This document, to read and to try")
        .answers(Answer::text("text/html", "A page."))
}

pub(in crate::http) fn docs_file() -> Operation {
    Operation::new("service", "What the page at /docs is made of")
        .answers(Answer::text("*/*", "A script, a style or a picture."))
}
