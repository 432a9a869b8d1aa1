//! An aggregate that keeps the contract, and some that break it, each in one way.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

use super::*;
use crate::domain::{CommandContext, Decision, Event, EventType, Rejection};

/// What is wrong with a [`Jar`].
const NOTHING: u8 = 0;
const DECIDES_BY_CHANCE: u8 = 1;
const HIDES_STATE: u8 = 2;
const LOSES_A_FIELD: u8 = 3;
const HIDES_A_CLAIM: u8 = 4;
const APPLIES_BY_CHANCE: u8 = 5;
const REFUSES_BY_CHANCE: u8 = 6;

/// Something outside of every state.
static OUTSIDE: AtomicU64 = AtomicU64::new(0);

fn chance() -> u64 {
    OUTSIDE.fetch_add(1, Ordering::Relaxed)
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Jar<const FLAW: u8> {
    total: u64,
    label: Option<String>,
    #[serde(skip)]
    hidden: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum JarEvent {
    #[serde(rename = "JarFilledEvent")]
    Filled {
        amount: u64,
        #[serde(skip)]
        lost: u64,
    },
    #[serde(rename = "JarLabelledEvent")]
    Labelled { label: Option<String> },
}

impl Event for JarEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("JarFilledEvent", 1),
        EventType::new("JarLabelledEvent", 1),
    ];
}

#[derive(Debug, thiserror::Error)]
#[error("the jar is full")]
struct Full;

impl Rejection for Full {
    fn reason(&self) -> Cow<'static, str> {
        "full".into()
    }
}

impl<const FLAW: u8> Aggregate for Jar<FLAW> {
    const TYPE: &'static str = "Jar";
    type Event = JarEvent;
    type Error = Full;

    fn apply(&mut self, event: &JarEvent) {
        match event {
            JarEvent::Filled { amount, lost } => {
                self.hidden += amount;
                self.total = match FLAW {
                    HIDES_STATE => self.hidden,
                    LOSES_A_FIELD => self.total + lost,
                    APPLIES_BY_CHANCE => self.total + chance(),
                    _ => self.total + amount,
                };
            }
            JarEvent::Labelled { label } => self.label.clone_from(label),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let hidden = (FLAW == HIDES_A_CLAIM && self.hidden > 0).then(|| self.hidden.to_string());
        let labels = self.label.clone().into_iter().chain(hidden);
        labels.map(|label| Claim::new("label", label)).collect()
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Fill {
    amount: u64,
}

impl<const FLAW: u8> Handle<Fill> for Jar<FLAW> {
    type Reply = u64;

    fn handle(&self, command: &Fill, _: &CommandContext<'_>) -> Result<Decision<Self, u64>, Full> {
        let refuses = FLAW == REFUSES_BY_CHANCE && chance() % 7 == 6;
        if refuses || self.total + command.amount > 100 {
            return Err(Full);
        }
        let amount = match FLAW {
            DECIDES_BY_CHANCE => chance(),
            _ => command.amount,
        };
        let lost = amount;
        let events = (amount > 0).then_some(JarEvent::Filled { amount, lost });
        Ok(Decision::persist(events).reply(self.total + amount))
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Label {
    label: Option<String>,
}

impl<const FLAW: u8> Handle<Label> for Jar<FLAW> {
    type Reply = ();

    fn handle(&self, command: &Label, _: &CommandContext<'_>) -> Result<Decision<Self>, Full> {
        let label = command.label.clone();
        Ok(Decision::persist([JarEvent::Labelled { label }]))
    }
}

/// What breaks the contract of a jar with this flaw.
fn found<const FLAW: u8>() -> Option<String> {
    let label = |label: Option<&str>| Label {
        label: label.map(str::to_owned),
    };
    let script = AggregateContract::<Jar<FLAW>>::new(|jar| {
        jar.command::<Fill>("fill").command::<Label>("label")
    });
    script
        .send(Fill { amount: 3 })
        .send(label(Some("plums")))
        .send(Fill { amount: 0 })
        .send(Fill { amount: 40 })
        .send(Fill { amount: 90 })
        .send(label(None))
        .send(Fill { amount: 5 })
        .find()
        .err()
}

#[test]
fn an_aggregate_that_keeps_the_contract_passes() {
    assert_eq!(found::<NOTHING>(), None);
}

#[test]
fn each_way_to_break_the_contract_is_found() {
    let broken = [
        (
            found::<DECIDES_BY_CHANCE>(),
            "with a sleep at step 1 (`Fill`)",
        ),
        (
            found::<HIDES_STATE>(),
            "a snapshot at version 1 and the events after it make",
        ),
        (found::<LOSES_A_FIELD>(), "its events make"),
        (found::<HIDES_A_CLAIM>(), "claim"),
        (found::<APPLIES_BY_CHANCE>(), "its events make"),
        (found::<REFUSES_BY_CHANCE>(), "hears Refused"),
    ];

    for (found, wanted) in broken {
        let found = found.unwrap_or_else(|| panic!("nothing is found of: {wanted}"));
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
#[should_panic(expected = "the aggregate `Jar` breaks its contract")]
fn a_contract_that_is_broken_panics() {
    AggregateContract::<Jar<APPLIES_BY_CHANCE>>::new(|jar| jar.command::<Fill>("fill"))
        .send(Fill { amount: 1 })
        .check();
}

#[test]
fn what_cannot_be_carried_out_is_told() {
    let unregistered = AggregateContract::<Jar<NOTHING>>::new(|jar| jar)
        .send(Fill { amount: 1 })
        .find();

    assert!(unregistered.unwrap_err().contains("takes no command"));
}
