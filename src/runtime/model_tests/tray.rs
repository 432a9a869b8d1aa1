//! An aggregate whose state tells every command that it took, and in which order.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tray {
    pub(super) tokens: Vec<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum TrayEvent {
    #[serde(rename = "TrayPutEvent")]
    Put { token: u64 },
}

impl Event for TrayEvent {
    const TYPES: &'static [EventType] = &[EventType::new("TrayPutEvent", 1)];
}

/// Nothing is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {}

impl Rejection for Refused {
    fn reason(&self) -> Cow<'static, str> {
        match *self {}
    }
}

impl Aggregate for Tray {
    const TYPE: &'static str = "Tray";
    type Event = TrayEvent;
    type Error = Refused;

    fn apply(&mut self, TrayEvent::Put { token }: &TrayEvent) {
        self.tokens.push(*token);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Put {
    pub(super) token: u64,
}

impl Handle<Put> for Tray {
    type Reply = ();

    fn handle(&self, put: &Put, _: &CommandContext<'_>) -> Result<Decision<Self>, Refused> {
        Ok(Decision::persist([TrayEvent::Put { token: put.token }]))
    }
}
