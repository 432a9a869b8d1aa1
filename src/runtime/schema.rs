//! What an aggregate type's commands and events look like in JSON, as far as it was told.
//!
//! A schema is told or it is not: no command needs one to be taken.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::StartError;
use crate::settings::Mode;

/// Where utoipa's schemas look for each other.
const COMPONENTS: &str = "#/components/schemas/";

/// The JSON schema of a type, with those it refers to.
#[derive(Debug, Clone)]
pub struct Schema {
    root: Value,
    definitions: BTreeMap<String, Value>,
}

impl Schema {
    /// The schema of `T`.
    #[must_use]
    pub fn of<T: ToSchema>() -> Self {
        let mut definitions = Vec::new();
        T::schemas(&mut definitions);
        let json = |schema| serde_json::to_value(schema).unwrap_or(Value::Bool(true));
        Self {
            root: json(T::schema()),
            definitions: definitions
                .into_iter()
                .map(|(name, schema)| (name, json(schema)))
                .collect(),
        }
    }

    /// A JSON schema that stands on its own: what it refers to is in its `$defs`.
    #[must_use]
    pub fn standalone(&self) -> Value {
        let mut root = pointing_to(&self.root, "#/$defs/");
        if let (Value::Object(members), false) = (&mut root, self.definitions.is_empty()) {
            let definitions = self.definitions.iter();
            let definitions =
                definitions.map(|(name, schema)| (name.clone(), pointing_to(schema, "#/$defs/")));
            members.insert("$defs".to_owned(), Value::Object(definitions.collect()));
        }
        root
    }

    /// The schema as a part of an OpenAPI document, whose components get what it refers to under
    /// names that begin with `prefix`: two aggregates may each have a `Status` of their own.
    pub fn in_components(
        &self,
        prefix: &str,
        components: &mut serde_json::Map<String, Value>,
    ) -> Value {
        let place = format!("{COMPONENTS}{prefix}.");
        for (name, schema) in &self.definitions {
            components
                .entry(format!("{prefix}.{name}"))
                .or_insert_with(|| pointing_to(schema, &place));
        }
        pointing_to(&self.root, &place)
    }
}

/// What a registered aggregate type is, to those who know no Rust.
#[derive(Debug, Clone)]
pub struct TypeDescription {
    /// Its name.
    pub aggregate_type: &'static str,
    /// How it is stored.
    pub mode: Mode,
    /// The table of its rows, where its mode has one.
    pub state_table: Option<String>,
    /// Its commands by name, each with its schema where it was told.
    pub commands: Vec<(&'static str, Option<Schema>)>,
    /// Its events.
    pub events: Vec<EventDescription>,
}

/// An event type as it is written today.
#[derive(Debug, Clone)]
pub struct EventDescription {
    /// Its stored name.
    pub event_type: &'static str,
    /// The schema version of its data.
    pub schema_version: u32,
    /// What its data looks like to a reader, where it was told.
    pub schema: Option<Schema>,
}

/// The schemas that were told for an aggregate type.
#[derive(Debug, Default)]
pub(super) struct Told {
    commands: BTreeMap<&'static str, Schema>,
    events: BTreeMap<&'static str, Schema>,
}

impl Told {
    pub(super) fn command(&mut self, name: &'static str, schema: Schema) {
        self.commands.insert(name, schema);
    }

    pub(super) fn event(&mut self, event_type: &'static str, schema: Schema) {
        self.events.insert(event_type, schema);
    }

    /// Each must be of a command or an event that there is.
    pub(super) fn check(
        &self,
        aggregate_type: &'static str,
        commands: &[&'static str],
        events: &[crate::domain::EventType],
    ) -> Result<(), StartError> {
        let is_event = |name: &str| events.iter().any(|event| event.name == name);
        let mut names = self.commands.keys().filter(|name| !commands.contains(name));
        let mut types = self.events.keys().filter(|name| !is_event(name));
        match names.next().or_else(|| types.next()) {
            None => Ok(()),
            Some(name) => Err(StartError::SchemaOfNothing {
                aggregate_type,
                name,
            }),
        }
    }

    pub(super) fn describe(
        mut self,
        aggregate_type: &'static str,
        (mode, state_table): (Mode, Option<String>),
        mut commands: Vec<&'static str>,
        events: &[crate::domain::EventType],
    ) -> TypeDescription {
        commands.sort_unstable();
        TypeDescription {
            aggregate_type,
            mode,
            state_table,
            commands: commands
                .into_iter()
                .map(|name| (name, self.commands.remove(name)))
                .collect(),
            events: events
                .iter()
                .map(|event| EventDescription {
                    event_type: event.name,
                    schema_version: event.schema_version,
                    schema: self.events.remove(event.name),
                })
                .collect(),
        }
    }
}

/// The same schema, whose references look for the others in `place`.
fn pointing_to(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| {
                let target = member.as_str().filter(|_| name == "$ref");
                let target = target.and_then(|target| target.strip_prefix(COMPONENTS));
                let member = match target {
                    Some(target) => json!(format!("{place}{target}")),
                    None => pointing_to(member, place),
                };
                (name.clone(), member)
            });
            Value::Object(members.collect())
        }
        Value::Array(elements) => elements
            .iter()
            .map(|element| pointing_to(element, place))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod one {
        #[derive(utoipa::ToSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        pub(super) struct Status {
            pub(super) open: bool,
        }
        #[derive(utoipa::ToSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        pub(super) struct Change {
            pub(super) status: Status,
        }
    }

    mod other {
        #[derive(utoipa::ToSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        pub(super) struct Status {
            pub(super) level: u8,
        }
        #[derive(utoipa::ToSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        pub(super) struct Change {
            pub(super) status: Status,
        }
    }

    #[test]
    fn a_schema_that_stands_alone_has_what_it_refers_to() {
        let schema = Schema::of::<one::Change>().standalone();

        assert_eq!(schema["properties"]["status"]["$ref"], "#/$defs/Status");
        let referred = &schema["$defs"]["Status"]["properties"]["open"];
        assert_eq!(referred["type"], "boolean");
    }

    #[test]
    fn two_types_of_one_name_do_not_meet_in_a_document() {
        let mut components = serde_json::Map::new();

        let one = Schema::of::<one::Change>().in_components("One", &mut components);
        let other = Schema::of::<other::Change>().in_components("Other", &mut components);

        let at = |schema: &Value| schema["properties"]["status"]["$ref"].clone();
        assert_eq!(at(&one), "#/components/schemas/One.Status");
        assert_eq!(at(&other), "#/components/schemas/Other.Status");
        assert!(components["One.Status"]["properties"]["open"].is_object());
        assert!(components["Other.Status"]["properties"]["level"].is_object());
    }
}
