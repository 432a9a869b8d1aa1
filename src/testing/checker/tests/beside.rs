//! What lies beside the log: answers under keys, receipts, rows and subscribers.

use super::*;

#[test]
fn a_key_that_answers_differently_or_is_forgotten_is_told() {
    let token: Token = "t-1".into();
    let events = stored(log(&[("a", "t-1"), ("a", "t-2")]));
    let retry = |end: fn(&mut History<Tokens>, Call)| {
        let mut history = History::new();
        history.sent(stream("a"), unkeyed("t-2"));
        history.done("a", keyed("t-1"), 1);
        let call = history.sent(stream("a"), keyed("t-1"));
        end(&mut history, call);
        history
    };
    let replayed = |version| Told {
        replayed: true,
        ..told(version)
    };

    let same = retry(|history, call| history.refused(call, Refusal::NotServed));
    assert_eq!(check_log(&same, &events), []);
    let differs = retry(|history, call| {
        let told = Told {
            replayed: true,
            ..told(2)
        };
        history.answered(call, told);
    });
    let wanted = Violation::AnswersDiffer {
        token: Token::clone(&token),
    };
    caught(&differs, &events, &wanted);
    let twice = retry(|history, call| history.answered(call, told(1)));
    let wanted = Violation::HandledTwice {
        token: Token::clone(&token),
    };
    caught(&twice, &events, &wanted);
    let forgotten = retry(|history, call| history.refused(call, Refusal::Decided(None)));
    caught(&forgotten, &events, &Violation::ReceiptForgotten { token });
    let mut good = retry(|_, _| {});
    let call = good.sent(stream("a"), keyed("t-1"));
    good.answered(call, replayed(1));
    assert_eq!(check_log(&good, &events), []);
}

#[test]
fn a_receipt_that_is_missing_or_tells_something_else_is_told() {
    let mut history = History::new();
    history.done("a", keyed("t-1"), 1);
    let refused = history.sent(stream("a"), keyed("t-2"));
    history.refused(refused, Refusal::NotServed);
    let key = |token: &str| (stream("a"), IdempotencyKey::parse(token).unwrap());
    let receipt = |first_version, event_count| Receipt {
        id: Ulid::nil(),
        command_hash: [0; 32],
        first_version: Version::new(first_version),
        event_count,
        reply: None,
        correlation_id: CorrelationId(Ulid::nil()),
    };
    let check = |receipts: Vec<(&str, Receipt)>| {
        let receipts = receipts.into_iter().map(|(token, it)| (key(token), it));
        let events = stored(log(&[("a", "t-1")])).and_receipts(receipts.collect());
        check_log(&history, &events)
    };
    let differs = |token: &str| {
        vec![Violation::ReceiptDiffers {
            token: token.into(),
            key: key(token).1,
        }]
    };

    assert_eq!(check(vec![("t-1", receipt(1, 1))]), []);
    assert_eq!(check(vec![]), differs("t-1"));
    assert_eq!(check(vec![("t-1", receipt(2, 1))]), differs("t-1"));
    assert_eq!(check(vec![("t-1", receipt(1, 2))]), differs("t-1"));
    let of_a_refused = vec![("t-1", receipt(1, 1)), ("t-2", receipt(2, 0))];
    assert_eq!(check(of_a_refused), differs("t-2"));
}

#[test]
fn a_row_that_is_behind_wrong_or_missing_is_told() {
    let (history, events) = sound();
    let log = stored(events);
    let row = |id: &str, version, tokens: &[&str]| Row {
        stream: stream(id),
        version: Version::new(version),
        state: seen(version, Some(tokens)).state.unwrap(),
    };
    let check = |rows: &[Row<Tokens>]| {
        let evidence = Evidence {
            history: &history,
            log: &log,
            subscribers: &[],
            rows: Some(rows),
        };
        check(&evidence, fold)
    };
    let behind = |id: &str, row, stored| Violation::RowBehind {
        stream: stream(id),
        row: Version::new(row),
        stored: Version::new(stored),
    };
    let [a, b] = [row("a", 2, &["t-1", "t-2"]), row("b", 1, &["t-5"])];

    assert_eq!(check(&[a.clone(), b.clone()]), []);
    assert_eq!(check(std::slice::from_ref(&a)), [behind("b", 0, 1)]);
    let old = row("a", 1, &["t-1"]);
    assert_eq!(check(&[old, b.clone()]), [behind("a", 1, 2)]);
    let invented = row("z", 1, &["t-1"]);
    assert_eq!(check(&[a, b.clone(), invented]), [behind("z", 1, 0)]);
    let wrong = row("a", 2, &["t-1"]);
    assert!(matches!(
        &check(&[wrong, b])[..],
        [Violation::WrongState { .. }]
    ));
}

#[test]
fn a_subscriber_that_skips_repeats_or_sees_something_else_is_told() {
    let (history, events) = sound();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.position, event.id))
        .collect();
    let log = stored(events);
    let check = |filter: EventFilter, seen: &[(Position, EventId)], complete| {
        let subscriber = Subscriber {
            name: "s".to_owned(),
            filter,
            after: Position::ZERO,
            seen: seen.to_vec(),
            complete,
        };
        let evidence = Evidence {
            history: &history,
            log: &log,
            subscribers: &[subscriber],
            rows: None,
        };
        check(&evidence, fold)
    };
    let [one, two, three] = [seen[0], seen[1], seen[2]];
    let all = EventFilter::default;
    let name = || "s".to_owned();
    let skipped = |position| Violation::Skipped {
        subscriber: name(),
        position,
    };
    let repeated = |position| Violation::Repeated {
        subscriber: name(),
        position,
    };
    let other = |position| Violation::Other {
        subscriber: name(),
        position,
    };
    let of_b = EventFilter {
        aggregate_id: Some(stream("b").aggregate_id),
        ..all()
    };

    assert_eq!(check(all(), &seen, true), []);
    assert_eq!(check(all(), &[one], false), []);
    assert_eq!(check(of_b.clone(), &[three], true), []);
    assert_eq!(check(all(), &[one, two], true), [skipped(three.0)]);
    assert_eq!(check(all(), &[one, three], true), [skipped(two.0)]);
    assert_eq!(
        check(all(), &[one, two, two, three], true),
        [repeated(two.0)]
    );
    let reordered = check(all(), &[one, three, two], true);
    assert_eq!(reordered, [skipped(two.0), repeated(two.0)]);
    assert_eq!(check(of_b, &[one, three], true), [other(one.0)]);
    assert_eq!(
        check(all(), &[one, (two.0, one.1), three], true),
        [other(two.0)]
    );
}
