//! Streams on which a program that is not dormouse has an open transaction.
//!
//! The transaction holds the unique key of a version, and whoever inserts the same version waits
//! for its end, whatever that is. An append holds the lock of the head, so it waits a moment only;
//! from then on the commits of that stream are tried by themselves, now and then, after all
//! others: who waits are the callers of that one aggregate.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    domain::StreamId,
    store::{Commit, Loss, Verdict},
};

/// The first pause between two tries of a stream's commits; the others are twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(320);
/// Streams tried in one append; each try may hold the head as long as a try waits.
const TRIES: usize = 4;
/// After so long without a commit of it, a stream is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// What is known of contested streams.
#[derive(Debug, Default)]
pub(super) struct Contested(HashMap<StreamId, Wait>);

#[derive(Debug)]
struct Wait {
    next: Instant,
    pause: Duration,
}

/// What is to be done with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes with all others.
    Now,
    /// It is tried alone.
    Alone,
    /// It is not tried this time.
    NotYet,
}

impl Contested {
    /// The turn of each commit.
    pub(super) fn turns(&mut self, batch: &[Commit]) -> Vec<Turn> {
        if self.0.is_empty() {
            return vec![Turn::Now; batch.len()];
        }
        let now = Instant::now();
        self.0.retain(|_, wait| now < wait.next + FORGOTTEN_AFTER);
        let mut tried: Vec<&StreamId> = Vec::new();
        let turn = |commit| {
            let commit: &Commit = commit;
            let Some(wait) = self.0.get(&commit.stream) else {
                return Turn::Now;
            };
            if tried.contains(&&commit.stream) {
                return Turn::Alone;
            }
            if now < wait.next || tried.len() >= TRIES {
                return Turn::NotYet;
            }
            tried.push(&commit.stream);
            Turn::Alone
        };
        // Made one after another: what is tried counts.
        batch.iter().map(turn).collect()
    }

    /// Notes which streams were contested, and which are not any more.
    pub(super) fn note(&mut self, batch: &[Commit], turns: &[Turn], verdicts: &[Verdict]) {
        let told = batch.iter().zip(turns).zip(verdicts);
        for ((commit, turn), verdict) in told {
            match (turn, verdict) {
                (Turn::NotYet, _) => {}
                (_, Verdict::Lost(Loss::Contested)) => self.put_off(&commit.stream),
                _ if self.0.is_empty() => {}
                _ => {
                    self.0.remove(&commit.stream);
                }
            }
        }
    }

    fn put_off(&mut self, stream: &StreamId) {
        let now = Instant::now();
        match self.0.get_mut(stream) {
            // Another commit of it in the same batch.
            Some(wait) if now < wait.next => {}
            Some(wait) => {
                wait.pause = (wait.pause * 2).min(LAST_PAUSE);
                wait.next = now + wait.pause;
            }
            None => {
                let wait = Wait {
                    next: now + FIRST_PAUSE,
                    pause: FIRST_PAUSE,
                };
                self.0.insert(stream.clone(), wait);
            }
        }
    }
}
