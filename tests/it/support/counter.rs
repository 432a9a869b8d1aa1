//! A small aggregate for tests of the runtime: it counts, and can misbehave when asked to.

use std::borrow::Cow;

use dormouse::{
    domain::{
        Aggregate, AggregateId, Claim, CommandContext, Decision, Event, EventType, Handle,
        Rejection,
    },
    runtime::AggregateBuilder,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) total: u64,
    pub(crate) tokens: Vec<String>,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum CounterEvent {
    #[serde(rename = "CounterAddedEvent")]
    Added { amount: u64, token: String },
    #[serde(rename = "CounterNamedEvent")]
    Named { name: Option<String> },
    #[serde(rename = "CounterBrokenEvent")]
    Broken {},
}

impl Event for CounterEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("CounterAddedEvent", 1),
        EventType::new("CounterNamedEvent", 1),
        EventType::new("CounterBrokenEvent", 1),
    ];
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CounterError {
    #[error("the total may not pass {limit}")]
    OverLimit { limit: u64 },
}

impl Rejection for CounterError {
    fn reason(&self) -> Cow<'static, str> {
        "over-limit".into()
    }
}

impl Aggregate for Counter {
    const TYPE: &'static str = "Counter";
    type Event = CounterEvent;
    type Error = CounterError;

    fn apply(&mut self, event: &CounterEvent) {
        match event {
            CounterEvent::Added { amount, token } => {
                self.total += amount;
                self.tokens.push(token.clone());
            }
            CounterEvent::Named { name } => self.name.clone_from(name),
            CounterEvent::Broken {} => panic!("this event cannot be applied"),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let name = self.name.iter();
        name.map(|name| Claim::new("name", name.clone())).collect()
    }
}

/// Adds to the total and answers it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Add {
    pub(crate) amount: u64,
    #[serde(default)]
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) limit: Option<u64>,
}

impl Add {
    pub(crate) fn one(token: impl Into<String>) -> Self {
        Self {
            amount: 1,
            token: token.into(),
            limit: None,
        }
    }
}

impl Handle<Add> for Counter {
    type Reply = u64;

    fn handle(
        &self,
        command: &Add,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self, u64>, CounterError> {
        let total = self.total + command.amount;
        if let Some(limit) = command.limit.filter(|limit| total > *limit) {
            return Err(CounterError::OverLimit { limit });
        }
        let events = (command.amount > 0).then(|| CounterEvent::Added {
            amount: command.amount,
            token: command.token.clone(),
        });
        Ok(Decision::persist(events).reply(total))
    }
}

/// Takes a name no other counter has, or gives it up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: Option<String>,
}

impl Handle<Name> for Counter {
    type Reply = ();

    fn handle(
        &self,
        command: &Name,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, CounterError> {
        Ok(Decision::persist([CounterEvent::Named {
            name: command.name.clone(),
        }]))
    }
}

/// Panics, while deciding or while applying.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Panic {
    pub(crate) in_apply: bool,
}

impl Handle<Panic> for Counter {
    type Reply = ();

    fn handle(
        &self,
        command: &Panic,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, CounterError> {
        assert!(command.in_apply, "this command cannot be decided");
        Ok(Decision::persist([CounterEvent::Broken {}]))
    }
}

pub(crate) fn commands(builder: AggregateBuilder<Counter>) -> AggregateBuilder<Counter> {
    builder
        .command::<Add>("add")
        .command::<Name>("name")
        .command::<Panic>("panic")
}

pub(crate) fn id(text: &str) -> AggregateId {
    AggregateId::parse(text).unwrap()
}
