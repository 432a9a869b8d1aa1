//! What is wrong with what a simulation showed, once it is over.

use std::{collections::BTreeMap, sync::Arc};

use dormouse::{
    domain::{StateRow as _, StreamId, Version},
    store::{EventStore as _, RecordedEvent},
    testing::checker::{Evidence, Row as CheckedRow, StoredLog, Subscriber, Token, check},
};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    drawing::TALLIES,
    followers,
    plan::LONGEST,
    row::as_it_stands,
    tally::{Tally, TallyEvent, fold},
    world::{Finding, World, id, stream},
};

impl World {
    /// What each follower and the projection saw, once they have had the time to see all.
    pub(crate) async fn what_was_seen(
        &self,
        followers: Vec<JoinHandle<Subscriber>>,
    ) -> Vec<Subscriber> {
        let complete = followers::catch_up(self).await;
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
            seen.push(followers::shelved(&self.memory, complete).await);
        }
        seen
    }

    /// What must be so while nothing goes on and nobody has asked for anything yet: the journals have
    /// numbered what other programs inserted, and a row that only commands have changed is that of
    /// its events.
    pub(crate) async fn look_at_rest(&self) {
        let waiting = self.memory.unnumbered();
        if waiting > 0 {
            let text = format!("{waiting} commits of other programs have no positions");
            self.find(Finding::new("NotNumbered", text));
        }
        if !self.plan.dual_write {
            return;
        }
        let log = StoredLog::read(&self.memory, |_| None).await;
        let log = log.expect("memory can be read");
        for tally in TALLIES.iter().filter(|tally| !self.is_touched(tally)) {
            let mut folded = None;
            let events = log.events().iter();
            for event in events.filter(|event| event.stream == stream(tally)) {
                fold(folded.get_or_insert_default(), event);
            }
            let row = as_it_stands(&self.memory, &id(tally));
            if row != folded {
                let text = format!("{tally} is {row:?} and should be {folded:?}");
                self.find(Finding::new("RowBehind", text));
            }
        }
    }

    pub(crate) async fn judge(&self, seen: &[Subscriber]) {
        let history = self.history.borrow().clone();
        let mut tokens = Tokens::default();
        let log = StoredLog::read(&self.memory, |event| Some(tokens.of(event))).await;
        let log = log.expect("memory can be read");
        let log = log.with_receipts(&self.memory, &history).await;
        let log = log.expect("memory can be read");
        let rows = self.plan.dual_write.then(|| self.rows());
        let rows = match rows {
            Some(rows) => Some(rows.await),
            None => None,
        };
        let evidence = Evidence {
            history: &history,
            log: &log,
            subscribers: seen,
            rows: rows.as_deref(),
        };
        for violation in check(&evidence, fold) {
            let debug = format!("{violation:?}");
            let name = debug.split([' ', '{', '(']).next().unwrap_or_default();
            self.find(Finding::new(name, violation.to_string()));
        }
        for finding in step_by_step(&log) {
            self.find(finding);
        }
        for row in rows.iter().flatten() {
            self.look_at_note(row.stream.aggregate_id.as_str());
        }
        self.events.set(log.events().len());
    }

    /// All rows, once they have been met.
    async fn rows(&self) -> Vec<CheckedRow<Tally>> {
        let rows = self.memory.state_rows().expect("memory has rows");
        let ids = TALLIES.map(id);
        let table = Arc::new(Tally::table());
        let loaded = rows.load(&stream("a").aggregate_type, &table, &ids).await;
        let loaded = loaded.expect("memory can be read");
        let rows = TALLIES.iter().zip(loaded).filter_map(|(tally, loaded)| {
            let row = Tally::from_row(loaded.row.as_ref()?).expect("a tally's row");
            Some(CheckedRow {
                stream: stream(tally),
                version: loaded
                    .track
                    .map_or(Version::ZERO, |track| track.log_version),
                state: row,
            })
        });
        rows.collect()
    }
}

/// Finds the token of each event of a log, in its order.
#[derive(Default)]
struct Tokens {
    /// How many events of each tally the runtime told because of a row.
    told: BTreeMap<StreamId, usize>,
}

impl Tokens {
    fn of(&mut self, recorded: &RecordedEvent) -> Token {
        let event = TallyEvent::of(recorded);
        if let Some(token) = event.token() {
            return token.into();
        }
        let told = self.told.entry(recorded.stream.clone()).or_default();
        *told += 1;
        told_token(recorded.stream.aggregate_id.as_str(), *told)
    }
}

/// The token of what the runtime tells of a tally's row, so many times.
pub(crate) fn told_token(tally: &str, time: usize) -> Token {
    format!("told-{tally}-{time}").as_str().into()
}

/// What each event does: no two tallies hold one name at the same position of the log, and the
/// runtime tells nothing of a row that the log says already.
fn step_by_step(log: &StoredLog) -> Vec<Finding> {
    let mut held: Vec<(StreamId, Tally)> = Vec::new();
    let mut found = Vec::new();
    for event in log.events() {
        let index = held.iter().position(|(stream, _)| *stream == event.stream);
        let index = index.unwrap_or_else(|| {
            held.push((event.stream.clone(), Tally::default()));
            held.len() - 1
        });
        let before = held[index].1.clone();
        fold(&mut held[index].1, event);
        if TallyEvent::of(event).token().is_none() && held[index].1 == before {
            let text = format!("the event at position {}", event.position);
            found.push(Finding::new("ToldNothing", text));
        }
        let name = held[index].1.name.clone();
        let holders = held.iter().filter(|(_, state)| state.name == name);
        if name.is_some() && holders.count() > 1 {
            let text = format!("{name:?} at position {}", event.position);
            found.push(Finding::new("ClaimHeldTwice", text));
        }
    }
    found
}
