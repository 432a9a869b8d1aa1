//! Registry, actor and passivation against a model: whatever happens in whichever order, the runtime
//! answers as counting does.
//!
//! A case is a list of things that happen to a node; proptest draws it, and makes one that fails
//! shorter. The model knows nothing of actors: it counts what each aggregate has stored and what is
//! unanswered. Beside the answers, what must always hold is looked at from inside: an aggregate
//! has one actor at most, no more are live than may be, and an actor that sleeps loses nothing.

mod node;
mod tray;

use std::collections::BTreeMap;

use proptest::{prelude::*, strategy::BoxedStrategy};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use node::{IDLE_MS, MAILBOX, MAX_IN_FLIGHT, Node};

/// So many aggregates there are.
const AGGREGATES: u8 = 5;

/// Something that happens to a node.
#[derive(Debug, Clone)]
enum Transition {
    /// Commands that are sent at once, to these aggregates.
    Send(Vec<u8>),
    /// A read of one.
    Read(u8),
    /// Nothing, for so many milliseconds.
    Wait(u64),
    /// From now on appends wait.
    Hold,
    /// They go on.
    Release,
    /// A command whose append's answer is lost.
    LoseAnswer(u8),
    /// A command whose append fails.
    FailAppend(u8),
    /// A command for one that sleeps and cannot be read.
    FailWake(u8),
    /// The node ends in good order, and another takes its place.
    Restart,
    /// The node is killed, and another takes its place.
    Crash,
}

/// What counting knows.
#[derive(Debug, Clone, Default)]
struct Counts {
    stored: BTreeMap<u8, u64>,
    /// Sent and not answered, because appends wait.
    waiting: Vec<u8>,
    held: bool,
}

impl Counts {
    fn of(&self, aggregate: u8) -> u64 {
        self.stored.get(&aggregate).copied().unwrap_or(0)
    }

    fn store(&mut self, aggregate: u8) {
        *self.stored.entry(aggregate).or_default() += 1;
    }

    /// Whether one more for an aggregate is taken, beside what waits.
    fn takes(&self, aggregate: u8) -> bool {
        let same = self.waiting.iter().filter(|other| **other == aggregate);
        self.waiting.len() < MAX_IN_FLIGHT && same.count() < MAILBOX
    }
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Counts;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Counts> {
        Just(Counts::default()).boxed()
    }

    fn transitions(counts: &Counts) -> BoxedStrategy<Transition> {
        let one = 0..AGGREGATES;
        let at_once = prop::collection::vec(one.clone(), 1..=MAILBOX);
        let anytime = prop_oneof![
            5 => at_once.prop_map(Transition::Send),
            2 => one.clone().prop_map(Transition::Read),
            3 => (0..3 * IDLE_MS).prop_map(Transition::Wait),
            1 => Just(Transition::Crash),
        ];
        if counts.held {
            return prop_oneof![3 => anytime, 1 => Just(Transition::Release)].boxed();
        }
        prop_oneof![
            8 => anytime,
            2 => Just(Transition::Hold),
            1 => one.clone().prop_map(Transition::LoseAnswer),
            1 => one.clone().prop_map(Transition::FailAppend),
            1 => one.prop_map(Transition::FailWake),
            1 => Just(Transition::Restart),
        ]
        .boxed()
    }

    fn preconditions(counts: &Counts, transition: &Transition) -> bool {
        match transition {
            Transition::Release => counts.held,
            Transition::Hold
            | Transition::LoseAnswer(_)
            | Transition::FailAppend(_)
            | Transition::FailWake(_)
            | Transition::Restart => !counts.held,
            Transition::Send(_) | Transition::Read(_) | Transition::Wait(_) | Transition::Crash => {
                true
            }
        }
    }

    fn apply(mut counts: Counts, transition: &Transition) -> Counts {
        match transition {
            Transition::Send(to) => {
                for aggregate in to {
                    if !counts.held {
                        counts.store(*aggregate);
                    } else if counts.takes(*aggregate) {
                        counts.waiting.push(*aggregate);
                    }
                }
            }
            Transition::LoseAnswer(to) => counts.store(*to),
            Transition::Hold => counts.held = true,
            Transition::Release => {
                counts.held = false;
                for aggregate in std::mem::take(&mut counts.waiting) {
                    counts.store(aggregate);
                }
            }
            Transition::Crash => {
                counts.held = false;
                // What waited before the store was never there.
                counts.waiting.clear();
            }
            Transition::Read(_)
            | Transition::Wait(_)
            | Transition::FailAppend(_)
            | Transition::FailWake(_)
            | Transition::Restart => {}
        }
        counts
    }
}

struct AgainstTheModel;

impl StateMachineTest for AgainstTheModel {
    type SystemUnderTest = Node;
    type Reference = Model;

    fn init_test(_: &Counts) -> Node {
        Node::new()
    }

    fn apply(mut node: Node, counts: &Counts, transition: Transition) -> Node {
        match transition {
            Transition::Send(to) if counts.held => node.send_and_wait_for_none(&to),
            Transition::Send(to) => node.send(&to),
            Transition::Read(of) => {
                let refused = !counts.takes(of);
                node.read(of, (!refused).then(|| counts.of(of)));
            }
            Transition::Wait(milliseconds) => node.pass(milliseconds),
            Transition::Hold => node.hold(),
            Transition::Release => node.release(),
            Transition::LoseAnswer(to) => node.lose_answer(to),
            Transition::FailAppend(to) => node.fail_append(to),
            Transition::FailWake(to) => node.fail_wake(to),
            Transition::Restart => node.restart(),
            Transition::Crash => node.crash(),
        }
        node
    }

    fn check_invariants(node: &Node, counts: &Counts) {
        node.check(counts.waiting.len());
    }

    fn teardown(mut node: Node, counts: Counts) {
        if counts.held {
            node.release();
        }
        let mut counts = counts;
        for aggregate in std::mem::take(&mut counts.waiting) {
            counts.store(aggregate);
        }
        for aggregate in 0..AGGREGATES {
            node.read(aggregate, Some(counts.of(aggregate)));
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn a_node_answers_as_counting_does(sequential 1..60 => AgainstTheModel);
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.map_or(96, |cases| cases.parse().unwrap())
}
