//! The OpenAPI document, from the list of routes, the registered types and the read models.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    operation::{Answer, Body, Operation},
    shapes::{aggregate_id, sent_ulid},
};
use crate::{
    http::{
        auth::Need,
        problem::Code,
        routes::{ENDPOINTS, Endpoint, Verb},
    },
    runtime::{Schema, TypeDescription},
};

/// A read model's path and parameters.
pub(in crate::http) struct ModelDescription {
    pub(in crate::http) path: &'static str,
    pub(in crate::http) parameters: &'static [&'static str],
}

const MODEL: &str = "{model}";
const TYPE: &str = "{type}";
const COMMAND: &str = "{command}";

/// The whole document. Beside each route that takes the name of a command or of a read model stand
/// the routes that there are, with their own bodies and parameters. Each that a token is asked for at
/// (`asks_for_token`) says which right it needs.
pub(super) fn document(
    types: &[&TypeDescription],
    models: &[ModelDescription],
    asks_for_token: &dyn Fn(Need) -> bool,
) -> Value {
    let mut writer = Writer::new(types, models, asks_for_token);
    for endpoint in ENDPOINTS {
        let operation = (endpoint.operation)();
        if endpoint.path.contains(COMMAND) {
            for described in types {
                for (command, schema) in &described.commands {
                    writer.command(endpoint, &operation, described, command, schema.as_ref());
                }
            }
        }
        if endpoint.path.contains(MODEL) {
            for model in models {
                let path = endpoint.path.replace(MODEL, model.path);
                let text = json!({ "type": "string" });
                let parameters = model.parameters.iter();
                let parameters = parameters.map(|name| parameter("query", name, &text, ""));
                writer.path(endpoint, &path, &operation, parameters.collect(), None);
            }
        }
        let body = operation.body.clone().map(|body| writer.body(body));
        writer.path(endpoint, endpoint.path, &operation, Vec::new(), body);
    }
    writer.finish()
}

struct Writer<'a> {
    asks_for_token: &'a dyn Fn(Need) -> bool,
    paths: Map<String, Value>,
    components: Map<String, Value>,
    type_names: Vec<&'static str>,
    model_paths: Vec<&'static str>,
}

impl<'a> Writer<'a> {
    fn new(
        types: &[&TypeDescription],
        models: &[ModelDescription],
        asks_for_token: &'a dyn Fn(Need) -> bool,
    ) -> Self {
        let mut components = Map::new();
        components.insert("Problem".to_owned(), problem());
        for described in types {
            let name = described.aggregate_type;
            for event in &described.events {
                if let Some(schema) = &event.schema {
                    let written = schema.in_components(name, &mut components);
                    components.insert(format!("{name}.{}", event.event_type), written);
                }
            }
        }
        Self {
            asks_for_token,
            paths: Map::new(),
            components,
            type_names: types.iter().map(|known| known.aggregate_type).collect(),
            model_paths: models.iter().map(|model| model.path).collect(),
        }
    }

    fn command(
        &mut self,
        endpoint: &Endpoint,
        operation: &Operation,
        described: &TypeDescription,
        command: &str,
        schema: Option<&Schema>,
    ) {
        let name = described.aggregate_type;
        let body = schema.map_or_else(
            || json!({ "type": "object" }),
            |schema| {
                let written = schema.in_components(name, &mut self.components);
                let component = format!("{name}.{command}");
                self.components.insert(component.clone(), written);
                json!({ "$ref": format!("#/components/schemas/{component}") })
            },
        );
        let path = endpoint.path.replace(TYPE, name).replace(COMMAND, command);
        self.path(endpoint, &path, operation, Vec::new(), Some(body));
    }

    fn path(
        &mut self,
        endpoint: &Endpoint,
        path: &str,
        operation: &Operation,
        own: Vec<Value>,
        body: Option<Value>,
    ) {
        let mut parameters = self.path_parameters(path);
        parameters.extend(operation.parameters.iter().cloned());
        parameters.extend(own);
        let mut written = json!({
            "tags": [operation.tag],
            "summary": operation.summary,
            "parameters": parameters,
        });
        if (self.asks_for_token)(endpoint.need) {
            // Roles of a scheme that has none of its own (OpenAPI 3.1, Security Requirement).
            written["security"] = json!([{ "token": endpoint.need.rights(path) }]);
        }
        if let Some(body) = body {
            written["requestBody"] = json!({
                // No body is the empty object, which most commands do not take.
                "required": true,
                "content": { "application/json": { "schema": body } },
            });
        }
        let mut item = Map::new();
        match endpoint.verb {
            Verb::Get => {
                let mut head = written.clone();
                head["responses"] = self.responses(endpoint, operation, path, true);
                written["responses"] = self.responses(endpoint, operation, path, false);
                item.insert("get".to_owned(), named(written, "get", path));
                item.insert("head".to_owned(), named(head, "head", path));
            }
            Verb::Post => {
                written["responses"] = self.responses(endpoint, operation, path, false);
                item.insert("post".to_owned(), named(written, "post", path));
            }
        }
        self.paths.insert(path.to_owned(), Value::Object(item));
    }

    fn path_parameters(&self, path: &str) -> Vec<Value> {
        let names = path.split('/').filter_map(|part| {
            let inside = part.strip_prefix('{')?;
            inside.strip_suffix('}')
        });
        let of_event = path.starts_with("/v1/events/");
        let text = json!({ "type": "string", "minLength": 1 });
        let parameters = names.map(|name| {
            let (schema, description) = match name {
                "type" => (
                    json!({ "type": "string", "enum": self.type_names }),
                    "An aggregate type.",
                ),
                "id" if of_event => (sent_ulid(), "An event."),
                "id" => (aggregate_id(), "An aggregate of the type."),
                "model" => (
                    json!({ "type": "string", "enum": self.model_paths }),
                    "A read model.",
                ),
                "command" => (text.clone(), "A command of the type."),
                _ => (text.clone(), ""),
            };
            parameter("path", name, &schema, description)
        });
        parameters.collect()
    }

    fn responses(
        &mut self,
        endpoint: &Endpoint,
        operation: &Operation,
        path: &str,
        head: bool,
    ) -> Value {
        let mut responses = Map::new();
        for answer in &operation.answers {
            let mut response = json!({ "description": answer.description });
            let headers = answer.headers();
            if !headers.is_empty() {
                response["headers"] = Value::Object(headers);
            }
            if let (Some(schema), false) = (self.schema(answer), head) {
                response["content"] = json!({ answer.media_type: { "schema": schema } });
            }
            responses.insert(answer.status.to_string(), response);
        }
        let mut codes = operation.problems.clone();
        if path.contains('{') {
            codes.push(Code::NotFound);
        }
        if endpoint.need.is_protected() {
            codes.extend([Code::Unauthenticated, Code::StoreUnavailable]);
            if !endpoint.need.rights(path).is_empty() {
                codes.push(Code::Forbidden);
            }
        }
        for (status, response) in problems(&codes, head) {
            responses.insert(status.to_string(), response);
        }
        Value::Object(responses)
    }

    fn body(&mut self, body: Body) -> Value {
        match body {
            Body::None => json!({ "type": "object" }),
            Body::Plain(schema) => schema,
            Body::Typed(name, schema) => self.typed(name, &schema),
        }
    }

    fn typed(&mut self, name: &str, schema: &Schema) -> Value {
        let written = schema.in_components("dormouse", &mut self.components);
        let component = format!("dormouse.{name}");
        self.components.insert(component.clone(), written);
        json!({ "$ref": format!("#/components/schemas/{component}") })
    }

    fn schema(&mut self, answer: &Answer) -> Option<Value> {
        match &answer.body {
            Body::None => None,
            Body::Plain(schema) => Some(schema.clone()),
            Body::Typed(name, schema) => Some(self.typed(name, schema)),
        }
    }

    fn finish(self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "dormouse",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Aggregates with a history: commands, states, events.",
                "license": { "name": "MIT", "identifier": "MIT" },
            },
            "servers": [{ "url": "/" }],
            "paths": self.paths,
            "components": {
                "schemas": self.components,
                "securitySchemes": { "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "A JWT or an API key, where the server asks for one.",
                }},
            },
        })
    }
}

fn parameter(place: &str, name: &str, schema: &Value, description: &str) -> Value {
    json!({
        "name": name, "in": place, "required": place == "path",
        "description": description, "schema": schema,
    })
}

/// The operation with an id made of its method and path.
fn named(mut operation: Value, method: &str, path: &str) -> Value {
    let words = path.split(|sign: char| !sign.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    operation["operationId"] = json!(format!("{method}_{}", words.join("_")));
    operation
}

/// One response for each status, which lists its codes.
fn problems(codes: &[Code], head: bool) -> BTreeMap<u16, Value> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        let with_status = by_status.entry(code.status().as_u16()).or_default();
        if !with_status.contains(code) {
            with_status.push(*code);
        }
    }
    let responses = by_status.into_iter().map(|(status, codes)| {
        let slugs: Vec<&str> = codes.iter().map(|code| code.slug()).collect();
        let mut response = json!({ "description": slugs.join(", ") });
        let mut headers = Map::new();
        if codes.iter().any(|code| code.passes()) {
            headers.insert(
                "Retry-After".to_owned(),
                json!({
                    "description": "Seconds after which to come back.",
                    "schema": { "type": "integer" },
                }),
            );
        }
        if codes.contains(&Code::Unauthenticated) || codes.contains(&Code::Forbidden) {
            headers.insert(
                "WWW-Authenticate".to_owned(),
                json!({
                    "description": "What is asked for (RFC 6750).",
                    "schema": { "type": "string" },
                }),
            );
        }
        if !headers.is_empty() {
            response["headers"] = Value::Object(headers);
        }
        if !head {
            response["content"] = json!({ "application/problem+json": { "schema": {
                "allOf": [
                    { "$ref": "#/components/schemas/Problem" },
                    { "properties": { "code": { "enum": slugs } } },
                ],
            }}});
        }
        (status, response)
    });
    responses.collect()
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457). Some codes have members of their own.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "pattern": "^urn:dormouse:problem:[a-z-]+$" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string" },
            "code": { "type": "string", "description": "What programs match on; it never changes." },
            "reason": { "type": "string", "description": "Of `command-rejected`: the domain's own slug." },
            "current_version": { "type": "integer", "description": "Of `version-mismatch`." },
            "claim": { "type": "string", "description": "Of `claim-taken`: which unique value it is." },
            "value": { "type": "string", "description": "Of `claim-taken`: the value." },
            "right": { "type": "string", "description": "Of `forbidden`: the right that is lacking." },
            "handled": { "type": "boolean", "description": "Of `command-timeout`: false is certain, true is not known yet." },
        },
    })
}
