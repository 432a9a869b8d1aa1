//! `GET /v1/types`: the aggregate types with their commands and events, as JSON schemas.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    http::{problem::Problem, request::query, runtime},
    runtime::{Schema, TypeDescription},
};

/// The registered aggregate types.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TypesBody {
    /// By name.
    types: Vec<TypeBody>,
}

/// An aggregate type.
#[derive(Serialize, ToSchema)]
#[schema(as = AggregateTypeBody)]
pub(in crate::http) struct TypeBody {
    aggregate_type: &'static str,
    /// How it is stored.
    #[schema(example = "event-sourced")]
    mode: &'static str,
    /// The table of its rows; null where its mode has none.
    state_table: Option<String>,
    /// Its commands, by name.
    commands: Vec<CommandBody>,
    /// Its event types.
    events: Vec<EventTypeBody>,
}

/// A command.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CommandBody {
    command: &'static str,
    /// The JSON schema of its body; `true` where none was told.
    #[schema(value_type = Value)]
    schema: Value,
}

/// An event type.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EventTypeBody {
    event_type: &'static str,
    /// The schema version that is written today.
    schema_version: u32,
    /// The JSON schema of its `event_data`, as readers see it; `true` where none was told.
    #[schema(value_type = Value)]
    schema: Value,
}

/// `GET /v1/types`
pub(in crate::http) async fn types(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let runtime = runtime(&request)?;
    query(&request, &[])?;
    let types = runtime.descriptions().into_iter().map(body).collect();
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(TypesBody { types }))
}

fn body(described: &TypeDescription) -> TypeBody {
    let commands = described.commands.iter();
    let events = described.events.iter();
    TypeBody {
        aggregate_type: described.aggregate_type,
        mode: described.mode.name(),
        state_table: described.state_table.clone(),
        commands: commands
            .map(|(command, schema)| CommandBody {
                command,
                schema: standalone(schema.as_ref()),
            })
            .collect(),
        events: events
            .map(|event| EventTypeBody {
                event_type: event.event_type,
                schema_version: event.schema_version,
                schema: standalone(event.schema.as_ref()),
            })
            .collect(),
    }
}

fn standalone(schema: Option<&Schema>) -> Value {
    schema.map_or(Value::Bool(true), Schema::standalone)
}
