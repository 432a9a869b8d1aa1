//! What is done to a step of a script.

use std::fmt;

use serde_json::Value;

use super::{
    Register,
    node::{Asked, Node},
};
use crate::{
    domain::Aggregate,
    runtime::{Answer, CommandError},
    store::memory::MemoryStore,
    testing::{Fault, Gate, Operation},
};

/// What happens while, or before, one command of a script is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disturbance {
    /// The aggregate sleeps before it, and is woken by it: from a snapshot and the events after it.
    Passivation,
    /// The process ends before its append; the command is sent again to another.
    CrashBefore,
    /// The process ends after its append and before its answer; the command is sent again to another.
    CrashAfter,
    /// Another process carries it out, so the first one's next decision meets a conflict.
    Conflict,
    /// It is sent once more when it has been answered.
    Duplicate,
    /// The answer of its append is lost, and the runtime finds out by itself.
    LostAnswer,
}

impl Disturbance {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Passivation,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Conflict,
        Self::Duplicate,
        Self::LostAnswer,
    ];
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passivation => "a sleep",
            Self::CrashBefore => "a crash before the append",
            Self::CrashAfter => "a crash after the append",
            Self::Conflict => "a conflict",
            Self::Duplicate => "a duplicate",
            Self::LostAnswer => "a lost answer of the append",
        })
    }
}

/// The node that goes on after a step, and what the step's caller heard.
type After<A> = (Node<A>, Result<Answer<Value>, CommandError>);

impl Disturbance {
    /// Carries a step out with this disturbance.
    pub(super) async fn make<A: Aggregate>(
        self,
        node: Node<A>,
        asked: &Asked<A>,
        store: &MemoryStore,
        register: &Register<A>,
    ) -> Result<After<A>, String> {
        match self {
            Self::Passivation => {
                node.passivate().await?;
                let told = node.send(asked).await;
                Ok((node, told))
            }
            Self::Conflict => {
                let other = Node::start(store, register).await?;
                let told = other.send(asked).await;
                Ok((node, told))
            }
            Self::Duplicate => {
                let first = node.send(asked).await;
                let told = again(&node, asked, first.is_ok()).await?;
                Ok((node, told))
            }
            Self::LostAnswer => {
                node.faults
                    .inject_next(Operation::Append, Fault::LoseAnswer);
                let told = node.send(asked).await;
                // Where it stored nothing, the fault is not to meet a later step.
                node.faults.heal();
                Ok((node, told))
            }
            Self::CrashBefore | Self::CrashAfter => {
                let gate = Gate::new();
                let fault = if self == Self::CrashBefore {
                    Fault::Hold(gate.clone())
                } else {
                    Fault::HoldAnswer(gate.clone())
                };
                node.faults.inject_next(Operation::Append, fault);
                let crashed = tokio::select! {
                    biased;
                    _ = node.send(asked) => false,
                    () = gate.reached(1) => true,
                };
                // With its tasks the node ends where it stands.
                drop(node);
                let next = Node::start(store, register).await?;
                let stored = crashed && self == Self::CrashAfter;
                let told = again(&next, asked, stored).await?;
                Ok((next, told))
            }
        }
    }
}

/// Sends a step once more: what was stored is told again, and not done again.
async fn again<A: Aggregate>(
    node: &Node<A>,
    asked: &Asked<A>,
    stored: bool,
) -> Result<Result<Answer<Value>, CommandError>, String> {
    let told = node.send(asked).await;
    match &told {
        Ok(answer) if stored && !answer.replayed => {
            Err("it is handled once more under its key".to_owned())
        }
        Err(error) if stored => Err(format!(
            "it succeeded, and under its key its caller hears then: {error}"
        )),
        _ => Ok(told),
    }
}
