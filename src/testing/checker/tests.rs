//! Histories that are wrong on purpose, each caught by its name, and sound ones that are not.

mod agreement;
mod beside;

use std::{collections::HashMap, mem::discriminant};

use chrono::DateTime;
use serde_json::value::RawValue;
use ulid::Ulid;

use super::*;
use crate::{
    domain::{
        AggregateId, AggregateType, CorrelationId, EventId, IdempotencyKey, Position, StreamId,
        Version,
    },
    store::{EventFilter, Receipt, RecordedEvent},
};

/// The tokens of a stream's events, in their order.
type Tokens = Vec<String>;

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Sample").unwrap(),
        aggregate_id: AggregateId::parse(id).unwrap(),
    }
}

fn fold(state: &mut Tokens, event: &RecordedEvent) {
    state.push(event.event_type.clone());
}

/// Events of streams by `(stream, token)`, numbered as a store would.
fn log(events: &[(&str, &str)]) -> Vec<RecordedEvent> {
    let mut versions: HashMap<&str, Version> = HashMap::new();
    let numbered = events.iter().zip(1_u64..).map(|((id, token), position)| {
        let version = versions.entry(id).or_default();
        *version = version.next();
        RecordedEvent {
            id: EventId(Ulid::from_parts(0, position.into())),
            stream: stream(id),
            event_type: (*token).to_owned(),
            schema_version: 1,
            data: RawValue::NULL.to_owned(),
            version: *version,
            position: Position::new(position),
            occurred_at: DateTime::UNIX_EPOCH,
            created_by: None,
            correlation_id: CorrelationId(Ulid::nil()),
            causation_id: None,
        }
    });
    numbered.collect()
}

fn stored(events: Vec<RecordedEvent>) -> StoredLog {
    StoredLog::new(events, |event| Some(event.event_type.as_str().into()))
}

fn unkeyed(token: &str) -> Command {
    Command {
        token: token.into(),
        key: None,
        events: Some(1),
    }
}

fn keyed(token: &str) -> Command {
    Command {
        key: Some(IdempotencyKey::parse(token).unwrap()),
        ..unkeyed(token)
    }
}

fn told(version: u64) -> Told<Tokens> {
    Told {
        seen: seen(version, None),
        position: None,
        events: 1,
        ids: Vec::new(),
        replayed: false,
    }
}

fn seen(version: u64, state: Option<&[&str]>) -> Seen<Tokens> {
    Seen {
        version: Version::new(version),
        state: state.map(|tokens| tokens.iter().map(|token| (*token).to_owned()).collect()),
    }
}

impl History<Tokens> {
    fn done(&mut self, id: &str, command: Command, version: u64) {
        let call = self.sent(stream(id), command);
        self.answered(call, told(version));
    }

    fn shown(&mut self, id: &str, seen: Seen<Tokens>) {
        let read = self.read_sent(stream(id));
        self.read_answered(read, seen);
    }
}

fn check_log(history: &History<Tokens>, log: &StoredLog) -> Vec<Violation> {
    let evidence = Evidence {
        history,
        log,
        subscribers: &[],
        rows: None,
    };
    check(&evidence, fold)
}

/// Checks that one promise is broken, and that one only.
#[track_caller]
fn caught(history: &History<Tokens>, log: &StoredLog, wanted: &Violation) {
    assert_eq!(check_log(history, log), std::slice::from_ref(wanted));
}

/// Checks that a promise of this name is among the broken.
#[track_caller]
fn named(found: &[Violation], wanted: &Violation) {
    let is_wanted = |one: &Violation| discriminant(one) == discriminant(wanted);
    assert!(found.iter().any(is_wanted), "{found:?}");
}

/// Two streams, a retry, a rejection, an outcome that stays unknown, and reads: all in order.
fn sound() -> (History<Tokens>, Vec<RecordedEvent>) {
    let mut history = History::new();
    history.done("a", unkeyed("t-1"), 1);
    let first = history.sent(stream("a"), keyed("t-2"));
    history.shown("a", seen(1, Some(&["t-1"])));
    history.unknown(first);
    let second = history.sent(stream("a"), keyed("t-2"));
    let lost = history.sent(stream("b"), unkeyed("t-3"));
    history.answered(
        second,
        Told {
            replayed: true,
            ..told(2)
        },
    );
    history.unknown(lost);
    let refused = history.sent(stream("b"), unkeyed("t-4"));
    history.refused(refused, Refusal::Decided(Some(seen(0, Some(&[])))));
    history.shown("a", seen(2, Some(&["t-1", "t-2"])));
    history.done("b", unkeyed("t-5"), 1);
    (history, log(&[("a", "t-1"), ("a", "t-2"), ("b", "t-5")]))
}

#[test]
fn a_sound_history_breaks_no_promise_whether_the_unknown_is_stored_or_not() {
    let (mut history, mut events) = sound();
    let without = check_log(&history, &stored(events.clone()));
    events.extend(log(&[("b", "t-5"), ("b", "t-3")]).into_iter().skip(1));
    events[3].position = Position::new(4);
    events[3].id = EventId(Ulid::from_parts(0, 4));
    history.shown("b", seen(2, Some(&["t-5", "t-3"])));
    let with = check_log(&history, &stored(events));

    assert_eq!((without, with), (vec![], vec![]));
}

#[test]
fn an_acknowledged_command_that_is_not_stored_is_lost() {
    let (mut history, events) = sound();
    let call = history.sent(stream("c"), unkeyed("t-9"));
    history.answered(call, told(1));
    let found = check_log(&history, &stored(events));

    let token = "t-9".into();
    named(&found, &Violation::Lost { token });
}

#[test]
fn a_command_with_two_effects_is_doubled_whether_it_was_acknowledged_or_not() {
    let log = || stored(log(&[("a", "t-1"), ("a", "t-1")]));
    let mut acknowledged = History::new();
    acknowledged.done("a", unkeyed("t-1"), 2);
    let mut unknown = History::new();
    unknown.sent(stream("a"), unkeyed("t-1"));

    let doubled = Violation::Doubled {
        token: "t-1".into(),
        stored: 2,
        told: 1,
    };
    caught(&acknowledged, &log(), &doubled);
    caught(&unknown, &log(), &doubled);
}

#[test]
fn a_command_stored_in_part_or_apart_is_torn() {
    let two = |history: &mut History<Tokens>, version| {
        let command = Command {
            events: Some(2),
            ..unkeyed("t-1")
        };
        let call = history.sent(stream("a"), command);
        history.answered(
            call,
            Told {
                events: 2,
                ..told(version)
            },
        );
    };
    let mut part = History::new();
    two(&mut part, 1);
    let mut apart = History::new();
    let other = apart.sent(stream("b"), unkeyed("t-2"));
    two(&mut apart, 2);
    apart.answered(other, told(1));

    let token = "t-1".into();
    let torn = Violation::Torn { token };
    caught(&part, &stored(log(&[("a", "t-1")])), &torn);
    let between = log(&[("a", "t-1"), ("b", "t-2"), ("a", "t-1")]);
    caught(&apart, &stored(between), &torn);
}

#[test]
fn an_event_that_nobody_sent_or_sent_to_another_stream_is_invented() {
    let (history, mut events) = sound();
    events.extend(log(&[("z", "t-0"); 4]).into_iter().skip(3));
    events[3].version = Version::new(1);
    let invented = Violation::Invented {
        position: Position::new(4),
    };
    caught(&history, &stored(events.clone()), &invented);

    events[3].event_type = "t-4".to_owned();
    named(&check_log(&history, &stored(events)), &invented);
}

#[test]
fn what_was_refused_and_is_stored_is_a_swallowed_unknown() {
    let mut history = History::new();
    let call = history.sent(stream("a"), unkeyed("t-1"));
    history.refused(call, Refusal::NotServed);

    let token = "t-1".into();
    let wanted = Violation::RefusedButStored { token };
    caught(&history, &stored(log(&[("a", "t-1")])), &wanted);
}

#[test]
fn a_command_stored_elsewhere_than_told_is_misplaced() {
    let events = log(&[("a", "t-1"), ("a", "t-2")]);
    let answers: [fn(&mut Told<Tokens>); 3] = [
        |told| told.seen.version = Version::new(2),
        |told| told.position = Some(Position::new(2)),
        |told| told.ids = vec![EventId(Ulid::nil())],
    ];
    for answer in answers {
        let mut history = History::new();
        history.sent(stream("a"), unkeyed("t-2"));
        let call = history.sent(stream("a"), unkeyed("t-1"));
        let mut told = told(1);
        answer(&mut told);
        let version = told.seen.version;
        history.answered(call, told);

        let wanted = Violation::Misplaced {
            token: "t-1".into(),
            told: version,
            stored: Version::new(1),
        };
        caught(&history, &stored(events.clone()), &wanted);
    }
}

#[test]
fn numbers_with_a_gap_or_a_repeat_are_told() {
    let (history, events) = sound();
    let mut missing = events.clone();
    missing.remove(1);
    let mut twice = events.clone();
    twice[1].id = twice[0].id;
    let mut order = events;
    order.swap(0, 1);

    let missing = check_log(&history, &stored(missing));
    let twice = check_log(&history, &stored(twice));
    let order = check_log(&history, &stored(order));

    let position = Violation::PositionGap {
        after: Position::new(1),
        found: Position::new(3),
    };
    let version = Violation::VersionGap {
        stream: stream("a"),
        after: Version::ZERO,
        found: Version::new(2),
    };
    let id = EventId(Ulid::nil());
    named(&missing, &position);
    named(&order, &position);
    named(&order, &version);
    let position = Position::ZERO;
    named(&twice, &Violation::IdTwice { id, position });
}

#[test]
fn a_command_before_one_that_was_answered_when_it_was_sent_is_out_of_order() {
    let mut history = History::new();
    history.done("a", unkeyed("t-1"), 2);
    history.done("a", unkeyed("t-2"), 1);
    let events = stored(log(&[("a", "t-2"), ("a", "t-1")]));

    let found = check_log(&history, &events);

    let wanted = Violation::OutOfOrder {
        token: "t-2".into(),
        known: Version::new(2),
        stored: Version::new(1),
    };
    assert!(found.contains(&wanted), "{found:?}");
}

#[test]
fn a_read_older_than_what_was_known_is_stale_whoever_knew_it() {
    let (mut history, events) = sound();
    history.shown("a", seen(1, Some(&["t-1"])));
    let stale = |known| Violation::Stale {
        stream: stream("a"),
        seen: Version::new(1),
        known: Version::new(known),
    };
    caught(&history, &stored(events.clone()), &stale(2));

    let mut history = sound().0;
    let call = history.sent(stream("a"), unkeyed("t-6"));
    history.refused(call, Refusal::Decided(Some(seen(1, None))));
    caught(&history, &stored(events), &stale(2));
}

#[test]
fn a_version_shown_before_it_was_sent_or_never_stored_is_told() {
    let mut early = History::new();
    early.shown("a", seen(1, None));
    early.done("a", unkeyed("t-1"), 1);
    let mut never = History::new();
    never.done("a", unkeyed("t-1"), 1);
    never.shown("a", seen(2, None));

    let events = stored(log(&[("a", "t-1")]));
    let stream = stream("a");
    let found = check_log(&early, &events);
    let seen = Version::new(1);
    let wanted = Violation::BeforeItsTime {
        stream: stream.clone(),
        seen,
    };
    named(&found, &wanted);
    let seen = Version::new(2);
    caught(&never, &events, &Violation::NotStored { stream, seen });
}

#[test]
fn a_state_that_is_not_the_fold_of_its_events_is_wrong() {
    let (mut history, events) = sound();
    history.shown("a", seen(2, Some(&["t-2", "t-1"])));

    let wanted = Violation::WrongState {
        stream: stream("a"),
        version: Version::new(2),
        seen: format!("{:?}", ["t-2", "t-1"]),
        folded: format!("{:?}", ["t-1", "t-2"]),
    };
    caught(&history, &stored(events), &wanted);
}

#[test]
fn a_history_that_cannot_be_is_told() {
    let log = stored(log(&[("a", "t-1")]));
    let mut twice_ended = History::new();
    let call = twice_ended.sent(stream("a"), unkeyed("t-1"));
    twice_ended.answered(call, told(1));
    twice_ended.unknown(call);
    let mut two_commands = History::new();
    two_commands.done("a", unkeyed("t-1"), 1);
    two_commands.sent(stream("a"), unkeyed("t-1"));

    for history in [twice_ended, two_commands] {
        let found = check_log(&history, &log);
        assert!(
            matches!(found[..], [Violation::Unsound { .. }]),
            "{found:?}"
        );
    }
}
