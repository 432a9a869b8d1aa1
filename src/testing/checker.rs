//! A checker of what a system of event-sourced aggregates promises, whatever was done to it.
//!
//! Callers write down what they send and hear ([`History`]); afterwards, with the log as it is
//! stored ([`StoredLog`]), [`check`] tells every promise that was broken, each by its name
//! ([`Violation`]). It knows nothing of how the system works, so it serves a simulation as well as
//! real processes, and its cost is linear in the history: the log gives the one order in which
//! everything must have happened, so nothing has to be searched for.
//!
//! What is checked: an acknowledged command is stored exactly once, where its caller was told, its
//! events adjacent; what is stored was sent and not refused; versions and positions are without a
//! gap or a repeat; real time is kept, for commands and for reads; every state that was shown is
//! the fold of its events; a key gives the same answer for ever; every subscriber saw each event
//! once and in order; every row equals the fold.

mod commands;
mod folds;
mod history;
mod log;
mod order;
mod subscribers;
#[cfg(test)]
mod tests;
mod violation;

use std::fmt::Debug;

pub use history::{Call, Command, History, Refusal, Seen, Token, Told};
pub use log::StoredLog;
pub use subscribers::Subscriber;
pub use violation::Violation;

use crate::{
    domain::{StreamId, Version},
    store::RecordedEvent,
};
use violation::Violations;

/// A state that is kept as a row beside the log, once the system is quiet.
#[derive(Debug, Clone)]
pub struct Row<S> {
    /// Whose.
    pub stream: StreamId,
    /// The version it says it is of.
    pub version: Version,
    /// The state.
    pub state: S,
}

/// All that is known of what a system did.
#[derive(Debug)]
pub struct Evidence<'a, S> {
    /// What callers sent and heard.
    pub history: &'a History<S>,
    /// What is stored.
    pub log: &'a StoredLog,
    /// What subscribers and projections saw.
    pub subscribers: &'a [Subscriber],
    /// The rows of all aggregates, where there are any.
    pub rows: Option<&'a [Row<S>]>,
}

/// Tells the promises that were broken; at most a hundred times.
///
/// `fold` applies an event to a state; `S::default()` is the state before the first. Each key must
/// belong to one command only.
#[must_use]
pub fn check<S>(
    evidence: &Evidence<'_, S>,
    fold: impl FnMut(&mut S, &RecordedEvent),
) -> Vec<Violation>
where
    S: Clone + Default + PartialEq + Debug,
{
    let Evidence {
        history,
        log,
        subscribers,
        rows,
    } = evidence;
    let mut found = Violations::default();
    log.check_numbers(&mut found);
    commands::check(history, log, &mut found);
    order::check(history, log, &mut found);
    folds::check(history, *rows, log, fold, &mut found);
    for subscriber in *subscribers {
        subscribers::check(subscriber, log, &mut found);
    }
    found.into_vec()
}
