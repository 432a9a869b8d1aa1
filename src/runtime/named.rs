//! Aggregates by the name of their type, for callers who know no Rust types: HTTP.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use super::{
    Aggregates, Answer, CommandError, CommandOptions, StateAt, StateError,
    load::Slot,
    meters::{CommandMeter, KindMeter},
    past::{self, At, Holding, shown},
    prepare::NamedCommand,
    replay::{self, Refolded},
    schema::TypeDescription,
    steps::{self, Steps},
};
use crate::domain::{Aggregate, AggregateId, AggregateType, Position, Version};

/// A state as JSON, without its secrets.
#[derive(Debug)]
pub struct StateView {
    /// The state.
    pub state: Box<RawValue>,
    /// The version of its last event.
    pub version: Version,
    /// The position of that event in the log.
    pub position: Position,
}

/// One aggregate type, whatever it is in Rust.
pub(super) trait NamedAggregates: Send + Sync {
    fn aggregate_type(&self) -> &AggregateType;

    /// The type's own name of a command, where it has it.
    fn command_name(&self, command: &str) -> Option<&'static str>;

    fn execute(
        &self,
        id: AggregateId,
        command: &str,
        body: &[u8],
        options: CommandOptions,
    ) -> BoxFuture<'static, Result<Answer<()>, CommandError>>;

    fn state(&self, id: AggregateId) -> BoxFuture<'static, Result<Option<StateView>, StateError>>;

    fn state_at(
        &self,
        id: AggregateId,
        at: At,
    ) -> BoxFuture<'static, Result<Option<StateView>, StateError>>;

    fn steps(
        &self,
        id: AggregateId,
        after: Version,
        limit: u32,
    ) -> BoxFuture<'static, Result<Option<Steps>, StateError>>;

    /// What the type is.
    fn description(&self) -> &TypeDescription;

    /// How many of them are live.
    fn live(&self) -> usize;

    /// Passes all that are live; `visit` must not wait, for a part of the map is locked.
    fn visit(&self, visit: &mut dyn FnMut(&AggregateId, &Slot));

    /// Looks at one, if it is live.
    fn look(&self, id: &AggregateId, look: &mut dyn FnMut(&Slot));

    /// Notes that the actors have ended with their threads.
    fn ended(&self);

    /// What is counted of them.
    fn meter(&self) -> &KindMeter;

    /// What is counted of their commands, by name.
    fn command_meters(&self) -> Vec<&CommandMeter>;

    /// Folds an aggregate again, and its snapshots with it.
    fn replay(
        &self,
        id: AggregateId,
        from: Option<Position>,
    ) -> BoxFuture<'static, Result<Refolded, StateError>>;

    /// The unique values it holds, with the version and the time of its last event.
    fn claims(&self, id: AggregateId) -> BoxFuture<'static, Result<Holding, StateError>>;

    /// The handle of Rust type [`Aggregates<A>`].
    fn typed(&self) -> &dyn std::any::Any;
}

/// The handle and the commands of one type.
pub(super) struct NamedType<A: Aggregate> {
    pub(super) aggregates: Aggregates<A>,
    pub(super) commands: HashMap<&'static str, Arc<dyn NamedCommand<A>>>,
    pub(super) description: TypeDescription,
}

impl<A: Aggregate> NamedAggregates for NamedType<A> {
    fn aggregate_type(&self) -> &AggregateType {
        &self.aggregates.kind().aggregate_type
    }

    fn command_name(&self, command: &str) -> Option<&'static str> {
        self.commands.get_key_value(command).map(|(name, _)| *name)
    }

    fn execute(
        &self,
        id: AggregateId,
        command: &str,
        body: &[u8],
        options: CommandOptions,
    ) -> BoxFuture<'static, Result<Answer<()>, CommandError>> {
        if let Some(named) = self.commands.get(command) {
            return named.run(self.aggregates.clone(), id, body, options);
        }
        let error = CommandError::UnknownCommand {
            aggregate_type: A::TYPE,
            command: command.to_owned(),
        };
        Box::pin(std::future::ready(Err(error)))
    }

    fn state(&self, id: AggregateId) -> BoxFuture<'static, Result<Option<StateView>, StateError>> {
        let aggregates = self.aggregates.clone();
        Box::pin(async move { aggregates.state(&id).await?.as_ref().map(view).transpose() })
    }

    fn state_at(
        &self,
        id: AggregateId,
        at: At,
    ) -> BoxFuture<'static, Result<Option<StateView>, StateError>> {
        let aggregates = self.aggregates.clone();
        Box::pin(async move {
            aggregates
                .state_at(&id, at)
                .await?
                .as_ref()
                .map(view)
                .transpose()
        })
    }

    fn steps(
        &self,
        id: AggregateId,
        after: Version,
        limit: u32,
    ) -> BoxFuture<'static, Result<Option<Steps>, StateError>> {
        let kind = Arc::clone(self.aggregates.kind());
        Box::pin(async move { steps::steps(&kind, &id, after, limit).await })
    }

    fn description(&self) -> &TypeDescription {
        &self.description
    }

    fn live(&self) -> usize {
        self.aggregates.kind().live.len()
    }

    fn visit(&self, visit: &mut dyn FnMut(&AggregateId, &Slot)) {
        for entry in &self.aggregates.kind().live {
            visit(entry.key(), &entry.slot);
        }
    }

    fn look(&self, id: &AggregateId, look: &mut dyn FnMut(&Slot)) {
        if let Some(live) = self.aggregates.kind().find(id) {
            look(&live.slot);
        }
    }

    fn ended(&self) {
        self.aggregates.kind().ended();
    }

    fn meter(&self) -> &KindMeter {
        &self.aggregates.kind().meter
    }

    fn command_meters(&self) -> Vec<&CommandMeter> {
        let mut meters: Vec<_> = self.aggregates.kind().commands.values().collect();
        meters.sort_unstable_by_key(|meter| meter.name);
        meters
    }

    fn replay(
        &self,
        id: AggregateId,
        from: Option<Position>,
    ) -> BoxFuture<'static, Result<Refolded, StateError>> {
        replay::replay(Arc::clone(self.aggregates.kind()), id, from)
    }

    fn claims(&self, id: AggregateId) -> BoxFuture<'static, Result<Holding, StateError>> {
        Box::pin(past::claims(Arc::clone(self.aggregates.kind()), id))
    }

    fn typed(&self) -> &dyn std::any::Any {
        &self.aggregates
    }
}

fn view<A: Aggregate>(found: &StateAt<A>) -> Result<StateView, StateError> {
    Ok(StateView {
        state: shown(&found.state)?,
        version: found.version,
        position: found.position,
    })
}
