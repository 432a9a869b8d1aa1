//! The aggregate of the simulation: small, and its state tells every event that is in it.

use std::borrow::Cow;

use dormouse::{
    domain::{
        Aggregate, Claim, CommandContext, Decision, Event, EventType, Handle, Rejection, Version,
    },
    runtime::AggregateBuilder,
    store::RecordedEvent,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    /// A digest of the tokens of all events, in their order.
    pub(crate) digest: u64,
    pub(crate) name: Option<String>,
    /// What other programs write into its row.
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum TallyEvent {
    #[serde(rename = "TallyMarkedEvent")]
    Marked { token: String },
    #[serde(rename = "TallyNamedEvent")]
    Named { token: String, name: Option<String> },
    /// It is as its row says. The runtime tells it without a token, and so does with one another
    /// program that writes both.
    #[serde(rename = "TallyKeptEvent")]
    Kept { state: Tally, token: Option<String> },
}

impl Event for TallyEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("TallyMarkedEvent", 1),
        EventType::new("TallyNamedEvent", 1),
        EventType::new("TallyKeptEvent", 1),
    ];
}

impl TallyEvent {
    /// The event as it is stored.
    pub(crate) fn of(recorded: &RecordedEvent) -> Self {
        let name = recorded.event_type.as_str();
        let tagged = format!("{{\"{name}\":{}}}", recorded.data.get());
        serde_json::from_str(&tagged).expect("an event of a tally")
    }

    /// Its token; none where the runtime told what another program has written.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Marked { token } | Self::Named { token, .. } => Some(token),
            Self::Kept { token, .. } => token.as_deref(),
        }
    }
}

/// Applies a stored event, as the checker does.
pub(crate) fn fold(state: &mut Tally, recorded: &RecordedEvent) {
    state.apply(&TallyEvent::of(recorded));
}

/// A state at a version: what a command answers, and what a rejection was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) version: Version,
    pub(crate) state: Tally,
}

#[derive(Debug, thiserror::Error)]
#[error("{}", serde_json::to_string(.0).expect("a state is JSON"))]
pub(crate) struct Full(Shown);

impl Rejection for Full {
    fn reason(&self) -> Cow<'static, str> {
        "full".into()
    }
}

impl Aggregate for Tally {
    const TYPE: &'static str = "Tally";
    type Event = TallyEvent;
    type Error = Full;

    fn apply(&mut self, event: &TallyEvent) {
        let token = match event {
            TallyEvent::Marked { token } | TallyEvent::Named { token, .. } => token,
            TallyEvent::Kept { state, .. } => {
                self.clone_from(state);
                return;
            }
        };
        self.events += 1;
        for byte in token.bytes() {
            // FNV-1a: the order counts, and it is the same on every machine.
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.digest = self.digest.wrapping_add(self.events);
        if let TallyEvent::Named { name, .. } = event {
            self.name.clone_from(name);
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let name = self.name.iter();
        name.map(|name| Claim::new("name", name.clone())).collect()
    }
}

impl Tally {
    fn decide(&self, events: Vec<TallyEvent>, ctx: &CommandContext<'_>) -> Decision<Self, Shown> {
        let mut state = self.clone();
        for event in &events {
            state.apply(event);
        }
        let version = ctx.version.plus(events.len() as u64);
        Decision::persist(events).reply(Shown { version, state })
    }
}

/// Makes so many marks, unless there would be more than the limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) token: String,
    pub(crate) events: u32,
    pub(crate) limit: Option<u64>,
}

impl Handle<Mark> for Tally {
    type Reply = Shown;

    fn handle(
        &self,
        command: &Mark,
        ctx: &CommandContext<'_>,
    ) -> Result<Decision<Self, Shown>, Full> {
        let after = self.events + u64::from(command.events);
        if command.limit.is_some_and(|limit| after > limit) {
            return Err(Full(Shown {
                version: ctx.version,
                state: self.clone(),
            }));
        }
        let mark = || TallyEvent::Marked {
            token: command.token.clone(),
        };
        let events = (0..command.events).map(|_| mark()).collect();
        Ok(self.decide(events, ctx))
    }
}

/// Takes a name that no other tally has, or gives it up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rename {
    pub(crate) token: String,
    pub(crate) name: Option<String>,
}

impl Handle<Rename> for Tally {
    type Reply = Shown;

    fn handle(
        &self,
        command: &Rename,
        ctx: &CommandContext<'_>,
    ) -> Result<Decision<Self, Shown>, Full> {
        let event = TallyEvent::Named {
            token: command.token.clone(),
            name: command.name.clone(),
        };
        Ok(self.decide(vec![event], ctx))
    }
}

pub(crate) fn commands(builder: AggregateBuilder<Tally>) -> AggregateBuilder<Tally> {
    let builder = builder.command::<Mark>("mark").command::<Rename>("rename");
    builder.state_row()
}
