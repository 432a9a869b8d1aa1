//! The answer of an append is lost: the caller hears the truth all the same.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use dormouse::{
    domain::{Claim, Version},
    runtime::CommandError,
    settings::JournalSettings,
    store::{AppendError, Commit, EventStore as _},
    testing::{Fault, Operation},
};
use futures_util::future::join_all;

use super::{
    node::{Node, Setup, foreign, keyed},
    rigged::Rigged,
    scale,
};
use crate::support::{
    Backend, backends,
    checker::{Heard, check, command, open, read, stream, told},
    counter::{Name, id},
    proxy::Proxy,
};

/// Sends all at once, and gives what callers were told.
async fn add_all(node: &Node, count: usize) -> Heard {
    let mut history = Heard::new();
    let adds = (0..count).map(|number| {
        let token = format!("t-{number}");
        let counter = format!("c{}", number % 7);
        let keyed = number % 2 == 0;
        let call = history.sent(stream("Counter", &counter), command(&token, keyed));
        let add = node.add(&counter, &token, keyed.then_some(&token));
        async move { (call, token, add.await.unwrap()) }
    });
    let adds: Vec<_> = adds.collect();
    for (call, token, answer) in join_all(adds).await {
        assert!(!answer.replayed, "nobody has sent {token} before");
        let (version, position) = (answer.version.get(), answer.position.get());
        history.answered(call, told(version, position, answer.replayed));
    }
    history
}

#[tokio::test]
async fn commits_whose_answer_or_call_was_lost_are_stored_once_and_succeed() {
    for backend in backends().await {
        let store = open(&backend.store_url()).await;
        let mut setup = Setup::default();
        setup.journal.max_events = 5;
        let node = setup.start_on(&store).await;
        // Being unavailable at the second try says nothing of the first.
        let tries = [
            [Fault::LoseAnswer, Fault::Fail],
            [Fault::LoseCall, Fault::LoseAnswer],
            [Fault::LoseAnswer, Fault::LoseCall],
            [Fault::LoseCall, Fault::Fail],
        ];
        for (call, faults) in (1..).step_by(3).zip(tries) {
            for (call, fault) in (call..).zip(faults) {
                node.store.inject(Operation::Append, call, fault);
            }
        }

        let history = add_all(&node, 60).await;

        assert!(node.store.calls(Operation::Append) >= 20);
        let log = check(&*store, &history).await;
        assert_eq!(log.events().len(), 60);
        node.runtime.shutdown().await;
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_found_out_by_a_retry_under_the_key() {
    for fault in [Fault::LoseAnswer, Fault::LoseCall] {
        for backend in backends().await {
            let stored = matches!(fault, Fault::LoseAnswer);
            let setup = Setup {
                journal: JournalSettings {
                    resolve_timeout: Duration::ZERO,
                    ..JournalSettings::default()
                },
                ..Setup::default()
            };
            let store = open(&backend.store_url()).await;
            let node = setup.start_on(&store).await;
            node.store.inject(Operation::Append, 1, fault.clone());

            let first = node.add("c", "t-1", Some("t-1")).await;
            let between = node.add("c", "t-2", None).await.unwrap();
            let again = node.add("c", "t-1", Some("t-1")).await.unwrap();

            assert!(matches!(first, Err(CommandError::OutcomeUnknown)));
            let (versions, replayed) = if stored {
                ([2, 1], true)
            } else {
                ([1, 2], false)
            };
            let found = [between.version, again.version].map(Version::get);
            assert_eq!((found, again.replayed), (versions, replayed));
            assert_eq!(node.state("c").await.total, 2);
            assert_eq!(read(&*store).await.events().len(), 2);
            node.runtime.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_claim_that_is_lost_while_the_first_append_is_on_its_way_is_not_told_to_be() {
    let late: Arc<Mutex<Vec<Arc<[Commit]>>>> = Arc::default();
    let store = Rigged::over_memory({
        let late = Arc::clone(&late);
        move |inner, batch| {
            let mut late = late.lock().unwrap();
            if batch[0].stream == stream("Counter", "c") && late.is_empty() {
                late.push(batch);
                let lost = AppendError::OutcomeUnknown("a scripted fault".into());
                return Box::pin(ready(Err(lost)));
            }
            Box::pin(async move { inner.append(batch).await })
        }
    });
    let node = Setup::shared().start_on(&store).await;
    let counters = node.counters.clone();
    let name = async |counter: &str, name: Option<&str>, key: &str| {
        let name = Name {
            name: name.map(str::to_owned),
        };
        let options = keyed(key, Duration::from_secs(20));
        counters.execute(&id(counter), name, options).await
    };
    // Another writer has the name, and the first append of ours does not get to the store.
    let taken = Commit {
        takes: vec![Claim::new("name", "late")],
        ..named("b", 0, r#"{"name":"late"}"#)
    };
    store.save(taken).await.unwrap();

    let first = name("c", Some("late"), "t-1").await;
    name("b", None, "t-2").await.unwrap();
    let batch = Arc::clone(&late.lock().unwrap()[0]);
    store.append(batch).await.unwrap();
    let again = name("c", Some("late"), "t-1").await.unwrap();

    let unknown = matches!(first, Err(CommandError::OutcomeUnknown));
    assert!(unknown, "{first:?}");
    assert_eq!((again.version.get(), again.replayed), (1, true));
}

/// The event of a name, as another writer stores it.
fn named(counter: &str, expected: u64, data: &str) -> Commit {
    foreign(counter, expected, "CounterNamedEvent", data)
}

#[tokio::test]
async fn answers_of_postgres_that_a_broken_connection_swallows_are_found_again() {
    let backend = Backend::postgres().await;
    let proxy = Proxy::before(&backend.store_url()).await;
    let store = open(&proxy.url).await;
    // Nothing else is done on the connection whose answers are lost.
    let setup = Setup {
        journal: JournalSettings {
            foreign_poll: Duration::from_hours(1),
            ..JournalSettings::default()
        },
        ..Setup::shared()
    };
    let node = setup.start_on(&store).await;
    let mut sent = 0;

    for _ in 0..8 * scale() {
        proxy.lose_answers_of_appends(1);
        let key = format!("t-{sent}");
        let options = keyed(&key, Duration::from_secs(20));
        let options = if sent % 2 == 0 {
            options
        } else {
            dormouse::runtime::CommandOptions::default()
        };
        let answer = node.add_with("c", &key, options).await.unwrap();
        sent += 1;
        assert!(!answer.replayed);
        assert_eq!((answer.version.get(), answer.reply), (sent, sent));
    }

    assert_eq!(proxy.answers_lost(), 8 * scale());
    let log = read(&*store).await;
    assert_eq!(log.events().len() as u64, sent);
    let appends = node.store.calls(Operation::Append);
    assert!(appends >= 2 * sent, "{appends} appends of {sent} commands");
}
