//! Real time: what was answered before something was sent came before it.
//!
//! The log gives the commands of a stream one order. The history is linearizable if that order
//! agrees with real time: no command is stored at or before a version that was known when it was
//! sent, nobody is shown less than what was known when they asked, and nobody is shown a version
//! before its command was sent. Each takes one look at each record.

use std::collections::HashMap;

use super::{
    History, Refusal, Seen, StoredLog, Token, Violation, history::Record, violation::Violations,
};
use crate::domain::{StreamId, Version};

/// When a command was first sent by a try that may have stored it.
#[derive(Clone, Copy)]
struct FirstSent {
    record: usize,
    /// The newest version of its stream that anybody knew then.
    known: Version,
}

pub(super) fn check<S>(history: &History<S>, log: &StoredLog, found: &mut Violations) {
    let refused = refused(history);
    let mut known: HashMap<&StreamId, Version> = HashMap::new();
    let mut known_when_sent = vec![Version::ZERO; history.sent.len()];
    let mut first_sent: HashMap<&Token, FirstSent> = HashMap::new();
    let mut shown: Vec<(usize, &StreamId, Version)> = Vec::new();
    for (index, record) in history.records.iter().enumerate() {
        let (call, seen, fresh) = match record {
            Record::Sent(call) => {
                let sent = &history.sent[call.index()];
                let newest = known.get(&sent.stream).copied().unwrap_or_default();
                known_when_sent[call.index()] = newest;
                if let Some(command) = &sent.command
                    && !refused[call.index()]
                {
                    first_sent.entry(&command.token).or_insert(FirstSent {
                        record: index,
                        known: newest,
                    });
                }
                continue;
            }
            // Where a command that stored something stands is told by the log, below.
            Record::Answered(call, told) => (call, &told.seen, told.events == 0 && !told.replayed),
            Record::Refused(call, Refusal::Decided(Some(seen)))
            | Record::ReadAnswered(call, seen) => (call, seen, true),
            Record::Refused(..) | Record::Unknown(_) | Record::ReadFailed(_) => continue,
        };
        let stream = &history.sent[call.index()].stream;
        if fresh {
            check_fresh(stream, seen, known_when_sent[call.index()], found);
        }
        shown.push((index, stream, seen.version));
        let newest = known.entry(stream).or_default();
        *newest = seen.version.max(*newest);
    }
    check_stored(log, &first_sent, found);
    check_shown(log, &first_sent, &shown, found);
}

/// Which calls are certain to have stored nothing.
fn refused<S>(history: &History<S>) -> Vec<bool> {
    let mut refused = vec![false; history.sent.len()];
    for record in &history.records {
        if let Record::Refused(call, _) = record {
            refused[call.index()] = true;
        }
    }
    refused
}

fn check_fresh<S>(stream: &StreamId, seen: &Seen<S>, known: Version, found: &mut Violations) {
    if seen.version < known {
        found.add(Violation::Stale {
            stream: stream.clone(),
            seen: seen.version,
            known,
        });
    }
}

/// No command is stored at or before what was known when it was sent.
fn check_stored(log: &StoredLog, sent: &HashMap<&Token, FirstSent>, found: &mut Violations) {
    let mut last: Option<&Token> = None;
    for (event, token) in log.events.iter().zip(&log.tokens) {
        // One look at each command: its events are adjacent.
        let first = token.as_ref().filter(|token| last != Some(token));
        last = token.as_ref();
        let Some((token, sent)) = first.and_then(|token| Some((token, sent.get(token)?))) else {
            continue;
        };
        if event.version <= sent.known {
            found.add(Violation::OutOfOrder {
                token: Token::clone(token),
                known: sent.known,
                stored: event.version,
            });
        }
    }
}

/// Nobody is shown what is not stored, or was not sent yet.
fn check_shown(
    log: &StoredLog,
    sent: &HashMap<&Token, FirstSent>,
    shown: &[(usize, &StreamId, Version)],
    found: &mut Violations,
) {
    // For each stream and version, when the last of the commands up to it was sent.
    let mut sent_by: HashMap<&StreamId, Vec<usize>> = HashMap::new();
    for (event, token) in log.events.iter().zip(&log.tokens) {
        let versions = sent_by.entry(&event.stream).or_default();
        let record = token.as_ref().and_then(|token| sent.get(token));
        let record = record.map_or(0, |sent| sent.record);
        versions.push(record.max(versions.last().copied().unwrap_or(0)));
    }
    for (record, stream, version) in shown {
        let Some(index) = version.get().checked_sub(1) else {
            continue;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match sent_by.get(stream).and_then(|versions| versions.get(index)) {
            None => found.add(Violation::NotStored {
                stream: (*stream).clone(),
                seen: *version,
            }),
            Some(sent) if sent > record => found.add(Violation::BeforeItsTime {
                stream: (*stream).clone(),
                seen: *version,
            }),
            Some(_) => {}
        }
    }
}
