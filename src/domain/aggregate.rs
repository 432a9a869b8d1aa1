//! The aggregate, its commands and its decisions.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

use super::{AggregateId, Claim, CorrelationId, CreatedBy, Event, Version};

/// A thing with a history: its state is the fold of its events.
///
/// [`Default`] is the state before the first event, so absence is a variant of the state
/// and not a dummy. `apply` is total: it validates nothing, reads no clock and does no I/O,
/// because what it is given has happened already.
///
/// ```
/// use dormouse::domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// enum User {
///     #[default]
///     Unregistered,
///     Active { email: String },
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum UserEvent {
///     #[serde(rename = "UserRegisteredEvent")]
///     Registered { email: String },
/// }
/// impl Event for UserEvent {
///     const TYPES: &'static [EventType] = &[EventType::new("UserRegisteredEvent", 1)];
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("this user is registered already")]
/// struct AlreadyRegistered;
/// impl Rejection for AlreadyRegistered {
///     fn reason(&self) -> std::borrow::Cow<'static, str> { "already-registered".into() }
/// }
///
/// impl Aggregate for User {
///     const TYPE: &'static str = "User";
///     type Event = UserEvent;
///     type Error = AlreadyRegistered;
///     fn apply(&mut self, event: &UserEvent) {
///         let UserEvent::Registered { email } = event;
///         *self = Self::Active { email: email.clone() };
///     }
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Register { email: String }
/// impl Handle<Register> for User {
///     type Reply = ();
///     fn handle(&self, command: &Register, _: &CommandContext<'_>) -> Result<Decision<Self>, AlreadyRegistered> {
///         match self {
///             Self::Unregistered => Ok(Decision::persist([UserEvent::Registered { email: command.email.clone() }])),
///             Self::Active { .. } => Err(AlreadyRegistered),
///         }
///     }
/// }
/// ```
pub trait Aggregate:
    Clone + Default + Serialize + DeserializeOwned + Send + Sync + Unpin + 'static
{
    /// The aggregate's type, as it stands in URLs and in the log: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    const TYPE: &'static str;
    /// The schema version of the serialized state. Raise it when `apply` or the fields change
    /// their meaning, and every older snapshot is ignored.
    const STATE_VERSION: u32 = 1;
    /// The events of this aggregate, an enum.
    type Event: Event;
    /// Why a command can be refused.
    type Error: Rejection;

    /// Folds one event into the state.
    fn apply(&mut self, event: &Self::Event);

    /// The unique values this state holds among the aggregates of its type.
    ///
    /// The runtime takes and frees the difference in the transaction that stores the events.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
}

/// An aggregate takes the command `C`.
///
/// `handle` is synchronous, pure and borrows the command: after a conflict with another
/// writer it is asked again on newer state. What needs I/O happens before the command is sent.
pub trait Handle<C>: Aggregate {
    /// What the caller hears besides the events; it is stored in the receipt of a keyed command.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Decides what the command does to this state.
    ///
    /// # Errors
    /// The aggregate's own rejection: nothing is stored and the caller hears the reason.
    fn handle(
        &self,
        command: &C,
        ctx: &CommandContext<'_>,
    ) -> Result<Decision<Self, Self::Reply>, Self::Error>;
}

/// A refusal that the domain means: the caller's fault, not a failure.
pub trait Rejection: std::error::Error + Send + Sync + 'static {
    /// The slug a program can match on, such as `user-already-exists`.
    fn reason(&self) -> Cow<'static, str>;
}

/// What a command may know besides the state.
#[derive(Debug, Clone, Copy)]
pub struct CommandContext<'a> {
    /// The aggregate that decides.
    pub aggregate_id: &'a AggregateId,
    /// Its version before this command; zero where it does not exist yet.
    pub version: Version,
    /// The time the command's events will carry.
    pub now: DateTime<Utc>,
    /// On whose behalf the command was sent.
    pub created_by: Option<&'a CreatedBy>,
    /// The correlation the command belongs to.
    pub correlation_id: CorrelationId,
}

/// What a command decided: events to store, and a reply.
#[derive(Debug)]
pub struct Decision<A: Aggregate, R = ()> {
    events: Vec<A::Event>,
    reply: R,
}

impl<A: Aggregate> Decision<A> {
    /// Stores these events, in this order.
    pub fn persist(events: impl IntoIterator<Item = A::Event>) -> Self {
        Self {
            events: events.into_iter().collect(),
            reply: (),
        }
    }

    /// Accepts the command and changes nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::persist([])
    }
}

impl<A: Aggregate, R> Decision<A, R> {
    /// The same events, with this reply.
    #[must_use]
    pub fn reply<Q>(self, reply: Q) -> Decision<A, Q> {
        Decision {
            events: self.events,
            reply,
        }
    }

    /// The events and the reply.
    #[must_use]
    pub fn into_parts(self) -> (Vec<A::Event>, R) {
        (self.events, self.reply)
    }
}
