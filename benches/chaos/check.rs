//! Holds a history against the database: the seam to the checker of `dormouse::testing`.
//!
//! It knows no caller and no server: it reads the history's file and the store. To the checker's
//! promises it adds one: the time of events never goes back within an aggregate, whatever the
//! clocks of the nodes did.

mod listings;
mod trials;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use chrono::{DateTime, Utc};
use dormouse::{
    domain::{AggregateId, AggregateType, EventId, IdempotencyKey, Position, StreamId, Version},
    store::{EventFilter, EventStore, RecordedEvent},
    testing::checker::{
        self, Call, Command, Evidence, History, Refusal, Row, Seen, StoredLog, Subscriber, Told,
    },
};
use serde_json::Value;

use super::{
    history::{self, Follow, Heard, Line, Listing, Nanos, Read, Saw, Send, Token},
    rows,
};

pub(crate) use trials::trials;

/// What is told of the violations before they are only counted.
const TOLD: usize = 20;
/// What is refused by a decision, and so for good.
const DECIDED: [&str; 3] = ["claim-taken", "version-mismatch", "command-rejected"];

/// The aggregate type that callers write to most.
pub(crate) const ROLE: &str = "Role";

/// The type of an aggregate, by its id.
pub(crate) fn type_of(id: &str) -> &'static str {
    if id.starts_with("user-") {
        "User"
    } else {
        ROLE
    }
}

/// The part of an aggregate's state that shows tokens, by its id.
pub(crate) fn field_of(id: &str) -> &'static str {
    if id.starts_with("user-") {
        "nick_name"
    } else {
        "description"
    }
}

/// How a state shows the token of the command that wrote it; its key is the same.
pub(crate) fn shown(token: Token) -> String {
    format!("t-{token:016x}")
}

/// The token in what a state shows.
pub(crate) fn token_of(shown: &str) -> Option<Token> {
    Token::from_str_radix(shown.strip_prefix("t-")?, 16).ok()
}

/// What a state shows: the token of the last command that wrote that part of it.
pub(crate) type State = Option<Token>;

/// What a check found.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub(crate) struct Verdict {
    pub(crate) commands: usize,
    pub(crate) acknowledged: usize,
    /// Sent, and its caller never learnt what became of it.
    pub(crate) unknown: usize,
    pub(crate) unknown_and_stored: usize,
    pub(crate) refused: usize,
    pub(crate) reads: usize,
    /// What subscribers took for new, all together.
    pub(crate) seen: usize,
    /// Rows that were held against their events.
    pub(crate) rows: usize,
    /// Readings of the directory of users.
    pub(crate) listings: usize,
    pub(crate) events: usize,
    pub(crate) violations: usize,
    pub(crate) told: Vec<String>,
}

/// Checks a history against a store.
pub(crate) async fn check(path: &Path, store: &dyn EventStore) -> Verdict {
    judge(history::read(path).expect("the history is read"), store).await
}

/// Checks the lines of a history against a store.
pub(crate) async fn judge(lines: impl Iterator<Item = Line>, store: &dyn EventStore) -> Verdict {
    let (mut account, mut verdict) = (Account::default(), Verdict::default());
    for line in lines {
        account.add(line);
    }
    let run = account.run;
    let history = account.tell(&mut verdict);
    let log = StoredLog::read(store, |event| token_in(run, event)).await;
    let log = log.expect("the log is read");
    let log = log.with_receipts(store, &history).await;
    let log = log.expect("the receipts are read");
    verdict.events = log.events().len();
    verdict.unknown_and_stored = account
        .unknown
        .iter()
        .filter(|token| log.events_of(&shown(**token)).next().is_some())
        .count();
    let subscribers: Vec<Subscriber> = account.subscribers.into_values().collect();
    verdict.seen = subscribers.iter().map(|one| one.seen.len()).sum();
    let rows = if account.rows {
        let rows = rows::read(store).await;
        verdict.rows = rows.len();
        Some(with_every_stream(rows, &log))
    } else {
        None
    };
    let evidence = Evidence {
        history: &history,
        log: &log,
        subscribers: &subscribers,
        rows: rows.as_deref(),
    };
    let broken = checker::check(&evidence, fold);
    let mut told: Vec<String> = broken.iter().map(ToString::to_string).collect();
    told.extend(times_gone_back(log.events()));
    verdict.listings = account.listings.len();
    told.extend(listings::check(account.listings, log.events()));
    verdict.violations += told.len();
    verdict.told.extend(told);
    verdict.told.truncate(TOLD);
    verdict
}

/// Applies an event to what a state shows.
fn fold(state: &mut State, event: &RecordedEvent) {
    let data: Value = serde_json::from_str(event.data.get()).expect("an event is JSON");
    let field = field_of(event.stream.aggregate_id.as_str());
    let written = data[field].as_str().and_then(token_of);
    *state = written.or(*state);
}

/// Only roles have rows: of the others nothing is said, which is what their events fold to.
fn with_every_stream(mut rows: Vec<Row<State>>, log: &StoredLog) -> Vec<Row<State>> {
    let mut others: HashMap<&StreamId, (Version, State)> = HashMap::new();
    for event in log.events() {
        if event.stream.aggregate_type.as_str() != ROLE {
            let (version, state) = others.entry(&event.stream).or_default();
            *version = event.version;
            fold(state, event);
        }
    }
    rows.extend(others.into_iter().map(|(stream, (version, state))| Row {
        stream: stream.clone(),
        version,
        state,
    }));
    rows
}

/// What happened, to be brought into the order in which it did.
#[derive(Debug, Default)]
struct Account {
    run: u64,
    rows: bool,
    records: Vec<(Nanos, Record)>,
    unknown: BTreeSet<Token>,
    subscribers: HashMap<String, Subscriber>,
    listings: Vec<Listing>,
}

/// In the order of what counts as earlier, where two have one time: that makes the check weaker,
/// never wrong.
#[derive(Debug)]
enum Record {
    Send(Send),
    ReadSent(usize, String),
    Hear(Token, Heard),
    Read(usize, Read),
}

impl Record {
    const fn is_answer(&self) -> bool {
        matches!(self, Self::Hear(..) | Self::Read(..))
    }
}

impl Account {
    fn add(&mut self, line: Line) {
        let number = self.records.len();
        match line {
            Line::Run { run, rows, .. } => (self.run, self.rows) = (run, rows),
            Line::Send(send) => self.records.push((send.at, Record::Send(send))),
            Line::Hear(hear) => {
                let record = Record::Hear(hear.token, hear.what);
                self.records.push((hear.at, record));
            }
            Line::Read(read) => {
                let sent = Record::ReadSent(number, read.id.clone());
                self.records.push((read.sent, sent));
                self.records.push((read.at, Record::Read(number, read)));
            }
            Line::Follow(follow) => {
                let name = follow.subscriber.clone();
                self.subscribers.insert(name, follower(follow));
            }
            Line::Saw(saw) => self.saw(&saw),
            Line::Complete { subscriber } => {
                if let Some(one) = self.subscribers.get_mut(&subscriber) {
                    one.complete = true;
                }
            }
            Line::Listing(listing) => self.listings.push(listing),
            Line::Fault { .. } => {}
        }
    }

    fn saw(&mut self, saw: &Saw) {
        let one = self.subscribers.get_mut(&saw.subscriber);
        let one = one.expect("it said first what it follows");
        // What is no id is none that the log has.
        let id = saw.event.parse().unwrap_or(EventId(ulid::Ulid::nil()));
        one.seen.push((Position::new(saw.position), id));
    }

    /// The same, as the checker wants it; what is counted goes into the verdict.
    fn tell(&mut self, verdict: &mut Verdict) -> History<State> {
        let mut history = History::new();
        let mut calls: HashMap<Token, Call> = HashMap::new();
        let mut reads: HashMap<usize, Call> = HashMap::new();
        let (mut done, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        self.records
            .sort_by_key(|(at, record)| (*at, record.is_answer()));
        for (_, record) in std::mem::take(&mut self.records) {
            match record {
                Record::Send(send) => {
                    // A try that is never heard of is as unknown as one that is said to be.
                    unknown.insert(send.token);
                    let call = history.sent(stream(&send.id), command(&send));
                    calls.insert(send.token, call);
                }
                Record::Hear(token, heard) => {
                    let Some(call) = calls.get(&token) else {
                        verdict.violations += 1;
                        let told = format!("{} was heard of, not sent", shown(token));
                        verdict.told.push(told);
                        continue;
                    };
                    match &heard {
                        Heard::Done { .. } => {
                            done.insert(token);
                        }
                        Heard::Refused(_) => {
                            unknown.remove(&token);
                        }
                        Heard::Unknown(_) => {}
                    }
                    hear(&mut history, *call, heard);
                }
                Record::ReadSent(number, id) => {
                    reads.insert(number, history.read_sent(stream(&id)));
                }
                Record::Read(number, read) => {
                    verdict.reads += 1;
                    let seen = Seen {
                        version: Version::new(read.version),
                        state: Some(read.shows),
                    };
                    history.read_answered(reads[&number], seen);
                }
            }
        }
        unknown.retain(|token| !done.contains(token));
        verdict.commands = calls.len();
        verdict.acknowledged = done.len();
        verdict.unknown = unknown.len();
        verdict.refused = verdict.commands - done.len() - unknown.len();
        self.unknown = unknown;
        history
    }
}

fn follower(follow: Follow) -> Subscriber {
    let stream = follow.id.as_deref().map(stream);
    Subscriber {
        name: follow.subscriber,
        filter: EventFilter {
            aggregate_type: stream.as_ref().map(|stream| stream.aggregate_type.clone()),
            aggregate_id: stream.map(|stream| stream.aggregate_id),
            ..EventFilter::default()
        },
        after: Position::ZERO,
        seen: Vec::new(),
        complete: false,
    }
}

fn hear(history: &mut History<State>, call: Call, heard: Heard) {
    match heard {
        Heard::Done {
            version,
            position,
            event,
            replayed,
        } => {
            let id: Option<EventId> = event.parse().ok();
            let told = Told {
                seen: Seen {
                    version: Version::new(version),
                    state: None,
                },
                // Another program's event has none when its program hears that it is stored.
                position: (position > 0).then(|| Position::new(position)),
                events: 1,
                ids: id.into_iter().collect(),
                replayed,
            };
            history.answered(call, told);
        }
        Heard::Refused(code) if DECIDED.contains(&code.as_str()) => {
            history.refused(call, Refusal::Decided(None));
        }
        Heard::Refused(_) => history.refused(call, Refusal::NotServed),
        Heard::Unknown(_) => history.unknown(call),
    }
}

fn command(send: &Send) -> Command {
    let token = shown(send.token);
    let key = IdempotencyKey::parse(&token).expect("a token is a key");
    Command {
        token: token.into(),
        key: send.keyed.then_some(key),
        events: Some(1),
    }
}

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse(type_of(id)).expect("a type"),
        aggregate_id: AggregateId::parse(id).expect("an id"),
    }
}

/// The token of the command that an event is of: its correlation is made of the run and the token.
fn token_in(run: u64, event: &RecordedEvent) -> Option<checker::Token> {
    let bytes = u128::from(event.correlation_id.0).to_be_bytes();
    let half = |from: usize| {
        let half = bytes[from..from + 8].try_into();
        u64::from_be_bytes(half.expect("sixteen bytes have two halves"))
    };
    (half(0) == run).then(|| shown(half(8)).into())
}

fn times_gone_back(events: &[RecordedEvent]) -> Vec<String> {
    let mut last: HashMap<&StreamId, DateTime<Utc>> = HashMap::new();
    let mut told = Vec::new();
    for event in events {
        let time = event.occurred_at;
        if let Some(before) = last.insert(&event.stream, time)
            && before > time
        {
            let (stream, version) = (&event.stream, event.version);
            told.push(format!(
                "the time of {stream} goes back at version {version}: from {before} to {time}"
            ));
        }
    }
    told
}
