//! The contract of an aggregate: what a user's own code must keep, so that what the runtime promises
//! holds for it too.
//!
//! A test gives a script of commands. It is carried out by the real runtime, undisturbed; then again
//! for each step and each [`Disturbance`], with that disturbance at that step. Every time each caller
//! must hear the same, and the same must be stored. It finds what an aggregate does that one must
//! not: decide by chance, by a clock or by something outside its state; keep a part of its state out of
//! snapshots; lose a part of an event in its JSON; hold a claim that its state does not tell.

mod disturbance;
mod folds;
mod node;
#[cfg(test)]
mod tests;

use std::{fmt, marker::PhantomData, rc::Rc};

use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::Value;

pub use disturbance::Disturbance;

use self::node::{Asked, Node};
use crate::{
    domain::{Aggregate, Claim, CreatedBy, Handle},
    runtime::{AggregateBuilder, Aggregates, Answer, CommandError, CommandOptions},
    store::{EventStore as _, memory::MemoryStore},
};

/// A script of commands for one aggregate, and the check that it keeps the contract.
///
/// ```
/// # use std::borrow::Cow;
/// # use dormouse::domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # struct Lamp { lit: bool }
/// # #[derive(Debug, Serialize, Deserialize)]
/// # enum LampEvent { LitEvent {} }
/// # impl Event for LampEvent { const TYPES: &'static [EventType] = &[EventType::new("LitEvent", 1)]; }
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("this lamp is lit already")]
/// # struct LitAlready;
/// # impl Rejection for LitAlready { fn reason(&self) -> Cow<'static, str> { "lit-already".into() } }
/// # impl Aggregate for Lamp {
/// #     const TYPE: &'static str = "Lamp";
/// #     type Event = LampEvent;
/// #     type Error = LitAlready;
/// #     fn apply(&mut self, _: &LampEvent) { self.lit = true; }
/// # }
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Light;
/// # impl Handle<Light> for Lamp {
/// #     type Reply = ();
/// #     fn handle(&self, _: &Light, _: &CommandContext<'_>) -> Result<Decision<Self>, LitAlready> {
/// #         if self.lit { Err(LitAlready) } else { Ok(Decision::persist([LampEvent::LitEvent {}])) }
/// #     }
/// # }
/// use dormouse::testing::AggregateContract;
///
/// AggregateContract::<Lamp>::new(|lamp| lamp.command::<Light>("light"))
///     .send(Light)
///     .send(Light) // Refused, and refused under every disturbance.
///     .check();
/// ```
pub struct AggregateContract<A: Aggregate> {
    register: Register<A>,
    steps: Vec<Step<A>>,
    sender: Option<CreatedBy>,
}

/// How the aggregate is registered.
type Register<A> = Rc<dyn Fn(AggregateBuilder<A>) -> AggregateBuilder<A>>;

impl<A: Aggregate> fmt::Debug for AggregateContract<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|step| step.name);
        f.debug_list().entries(steps).finish()
    }
}

impl<A: Aggregate> AggregateContract<A> {
    /// An empty script; `register` says which commands the aggregate takes, as for a runtime.
    #[must_use]
    pub fn new(register: impl Fn(AggregateBuilder<A>) -> AggregateBuilder<A> + 'static) -> Self {
        Self {
            register: Rc::new(register),
            steps: Vec::new(),
            sender: None,
        }
    }

    /// The commands that follow are sent on behalf of this one.
    #[must_use]
    pub fn sent_by(mut self, sender: CreatedBy) -> Self {
        self.sender = Some(sender);
        self
    }

    /// Sends a command; what is to come of it need not be said, for it is compared with itself.
    #[must_use]
    pub fn send<C>(mut self, command: C) -> Self
    where
        A: Handle<C>,
        C: Clone + Serialize + Send + 'static,
    {
        self.steps.push(Step {
            name: short_name::<C>(),
            sender: self.sender.clone(),
            command: Rc::new(Sending {
                command,
                aggregate: PhantomData,
            }),
        });
        self
    }

    /// Carries the script out, undisturbed and with every disturbance at every step.
    ///
    /// It runs on the calling thread, and on a tokio runtime of its own: call it from a plain
    /// `#[test]`.
    ///
    /// # Panics
    /// Where the contract is broken: with the step, the disturbance and both answers.
    #[track_caller]
    pub fn check(self) {
        if let Err(broken) = self.find() {
            panic!("the aggregate `{}` breaks its contract: {broken}", A::TYPE);
        }
    }

    /// What breaks the contract, if anything does.
    fn find(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let undisturbed = self.carry_out(None).await?;
            folds::check::<A>(&undisturbed.past)?;
            for step in 0..self.steps.len() {
                for disturbance in Disturbance::ALL {
                    let shown = self.carry_out(Some((step, disturbance))).await;
                    let shown = shown.and_then(|shown| undisturbed.compare(&shown, &self.steps));
                    let name = self.steps[step].name;
                    shown.map_err(|broken| {
                        format!(
                            "with {disturbance} at step {} (`{name}`), {broken}",
                            step + 1
                        )
                    })?;
                }
            }
            Ok(())
        })
    }

    /// Carries the script out on a fresh store, disturbed or not.
    async fn carry_out(&self, disturbed: Option<(usize, Disturbance)>) -> Result<Shown<A>, String> {
        let store = MemoryStore::new();
        let mut node = Node::start(&store, &self.register).await?;
        let mut heard = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let asked = Asked::of(number, step);
            let told = match disturbed {
                Some((at, disturbance)) if at == number => {
                    let (after, told) = disturbance
                        .make(node, &asked, &store, &self.register)
                        .await?;
                    node = after;
                    told
                }
                _ => node.send(&asked).await,
            };
            heard.push(Heard::of(told)?);
        }
        let past = node.past().await?;
        check_claims(&store, &past).await?;
        Ok(Shown { heard, past })
    }
}

/// One command of a script.
struct Step<A: Aggregate> {
    name: &'static str,
    sender: Option<CreatedBy>,
    command: Rc<dyn AnyCommand<A>>,
}

/// A command of a type that is forgotten.
trait AnyCommand<A: Aggregate> {
    fn send(&self, to: Aggregates<A>, options: CommandOptions) -> Sent;
}

type Sent = LocalBoxFuture<'static, Result<Answer<Value>, CommandError>>;

struct Sending<A, C> {
    command: C,
    aggregate: PhantomData<fn() -> A>,
}

impl<A, C> AnyCommand<A> for Sending<A, C>
where
    A: Handle<C>,
    C: Clone + Serialize + Send + 'static,
{
    fn send(&self, to: Aggregates<A>, options: CommandOptions) -> Sent {
        let command = self.command.clone();
        Box::pin(async move {
            let answer = to.execute(&node::ID, command, options).await?;
            let reply = serde_json::to_value(&answer.reply);
            let reply = reply.map_err(|error| CommandError::Internal(error.to_string()))?;
            Ok(Answer {
                version: answer.version,
                position: answer.position,
                correlation_id: answer.correlation_id,
                events: answer.events,
                changed: answer.changed,
                created: answer.created,
                replayed: answer.replayed,
                reply,
            })
        })
    }
}

/// What the caller of a step heard, as far as a disturbance must not change it.
#[derive(Debug, PartialEq)]
enum Heard {
    Done {
        version: u64,
        events: Vec<String>,
        reply: Value,
    },
    Refused {
        reason: String,
        message: String,
    },
}

impl Heard {
    fn of(told: Result<Answer<Value>, CommandError>) -> Result<Self, String> {
        match told {
            Ok(answer) => Ok(Self::Done {
                version: answer.version.get(),
                events: answer
                    .events
                    .iter()
                    .map(|event| event.event_type.to_string())
                    .collect(),
                reply: answer.reply,
            }),
            Err(CommandError::Rejected { reason, message }) => Ok(Self::Refused {
                reason: reason.into_owned(),
                message,
            }),
            Err(error) => Err(format!("its caller hears: {error}")),
        }
    }
}

/// All that a run showed.
struct Shown<A: Aggregate> {
    heard: Vec<Heard>,
    past: node::Past<A>,
}

impl<A: Aggregate> Shown<A> {
    fn compare(&self, disturbed: &Self, steps: &[Step<A>]) -> Result<(), String> {
        let heard = self.heard.iter().zip(&disturbed.heard).zip(steps);
        for (number, ((undisturbed, disturbed), step)) in heard.enumerate() {
            if undisturbed != disturbed {
                let (number, name) = (number + 1, step.name);
                return Err(format!(
                    "the caller of step {number} (`{name}`) hears {disturbed:?}, else {undisturbed:?}"
                ));
            }
        }
        let stored = self.past.stored.iter().zip(&disturbed.past.stored);
        for (undisturbed, disturbed) in stored {
            if undisturbed != disturbed {
                return Err(format!("{disturbed} is stored, else {undisturbed}"));
            }
        }
        let (one, other) = (self.past.stored.len(), disturbed.past.stored.len());
        if one != other {
            return Err(format!("{other} events are stored, else {one}"));
        }
        let (one, other) = (&self.past.state, &disturbed.past.state);
        if one != other {
            return Err(format!("the state is {other}, else {one}"));
        }
        Ok(())
    }
}

/// The aggregate holds the claims of its state, and none of its earlier ones.
async fn check_claims<A: Aggregate>(
    store: &MemoryStore,
    past: &node::Past<A>,
) -> Result<(), String> {
    let states = past.states();
    let now: Vec<Claim> = states.last().map_or_else(Vec::new, A::claims);
    for claim in states.iter().flat_map(A::claims) {
        let holder = store.claim_holder(&past.aggregate_type, &claim).await;
        let held = holder.map_err(|error| error.to_string())?.is_some();
        if held != now.contains(&claim) {
            let Claim { name, value } = &claim;
            let which = if held { "is still held" } else { "is not held" };
            return Err(format!("the claim `{value}` of {name} {which}"));
        }
    }
    Ok(())
}

/// The name of a command without its path.
fn short_name<C>() -> &'static str {
    let name = std::any::type_name::<C>();
    name.rsplit("::").next().unwrap_or(name)
}
