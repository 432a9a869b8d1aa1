//! The judge on trial: histories that are wrong on purpose, each of which it must catch.
//!
//! They run before every proof, for a judge that finds nothing must be known to be able to.

use std::sync::Arc;

use dormouse::{
    domain::{
        AggregateId, AggregateType, CorrelationId, EventId, IdempotencyKey, StreamId, Version,
    },
    store::{Commit, EventStore as _, NewEvent, NewReceipt, memory::MemoryStore},
};
use serde_json::value::RawValue;
use ulid::Ulid;

use super::{ROLE, judge, shown};
use crate::history::{Entry, Follow, Hear, Heard, Line, Listing, Nanos, Read, Saw, Send, Token};

const RUN: u64 = 7;
const ID: &str = "trial";
const COMMANDS: u64 = 6;
const FOLLOWER: &str = "follower";

type Spoil = fn(&mut Vec<Line>);

/// What is done to a history that is right, and a part of what must be found then.
const SPOILS: [(&str, Spoil, &str); 16] = [
    (
        "a receipt was not found again",
        refuse_again,
        "was then refused",
    ),
    (
        "an acknowledged command is not stored",
        lose,
        "is not stored",
    ),
    (
        "a stored command was never sent",
        forget,
        "of no command that was sent",
    ),
    (
        "a version is told wrong",
        |lines| shift(lines),
        "was told to be at",
    ),
    (
        "a stored command was refused",
        |lines| refuse(lines),
        "was refused and is stored",
    ),
    (
        "a retry gets another answer",
        answer_twice,
        "were answered differently",
    ),
    (
        "an answer came before an earlier one's send",
        |lines| reorder(lines),
        "was known, and is stored at",
    ),
    (
        "a read is older than an answer before it",
        read_stale,
        "was shown to one who asked",
    ),
    (
        "a read shows what is not stored",
        read_other,
        "the events fold to",
    ),
    ("an answer was not asked for", hear_unsent, "not sent"),
    (
        "a subscriber does not see an event",
        |lines| see(lines, |seen| drop(seen.remove(2))),
        "did not see position 3",
    ),
    (
        "a subscriber sees an event again",
        |lines| see(lines, |seen| seen.insert(3, seen[2].clone())),
        "saw position 3 again",
    ),
    (
        "a subscriber sees what is not stored",
        |lines| see(lines, |seen| seen[2].event = event_id(77).to_string()),
        "what the log does not hold there",
    ),
    (
        "a row is not written",
        |lines| expect_rows(lines),
        "the row is at version",
    ),
    (
        "a user is listed that is not there",
        |lines| list(lines, &[(3, 1)]),
        "lists 1 users",
    ),
    (
        "a directory goes back",
        |lines| list(lines, &[(3, 0), (2, 0)]),
        "is at position 2 after it was at 3",
    ),
];

/// Tries the judge, and tells the first thing that it got wrong.
pub(crate) async fn trials() -> Result<usize, String> {
    let right = verdict_on(|_| {}, false).await;
    if right.violations > 0 || right.acknowledged != 5 || right.unknown_and_stored != 1 {
        return Err(format!("a history that is right: {right:?}"));
    }
    for (name, spoil, part) in SPOILS {
        let found = verdict_on(spoil, false).await;
        if !found.told.iter().any(|told| told.contains(part)) {
            return Err(format!("the judge did not see that {name}: {found:?}"));
        }
    }
    let doubled = verdict_on(|_| {}, true).await;
    if !doubled.told.iter().any(|told| told.contains("it has")) {
        return Err(format!(
            "the judge did not see an effect twice: {doubled:?}"
        ));
    }
    Ok(SPOILS.len() + 1)
}

async fn verdict_on(spoil: impl Fn(&mut Vec<Line>), doubled: bool) -> super::Verdict {
    let store = MemoryStore::new();
    let mut lines = vec![Line::Run {
        run: RUN,
        seed: 0,
        what: String::new(),
        rows: false,
    }];
    for token in 1..=COMMANDS {
        store_one(&store, token, token).await;
        lines.extend(told_of(token));
    }
    let subscriber = FOLLOWER.to_owned();
    lines.push(Line::Follow(Follow {
        subscriber: subscriber.clone(),
        id: None,
    }));
    lines.extend((1..=COMMANDS).map(|position| {
        Line::Saw(Saw {
            subscriber: subscriber.clone(),
            position,
            event: event_id(position).to_string(),
        })
    }));
    lines.push(Line::Complete { subscriber });
    if doubled {
        store_one(&store, COMMANDS, COMMANDS + 1).await;
    }
    spoil(&mut lines);
    judge(lines.into_iter(), &store).await
}

fn event_id(version: u64) -> Ulid {
    Ulid::from(u128::from(version))
}

async fn store_one(store: &MemoryStore, token: Token, version: u64) {
    let data = format!(r#"{{"description":"{}"}}"#, shown(token));
    let event = NewEvent {
        id: EventId(event_id(version)),
        event_type: "RoleUpdatedEvent".into(),
        schema_version: 1,
        data: RawValue::from_string(data).expect("it is JSON"),
    };
    let key = if version == token {
        shown(token)
    } else {
        format!("{}-again", shown(token))
    };
    let receipt = NewReceipt {
        id: event_id(1000 + version),
        // A second effect of one command has come by another key, or it could not be.
        key: IdempotencyKey::parse(&key).expect("a key"),
        command_hash: [0; 32],
        reply: None,
    };
    let commit = Commit {
        stream: StreamId {
            aggregate_type: AggregateType::parse(ROLE).expect("a type"),
            aggregate_id: AggregateId::parse(ID).expect("an id"),
        },
        expected: Version::new(version - 1),
        events: vec![event],
        occurred_at: chrono::DateTime::UNIX_EPOCH,
        created_by: None,
        correlation_id: CorrelationId(Ulid::from(u128::from(RUN) << 64 | u128::from(token))),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: Some(receipt),
        row: None,
    };
    store.append(Arc::from([commit])).await.expect("it stores");
}

/// Each command and a read after it, one after another; the answer to the last is not known.
fn told_of(token: Token) -> Vec<Line> {
    let what = if token == COMMANDS {
        Heard::Unknown("cut off".to_owned())
    } else {
        done(token, token)
    };
    let at = token * 100;
    vec![
        send(token, at),
        hear(token, at + 10, what),
        read(at + 20, token, token),
    ]
}

fn send(token: Token, at: Nanos) -> Line {
    Line::Send(Send {
        at,
        token,
        id: ID.to_owned(),
        command: "update".to_owned(),
        keyed: true,
        expects: None,
        node: 0,
    })
}

fn hear(token: Token, at: Nanos, what: Heard) -> Line {
    Line::Hear(Hear { at, token, what })
}

fn done(version: u64, position: u64) -> Heard {
    Heard::Done {
        version,
        position,
        event: event_id(version).to_string(),
        replayed: false,
    }
}

fn read(sent: Nanos, version: u64, shows: Token) -> Line {
    Line::Read(Read {
        sent,
        at: sent + 10,
        id: ID.to_owned(),
        version,
        shows: Some(shows),
        node: 0,
    })
}

fn lose(lines: &mut Vec<Line>) {
    let version = COMMANDS + 1;
    lines.extend([send(99, 2000), hear(99, 2010, done(version, version))]);
}

fn forget(lines: &mut Vec<Line>) {
    lines.retain(|line| match line {
        Line::Send(send) => send.token != 3,
        Line::Hear(hear) => hear.token != 3,
        _ => true,
    });
}

fn shift(lines: &mut [Line]) {
    replace(lines, 3, &done(4, 4));
}

fn refuse(lines: &mut [Line]) {
    replace(lines, 3, &Heard::Refused("store-unavailable".to_owned()));
}

fn replace(lines: &mut [Line], token: Token, what: &Heard) {
    for line in lines {
        if let Line::Hear(hear) = line
            && hear.token == token
        {
            hear.what.clone_from(what);
        }
    }
}

fn refuse_again(lines: &mut Vec<Line>) {
    let refused = Heard::Refused("version-mismatch".to_owned());
    lines.extend([send(2, 2000), hear(2, 2010, refused)]);
}

fn answer_twice(lines: &mut Vec<Line>) {
    lines.extend([send(2, 2000), hear(2, 2010, done(5, 5))]);
}

fn reorder(lines: &mut [Line]) {
    for line in lines {
        if let Line::Send(send) = line
            && send.token == 2
        {
            send.at = 450;
        } else if let Line::Hear(hear) = line
            && hear.token == 2
        {
            hear.at = 460;
        }
    }
}

fn read_stale(lines: &mut Vec<Line>) {
    lines.push(read(550, 4, 4));
}

fn read_other(lines: &mut Vec<Line>) {
    lines.push(read(430, 4, 3));
}

/// Changes what the subscriber took for new.
fn see(lines: &mut Vec<Line>, change: impl Fn(&mut Vec<Saw>)) {
    let mut seen: Vec<Saw> = Vec::new();
    lines.retain(|line| match line {
        Line::Saw(saw) => {
            seen.push(saw.clone());
            false
        }
        _ => true,
    });
    change(&mut seen);
    lines.extend(seen.into_iter().map(Line::Saw));
}

fn expect_rows(lines: &mut [Line]) {
    if let Some(Line::Run { rows, .. }) = lines.first_mut() {
        *rows = true;
    }
}

/// Readings one after another: a position, and how many users are shown.
fn list(lines: &mut Vec<Line>, readings: &[(u64, u64)]) {
    for (sent, (position, users)) in (3000..).step_by(10).zip(readings) {
        let user = |number| Entry {
            id: format!("user-{number}"),
            version: 1,
            shows: None,
        };
        lines.push(Line::Listing(Listing {
            sent,
            at: sent + 5,
            position: *position,
            users: (0..*users).map(user).collect(),
        }));
    }
}

fn hear_unsent(lines: &mut Vec<Line>) {
    lines.push(hear(98, 2000, done(1, 1)));
}
