//! What is said of one route: its parameters, its answers, and the problems it can end with.

use serde_json::{Map, Value, json};

use crate::{http::problem::Code, runtime::Schema};

/// What is said of one route.
pub(in crate::http) struct Operation {
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Value>,
    /// Whether it takes a JSON object.
    pub(super) takes_body: bool,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<Code>,
}

/// An answer that is no problem.
pub(in crate::http) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) media_type: &'static str,
    pub(super) body: Body,
    headers: Vec<(&'static str, &'static str, Value)>,
}

/// What an answer's body looks like.
pub(in crate::http) enum Body {
    /// A type's own schema, under this name.
    Typed(&'static str, Schema),
    /// A schema as it stands.
    Plain(Value),
    /// There is none.
    None,
}

impl Operation {
    /// An operation that every route is: it can be asked wrongly, too often or with too large a
    /// head, and it can be broken or too slow.
    pub(in crate::http) fn new(tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            parameters: Vec::new(),
            takes_body: false,
            answers: Vec::new(),
            problems: vec![
                Code::InvalidRequest,
                Code::RateLimited,
                Code::HeadTooLarge,
                Code::Internal,
                Code::CommandTimeout,
            ],
        }
    }

    pub(in crate::http) fn query(self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameter("query", name, schema, description)
    }

    pub(in crate::http) fn header(self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameter("header", name, schema, description)
    }

    fn parameter(mut self, place: &str, name: &str, schema: &Value, description: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": place, "required": false,
            "description": description, "schema": schema,
        }));
        self
    }

    pub(in crate::http) fn takes_body(mut self) -> Self {
        self.takes_body = true;
        self
    }

    pub(in crate::http) fn answers(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    pub(in crate::http) fn problems(mut self, codes: &[Code]) -> Self {
        self.problems.extend(codes);
        self
    }
}

impl Answer {
    /// JSON with the schema of a type.
    pub(in crate::http) fn typed<T: utoipa::ToSchema>(
        status: u16,
        name: &'static str,
        description: &'static str,
    ) -> Self {
        let body = Body::Typed(name, Schema::of::<T>());
        Self::new(status, "application/json", body, description)
    }

    /// JSON with a schema that is written out.
    pub(in crate::http) fn json(status: u16, schema: Value, description: &'static str) -> Self {
        Self::new(status, "application/json", Body::Plain(schema), description)
    }

    /// An answer without a body.
    pub(in crate::http) fn empty(status: u16, description: &'static str) -> Self {
        Self::new(status, "", Body::None, description)
    }

    /// Something that is no JSON.
    pub(in crate::http) fn text(media_type: &'static str, description: &'static str) -> Self {
        let text = Body::Plain(json!({ "type": "string" }));
        Self::new(200, media_type, text, description)
    }

    fn new(status: u16, media_type: &'static str, body: Body, description: &'static str) -> Self {
        Self {
            status,
            description,
            media_type,
            body,
            headers: Vec::new(),
        }
    }

    pub(in crate::http) fn header(
        mut self,
        name: &'static str,
        schema: Value,
        description: &'static str,
    ) -> Self {
        self.headers.push((name, description, schema));
        self
    }

    pub(super) fn headers(&self) -> Map<String, Value> {
        let headers = self.headers.iter().map(|(name, description, schema)| {
            let header = json!({ "description": description, "schema": schema });
            ((*name).to_owned(), header)
        });
        headers.collect()
    }
}
