//! What happens to the nodes from outside: kills, ends, clocks that jump, projections to be built anew.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    plan::{Blow, Disturbance, LONGEST},
    world::{Finding, SLACK, World},
};

impl World {
    pub(crate) async fn disturb(self: Rc<Self>, disturbance: Disturbance) {
        sleep_until(self.began + disturbance.at).await;
        let Some(node) = self.node(disturbance.node) else {
            return;
        };
        let number = disturbance.node;
        let (down, lose) = match disturbance.what {
            Blow::Jump { milliseconds } => {
                self.note(&format!("clock of node {number} jumps {milliseconds} ms"));
                node.clock.jump(milliseconds);
                return;
            }
            Blow::Shutdown { down } => {
                self.note(&format!("node {number} is asked to end"));
                let began = Instant::now();
                let ended = node.shutdown().await;
                let took = began.elapsed();
                self.note(&format!("node {number} ends: {ended:?}"));
                if took > self.plan.settings.runtime.shutdown_timeout + SLACK {
                    let text = format!("node {number} took {took:?} to end");
                    self.find(Finding::new("Hung", text));
                }
                (down, false)
            }
            Blow::Kill { lose, down } => (down, lose),
        };
        let still_there = self.node(number).is_some_and(|now| Rc::ptr_eq(&now, &node));
        if !still_there {
            return;
        }
        self.note(&format!("node {number} is killed"));
        self.nodes.borrow_mut()[number] = None;
        self.store.sever(node.session, lose);
        node.kill();
        sleep(down).await;
        if self.node(number).is_none() {
            self.start(number).await;
        }
    }

    /// Asks a node to build the projection anew; it may fail, or not be there.
    pub(crate) async fn rebuild(self: Rc<Self>, at: Duration, node: usize) {
        sleep_until(self.began + at).await;
        let node = self.node(node);
        if let Some(projections) = node.and_then(|node| node.projections.clone()) {
            // A node that is killed meanwhile never answers.
            let asked = timeout(LONGEST, projections.rebuild("shelf")).await;
            self.note(&format!("a rebuild is asked for: {}", asked.is_ok()));
        }
    }
}
