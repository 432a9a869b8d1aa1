//! Each command once: what was acknowledged is stored, what is stored was sent and not refused.

use std::collections::{HashMap, HashSet};

use super::{
    History, Refusal, StoredLog, Token, Told, Violation,
    history::{Command, Record},
    violation::Violations,
};
use crate::{
    domain::{IdempotencyKey, StreamId, Version},
    store::Receipt,
};

/// All that was heard of one command.
struct Tries<'a, S> {
    stream: &'a StreamId,
    command: &'a Command,
    sent: usize,
    refused: usize,
    answers: Vec<&'a Told<S>>,
    /// Whether one that was sent after an answer was refused by a decision.
    forgotten: bool,
}

impl<S> Tries<'_, S> {
    /// Whether each caller was told that nothing was stored.
    const fn is_refused(&self) -> bool {
        self.refused == self.sent
    }
}

pub(super) fn check<S: PartialEq>(history: &History<S>, log: &StoredLog, found: &mut Violations) {
    let commands = gather(history, found);
    for (index, event) in log.events.iter().enumerate() {
        let sent = log.tokens[index]
            .as_ref()
            .and_then(|token| commands.get(token));
        if sent.is_none_or(|tries| *tries.stream != event.stream) {
            found.add(Violation::Invented {
                position: event.position,
            });
        }
    }
    // In the order of the history, so that the same history is told the same way.
    let mut told = HashSet::new();
    for sent in &history.sent {
        let Some(command) = &sent.command else {
            continue;
        };
        if let Some(tries) = commands.get(&command.token)
            && told.insert(&command.token)
        {
            check_effect(tries, log, found);
            check_answers(tries, found);
            check_receipt(tries, log, found);
        }
    }
}

fn gather<'a, S>(
    history: &'a History<S>,
    found: &mut Violations,
) -> HashMap<&'a Token, Tries<'a, S>> {
    let mut commands: HashMap<&Token, Tries<'_, S>> = HashMap::new();
    let mut ended = vec![false; history.sent.len()];
    let mut sent_after_an_answer = vec![false; history.sent.len()];
    for record in &history.records {
        let (call, refusal, answer) = match record {
            Record::Sent(call) => {
                let sent = &history.sent[call.index()];
                let Some(command) = &sent.command else {
                    continue;
                };
                let tries = commands.entry(&command.token).or_insert_with(|| Tries {
                    stream: &sent.stream,
                    command,
                    sent: 0,
                    refused: 0,
                    answers: Vec::new(),
                    forgotten: false,
                });
                tries.sent += 1;
                sent_after_an_answer[call.index()] = !tries.answers.is_empty();
                let same = tries.command == command && *tries.stream == sent.stream;
                if !same || (tries.sent > 1 && command.key.is_none()) {
                    let what = format!("`{}` is sent as two commands", command.token);
                    found.add(Violation::Unsound { what });
                }
                continue;
            }
            Record::Answered(call, told) => (call, None, Some(told)),
            Record::Refused(call, refusal) => (call, Some(refusal), None),
            Record::Unknown(call) | Record::ReadAnswered(call, _) | Record::ReadFailed(call) => {
                (call, None, None)
            }
        };
        if std::mem::replace(&mut ended[call.index()], true) {
            let what = format!("{call:?} ends twice");
            found.add(Violation::Unsound { what });
        }
        let command = history.sent[call.index()].command.as_ref();
        let Some(tries) = command.and_then(|command| commands.get_mut(&command.token)) else {
            continue;
        };
        tries.answers.extend(answer);
        if let Some(refusal) = refusal {
            tries.refused += 1;
            tries.forgotten |=
                matches!(refusal, Refusal::Decided(_)) && sent_after_an_answer[call.index()];
        }
    }
    commands
}

fn check_effect<S>(tries: &Tries<'_, S>, log: &StoredLog, found: &mut Violations) {
    let token = &tries.command.token;
    let places = log.places.get(token).map_or(&[][..], Vec::as_slice);
    let stored = places.len();
    let told = tries.answers.first();
    let events = told.map_or(tries.command.events, |told| Some(told.events));
    let events = events.map(|events| events as usize);
    match (stored, events, told) {
        (0, Some(1..), Some(_)) => found.add(Violation::Lost {
            token: Token::clone(token),
        }),
        (1.., Some(events), _) if stored > events => found.add(Violation::Doubled {
            token: Token::clone(token),
            stored,
            told: events,
        }),
        (1.., Some(events), _) if stored < events => found.add(Violation::Torn {
            token: Token::clone(token),
        }),
        _ => {}
    }
    let adjacent = places.windows(2).all(|pair| {
        let [one, other] = [pair[0], pair[1]].map(|index| &log.events[index]);
        pair[1] == pair[0] + 1
            && one.stream == other.stream
            && one.version.next() == other.version
            && one.position.next() == other.position
    });
    if !adjacent {
        found.add(Violation::Torn {
            token: Token::clone(token),
        });
    }
    if stored > 0 && tries.is_refused() {
        found.add(Violation::RefusedButStored {
            token: Token::clone(token),
        });
    }
    if let (Some(told), Some(last)) = (told, places.last()) {
        let last = &log.events[*last];
        let ids = places.iter().map(|index| log.events[*index].id);
        let as_told = told.seen.version == last.version
            && told.position.is_none_or(|told| told == last.position)
            && (told.ids.is_empty() || told.ids.iter().copied().eq(ids));
        if !as_told {
            found.add(Violation::Misplaced {
                token: Token::clone(token),
                told: told.seen.version,
                stored: last.version,
            });
        }
    }
}

fn check_answers<S: PartialEq>(tries: &Tries<'_, S>, found: &mut Violations) {
    let token = &tries.command.token;
    let differs = tries.answers.windows(2).any(|pair| {
        let [one, other] = [pair[0], pair[1]];
        one.seen != other.seen
            || one.events != other.events
            || one.position != other.position
            || one.ids != other.ids
    });
    if differs {
        found.add(Violation::AnswersDiffer {
            token: Token::clone(token),
        });
    }
    let first = tries.answers.iter().filter(|told| !told.replayed);
    if first.count() > 1 {
        found.add(Violation::HandledTwice {
            token: Token::clone(token),
        });
    }
    if tries.forgotten && tries.command.key.is_some() {
        found.add(Violation::ReceiptForgotten {
            token: Token::clone(token),
        });
    }
}

fn check_receipt<S>(tries: &Tries<'_, S>, log: &StoredLog, found: &mut Violations) {
    let (Some(key), Some(receipts)) = (&tries.command.key, &log.receipts) else {
        return;
    };
    let receipt = receipts.get(&(tries.stream.clone(), key.clone()));
    if !fits(tries, log, receipt) {
        found.add(differs(&tries.command.token, key));
    }
}

fn differs(token: &Token, key: &IdempotencyKey) -> Violation {
    Violation::ReceiptDiffers {
        token: Token::clone(token),
        key: key.clone(),
    }
}

fn fits<S>(tries: &Tries<'_, S>, log: &StoredLog, receipt: Option<&Receipt>) -> bool {
    let places = log.places.get(&tries.command.token);
    let first = places.and_then(|places| places.first());
    let Some(receipt) = receipt else {
        return tries.answers.is_empty() && first.is_none();
    };
    let stored_as_told = places.map_or(0, Vec::len) == receipt.event_count as usize
        && first.is_none_or(|first| log.events[*first].version == receipt.first_version);
    let answered_as_told = tries.answers.iter().all(|told| {
        let after = receipt.first_version.get() + u64::from(receipt.event_count);
        told.events == receipt.event_count && Version::new(after) == told.seen.version.next()
    });
    stored_as_told && answered_as_told && !tries.is_refused()
}
