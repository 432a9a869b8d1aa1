//! Commands as they come from outside: read from JSON, prepared, and sent on.

use std::{any::TypeId, marker::PhantomData, sync::Arc};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Aggregates, Answer, CommandError, CommandOptions, handle::deadline};
use crate::domain::{Aggregate, AggregateId, Handle, IdempotencyKey, StreamId};

/// What a prepared command is prepared for.
#[derive(Debug, Clone)]
pub struct PrepareContext {
    /// The aggregate the command goes to.
    pub stream: StreamId,
    /// The caller's key. Preparing must give the same command for the same input and key, because
    /// the receipt keeps a hash of what was prepared.
    pub key: Option<IdempotencyKey>,
}

/// A command an aggregate takes by name.
pub(super) trait NamedCommand<A: Aggregate>: Send + Sync {
    fn name(&self) -> &'static str;

    /// The type that reaches the aggregate.
    fn type_id(&self) -> TypeId;

    /// Reads the command from JSON, prepares it, and sends it.
    fn run(
        &self,
        aggregates: Aggregates<A>,
        id: AggregateId,
        body: &[u8],
        options: CommandOptions,
    ) -> BoxFuture<'static, Result<Answer<()>, CommandError>>;
}

/// A command that is sent as it was read.
pub(super) struct Plain<C> {
    pub(super) name: &'static str,
    pub(super) command: PhantomData<fn() -> C>,
}

impl<A, C> NamedCommand<A> for Plain<C>
where
    A: Handle<C>,
    C: DeserializeOwned + Serialize + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn type_id(&self) -> TypeId {
        TypeId::of::<C>()
    }

    fn run(
        &self,
        aggregates: Aggregates<A>,
        id: AggregateId,
        body: &[u8],
        options: CommandOptions,
    ) -> BoxFuture<'static, Result<Answer<()>, CommandError>> {
        let command = read::<C>(body);
        Box::pin(async move {
            let sent = async { aggregates.send_command(&id, command?, options).await };
            let answer = aggregates.measured::<C, _>(sent).await?;
            Ok(answer.with_reply(()))
        })
    }
}

/// A command that is made from what was read, with I/O or heavy work, before it reaches the mailbox.
pub(super) struct Prepared<B, C, F> {
    pub(super) name: &'static str,
    pub(super) prepare: Arc<F>,
    pub(super) types: PhantomData<fn(B) -> C>,
}

impl<A, B, C, F, Fut> NamedCommand<A> for Prepared<B, C, F>
where
    A: Handle<C>,
    B: DeserializeOwned + Send + 'static,
    C: Serialize + Send + 'static,
    F: Fn(B, PrepareContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, CommandError>> + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn type_id(&self) -> TypeId {
        TypeId::of::<C>()
    }

    fn run(
        &self,
        aggregates: Aggregates<A>,
        id: AggregateId,
        body: &[u8],
        options: CommandOptions,
    ) -> BoxFuture<'static, Result<Answer<()>, CommandError>> {
        let read = read::<B>(body);
        let prepare = Arc::clone(&self.prepare);
        Box::pin(async move {
            let deadline = deadline(options.timeout);
            let ctx = PrepareContext {
                stream: aggregates.stream(&id),
                key: options.key.clone(),
            };
            let sent = async {
                let command = tokio::time::timeout_at(deadline, prepare(read?, ctx))
                    .await
                    .map_err(|_| CommandError::TimedOutUnhandled)??;
                let rest = CommandOptions {
                    timeout: deadline.saturating_duration_since(Instant::now()),
                    ..options
                };
                aggregates.send_command(&id, command, rest).await
            };
            let answer = aggregates.measured::<C, _>(sent).await?;
            Ok(answer.with_reply(()))
        })
    }
}

/// Reads a command from JSON; says which field is wrong, and refuses fields it does not know.
fn read<C: DeserializeOwned>(body: &[u8]) -> Result<C, CommandError> {
    let body = if body.is_empty() { b"{}" } else { body };
    // The whole body first: a wrong field before a broken end is still no JSON. What is not UTF-8
    // is not either, which serde_json does not look at in what it ignores.
    if let Err(error) = std::str::from_utf8(body) {
        return Err(CommandError::InvalidJson(error.to_string()));
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        return Err(CommandError::InvalidJson(error.to_string()));
    }
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(CommandError::Invalid(
            "the body must be a JSON object with the command's fields".to_owned(),
        ));
    }
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let command = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let command = command.map_err(|error: serde_json::Error| {
        let path = track.path().to_string();
        let message = without_place(&error.to_string());
        CommandError::Invalid(if path == "." {
            message
        } else {
            format!("`{path}`: {message}")
        })
    })?;
    match unknown.first() {
        None => Ok(command),
        Some(field) => Err(CommandError::Invalid(format!("unknown field `{field}`"))),
    }
}

/// `serde_json` says the line and column; the field's name says it better.
fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "the fields are there to be read")]
    struct Sample {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "the fields are there to be read")]
    struct Inner {
        count: u8,
    }

    fn error(body: &str) -> String {
        let error = read::<Sample>(body.as_bytes()).unwrap_err();
        if let CommandError::Invalid(message) = error {
            return format!("invalid: {message}");
        }
        assert!(matches!(error, CommandError::InvalidJson(_)), "{error:?}");
        "no json".to_owned()
    }

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        assert_eq!(error("{"), "no json");
        assert_eq!(error(r#"{"name": 1"#), "no json");
        assert_eq!(error(r#"{"name":"a"} x"#), "no json");
        assert!(error("[]").contains("JSON object"));
        assert!(error("").contains("missing field `name`"));
        assert!(error(r#"{"name":1}"#).starts_with("invalid: `name`: invalid type"));
        assert!(error(r#"{"name":"a","nam":1}"#).contains("unknown field `nam`"));
        assert!(
            error(r#"{"name":"a","inner":[{"count":1},{"count":300}]}"#)
                .starts_with("invalid: `inner[1].count`: invalid value")
        );
        assert!(
            error(r#"{"name":"a","inner":[{"count":1,"x":2}]}"#)
                .contains("unknown field `inner.0.x`")
        );
    }
}
