//! Clients: they do what the plan says, one thing after the other, and retry under their keys.

use std::rc::Rc;

use dormouse::domain::Version;
use tokio::time::sleep;

use crate::{
    outsiders::{append, write},
    plan::{Action, Step},
    sending::{Heard, Keyed, PAUSE, read, send},
    world::World,
};

struct Client {
    world: Rc<World>,
    number: usize,
    /// The newest version seen of each tally.
    known: Vec<(&'static str, Version)>,
    last: Option<Keyed>,
}

/// Carries out the steps; gives what was sent under a key and has no answer yet.
pub(crate) async fn run(world: Rc<World>, number: usize, steps: Vec<Step>) -> Vec<Keyed> {
    let mut client = Client {
        world,
        number,
        known: Vec::new(),
        last: None,
    };
    let mut unsettled = Vec::new();
    for step in steps {
        sleep(step.pause).await;
        unsettled.extend(client.carry_out(step).await);
    }
    unsettled
}

impl Client {
    fn known(&self, tally: &str) -> Version {
        let known = self.known.iter().find(|(one, _)| *one == tally);
        known.map_or(Version::ZERO, |(_, version)| *version)
    }

    fn learn(&mut self, tally: &'static str, version: Version) {
        let newest = self.known(tally).max(version);
        self.known.retain(|(one, _)| *one != tally);
        self.known.push((tally, newest));
    }

    async fn carry_out(&mut self, step: Step) -> Option<Keyed> {
        let tally = step.tally;
        // Which node it goes to follows from what is sent, so that leaving a step out moves no other.
        let node = self.number + step.token.len() + usize::from(*step.token.as_bytes().last()?);
        match step.action.clone() {
            Action::Read => {
                if let Some(version) = read(&self.world, node % self.world.plan.nodes, tally).await
                {
                    self.learn(tally, version);
                }
                None
            }
            Action::Foreign(events) => {
                append(&self.world, &step, events).await;
                None
            }
            Action::Outside(outside) => {
                write(&self.world, &step, &outside).await;
                None
            }
            Action::Again => {
                let keyed = self.last.clone()?;
                send(&self.world, node, &keyed).await;
                None
            }
            Action::Command(order) => {
                let keyed = Keyed {
                    known: self.known(tally),
                    step,
                    order,
                };
                self.command(node, keyed).await
            }
        }
    }

    async fn command(&mut self, node: usize, keyed: Keyed) -> Option<Keyed> {
        let tally = keyed.step.tally;
        let Some(tries) = keyed.order.tries else {
            if let Heard::Done(version) = send(&self.world, node, &keyed).await {
                self.learn(tally, version);
            }
            return None;
        };
        for number in 0..tries as usize {
            let heard = if keyed.order.twice {
                let sent = (
                    send(&self.world, node + number, &keyed),
                    send(&self.world, node + number + 1, &keyed),
                );
                match tokio::join!(biased; sent.0, sent.1) {
                    (Heard::Done(version), _) | (_, Heard::Done(version)) => Heard::Done(version),
                    (Heard::Decided, Heard::Decided) => Heard::Decided,
                    _ => Heard::Nothing,
                }
            } else {
                send(&self.world, node + number, &keyed).await
            };
            match heard {
                Heard::Done(version) => {
                    self.learn(tally, version);
                    self.last = Some(keyed);
                    return None;
                }
                // Another try may be under way still, so it is asked again at the end.
                Heard::Decided => return Some(keyed),
                Heard::Nothing => sleep(PAUSE).await,
            }
        }
        Some(keyed)
    }
}
