//! What is wrong with what a simulation showed, once it is over.

use dormouse::{
    domain::StreamId,
    store::memory::MemoryStore,
    testing::checker::{Evidence, StoredLog, Subscriber, check},
};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    followers,
    plan::LONGEST,
    tally::{Tally, TallyEvent, fold},
    world::{Finding, World},
};

impl World {
    /// What each follower and the projection saw, once they have had the time to see all.
    pub(crate) async fn what_was_seen(
        &self,
        memory: &MemoryStore,
        followers: Vec<JoinHandle<Subscriber>>,
    ) -> Vec<Subscriber> {
        let complete = followers::catch_up(self, memory).await;
        if !complete {
            let text = "the projection does not get to the end of the log though all is well";
            self.find(Finding::new("NotRecovered", text));
        }
        let mut seen = Vec::new();
        for follower in followers {
            if let Ok(ended) = timeout(LONGEST, follower).await {
                seen.push(ended.expect("a follower does not panic"));
            } else {
                let text = "a follower does not get to the end of the log though all is well";
                self.find(Finding::new("NotRecovered", text));
            }
        }
        if self.plan.shelf.is_some() {
            seen.push(followers::shelved(memory, complete).await);
        }
        seen
    }

    pub(crate) async fn judge(&self, memory: &MemoryStore, seen: &[Subscriber]) {
        let history = self.history.borrow().clone();
        let log = StoredLog::read(memory, |event| Some(TallyEvent::token(event).into())).await;
        let log = log.expect("memory can be read");
        let log = log.with_receipts(memory, &history).await;
        let log = log.expect("memory can be read");
        let evidence = Evidence {
            history: &history,
            log: &log,
            subscribers: seen,
            rows: None,
        };
        for violation in check(&evidence, fold) {
            let debug = format!("{violation:?}");
            let name = debug.split([' ', '{', '(']).next().unwrap_or_default();
            self.find(Finding::new(name, violation.to_string()));
        }
        for finding in names_held_twice(&log) {
            self.find(finding);
        }
        self.events.set(log.events().len());
    }
}

/// No two tallies hold one name at the same position of the log.
fn names_held_twice(log: &StoredLog) -> Vec<Finding> {
    let mut held: Vec<(StreamId, Tally)> = Vec::new();
    let mut found = Vec::new();
    for event in log.events() {
        let index = held.iter().position(|(stream, _)| *stream == event.stream);
        let index = index.unwrap_or_else(|| {
            held.push((event.stream.clone(), Tally::default()));
            held.len() - 1
        });
        fold(&mut held[index].1, event);
        let name = held[index].1.name.clone();
        let holders = held.iter().filter(|(_, state)| state.name == name);
        if name.is_some() && holders.count() > 1 {
            let text = format!("{name:?} at position {}", event.position);
            found.push(Finding::new("ClaimHeldTwice", text));
        }
    }
    found
}
