//! The runtime on its own, over the memory store: what needs no database to be seen.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use dormouse::{
    domain::{CorrelationId, IdempotencyKey, Position, Version},
    runtime::{Aggregates, At, CommandError, CommandOptions, Expected, Runtime},
    settings::{AggregateSettings, Settings},
    store::{EventStore, memory::MemoryStore},
};
use futures_util::future::join_all;

use crate::support::counter::{Add, Counter, Name, Panic, commands, id};

async fn start(settings: Settings) -> (Runtime, Aggregates<Counter>, Arc<dyn EventStore>) {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let runtime = Runtime::builder(Arc::clone(&store))
        .settings(settings)
        .aggregate::<Counter>(commands)
        .start()
        .await
        .unwrap();
    let counters = runtime.aggregates::<Counter>().unwrap();
    (runtime, counters, store)
}

fn keyed(key: &str) -> CommandOptions {
    CommandOptions {
        key: Some(IdempotencyKey::parse(key).unwrap()),
        ..CommandOptions::default()
    }
}

#[tokio::test]
async fn many_commands_at_once_get_versions_without_a_gap_and_their_own_answers() {
    let (runtime, counters, store) = start(Settings::default()).await;

    let commands = (0..600).map(|number| {
        let counters = counters.clone();
        tokio::spawn(async move {
            let add = Add::one(format!("t{number}"));
            counters
                .execute(&id("c"), add, CommandOptions::default())
                .await
        })
    });
    let answers = join_all(commands).await;

    let mut versions: Vec<u64> = Vec::new();
    for answer in answers {
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.reply, answer.version.get());
        assert_eq!(answer.events.len(), 1);
        assert_eq!(answer.created, answer.version == Version::new(1));
        versions.push(answer.version.get());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=600).collect::<Vec<u64>>());
    let log = store.read_log(Position::ZERO, 1000).await.unwrap();
    assert_eq!(log.len(), 600);
    assert_eq!(runtime.shutdown().await.unanswered, 0);
}

#[tokio::test]
async fn a_retried_key_has_one_effect_and_the_first_answer_with_its_reply() {
    let (_runtime, counters, _) = start(Settings::default()).await;
    let first = counters
        .execute(&id("c"), Add::one("a"), keyed("k"))
        .await
        .unwrap();
    counters
        .execute(&id("c"), Add::one("b"), CommandOptions::default())
        .await
        .unwrap();

    let again = counters
        .execute(&id("c"), Add::one("a"), keyed("k"))
        .await
        .unwrap();
    let other = counters
        .execute(&id("c"), Add::one("other"), keyed("k"))
        .await;

    assert!(again.replayed && again.created);
    assert_eq!((again.reply, again.version), (1, first.version));
    assert_eq!(again.events, first.events);
    assert!(matches!(other, Err(CommandError::KeyReused)));
    let state = counters.state(&id("c")).await.unwrap().unwrap();
    assert_eq!(state.state.total, 2);
}

#[tokio::test]
async fn a_rejection_under_a_key_that_succeeded_before_is_answered_from_the_receipt() {
    let (_runtime, counters, _) = start(Settings::default()).await;
    let add = Add {
        amount: 1,
        token: "a".to_owned(),
        limit: Some(1),
    };
    counters
        .execute(&id("c"), add.clone(), keyed("k"))
        .await
        .unwrap();

    let again = counters.execute(&id("c"), add.clone(), keyed("k")).await;
    let rejected = counters.execute(&id("c"), add, keyed("new")).await;

    assert!(again.unwrap().replayed);
    assert!(
        matches!(rejected, Err(CommandError::Rejected { reason, .. }) if reason == "over-limit")
    );
}

#[tokio::test]
async fn a_no_op_under_a_key_keeps_its_answer() {
    let (_runtime, counters, _) = start(Settings::default()).await;
    let nothing = Add {
        amount: 0,
        token: String::new(),
        limit: None,
    };
    counters
        .execute(&id("c"), Add::one("a"), CommandOptions::default())
        .await
        .unwrap();
    let first = counters
        .execute(&id("c"), nothing.clone(), keyed("k"))
        .await
        .unwrap();
    counters
        .execute(&id("c"), Add::one("b"), CommandOptions::default())
        .await
        .unwrap();

    let again = counters
        .execute(&id("c"), nothing, keyed("k"))
        .await
        .unwrap();

    assert!(again.replayed && again.events.is_empty() && !again.created);
    assert_eq!((again.reply, again.version), (1, first.version));
    assert_eq!(again.position, first.position);
}

#[tokio::test]
async fn expected_versions_are_checked() {
    let (_runtime, counters, _) = start(Settings::default()).await;
    let expect = |expected| CommandOptions {
        expected,
        ..CommandOptions::default()
    };
    let absent = expect(Expected::Absent);
    counters
        .execute(&id("c"), Add::one("a"), absent.clone())
        .await
        .unwrap();

    let exists = counters.execute(&id("c"), Add::one("b"), absent).await;
    let stale = expect(Expected::At(Version::new(7)));
    let stale = counters.execute(&id("c"), Add::one("b"), stale).await;
    let fits = expect(Expected::At(Version::new(1)));
    let fits = counters.execute(&id("c"), Add::one("b"), fits).await;

    for mismatch in [exists, stale] {
        assert!(matches!(
            mismatch,
            Err(CommandError::VersionMismatch { current }) if current == Version::new(1)
        ));
    }
    assert_eq!(fits.unwrap().version, Version::new(2));
}

#[tokio::test]
async fn a_claim_belongs_to_one_aggregate_until_it_is_given_up() {
    let (_runtime, counters, _) = start(Settings::default()).await;
    let take = || Name {
        name: Some("x".to_owned()),
    };
    let options = CommandOptions::default;
    counters.execute(&id("a"), take(), options()).await.unwrap();

    let taken = counters.execute(&id("b"), take(), options()).await;
    counters
        .execute(&id("a"), Name { name: None }, options())
        .await
        .unwrap();
    let free = counters.execute(&id("b"), take(), options()).await;

    assert!(matches!(taken, Err(CommandError::ClaimTaken(claim)) if claim.value == "x"));
    assert_eq!(free.unwrap().version, Version::new(1));
}

#[tokio::test]
async fn a_panic_fails_its_command_and_no_other() {
    let (_runtime, counters, store) = start(Settings::default()).await;
    counters
        .execute(&id("c"), Add::one("a"), CommandOptions::default())
        .await
        .unwrap();

    for in_apply in [false, true] {
        let mix = join_all([true, false, true].map(|good| {
            let counters = counters.clone();
            async move {
                let c = id("c");
                if good {
                    let add = Add::one("b");
                    let added = counters.execute(&c, add, CommandOptions::default());
                    added.await.map(|_| ())
                } else {
                    let panic = Panic { in_apply };
                    let panicked = counters.execute(&c, panic, CommandOptions::default());
                    panicked.await.map(|_| ())
                }
            }
        }))
        .await;

        assert!(mix[0].is_ok() && mix[2].is_ok(), "{mix:?}");
        assert!(matches!(mix[1], Err(CommandError::Internal(_))));
    }

    let state = counters.state(&id("c")).await.unwrap().unwrap();
    assert_eq!(state.state.total, 5);
    assert_eq!(store.last_position().await.unwrap().get(), 5);
}

#[tokio::test]
async fn correlation_is_made_where_it_is_absent_and_kept_where_it_is_given() {
    let (runtime, counters, store) = start(Settings::default()).await;
    let given = CorrelationId(runtime.new_id());
    let options = CommandOptions {
        correlation_id: Some(given),
        ..CommandOptions::default()
    };

    let kept = counters
        .execute(&id("c"), Add::one("a"), options)
        .await
        .unwrap();
    let made = counters
        .execute(&id("c"), Add::one("b"), CommandOptions::default())
        .await
        .unwrap();

    assert_eq!(kept.correlation_id, given);
    assert_ne!(made.correlation_id, given);
    let log = store.read_log(Position::ZERO, 10).await.unwrap();
    assert_eq!(log[1].correlation_id, made.correlation_id);
}

#[tokio::test]
async fn what_is_brought_in_keeps_its_time_unless_it_goes_back_or_lies_ahead() {
    let (_runtime, counters, store) = start(Settings::default()).await;
    let at = |seconds: i64| DateTime::from_timestamp(seconds, 123_456_789);
    let now = Utc::now();
    let ahead = now + TimeDelta::days(1);

    for occurred_at in [at(1000), at(2000), at(1500), Some(ahead), None] {
        let options = CommandOptions {
            occurred_at,
            ..CommandOptions::default()
        };
        let id = id("c");
        let added = counters.execute(&id, Add::one("t"), options);
        added.await.unwrap();
    }

    let log = store.read_log(Position::ZERO, 10).await.unwrap();
    let times: Vec<DateTime<Utc>> = log.iter().map(|event| event.occurred_at).collect();
    let micros = |seconds| DateTime::from_timestamp(seconds, 123_456_000).unwrap();
    assert_eq!(times[..3], [micros(1000), micros(2000), micros(2000)]);
    assert!(times[3] > micros(2000) && times[3] < ahead, "{times:?}");
    assert!(times[4] >= times[3] && times[4] < ahead, "{times:?}");
}

#[tokio::test]
async fn a_schema_of_a_command_that_is_not_there_stops_the_start() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());

    let started = Runtime::builder(store)
        .aggregate::<Counter>(|counter| commands(counter).command_schema::<String>("subtract"))
        .start()
        .await;

    let error = started.unwrap_err();
    assert!(error.to_string().contains("`subtract`"), "{error}");
}

#[tokio::test]
async fn a_state_is_read_as_it_was_at_a_version_or_a_time() {
    for snapshot_every in [0, 3] {
        let mut settings = Settings::default();
        let counter = AggregateSettings {
            snapshot_every,
            snapshot_history_every: snapshot_every,
            ..AggregateSettings::default()
        };
        settings.aggregates.insert("Counter".to_owned(), counter);
        settings.runtime.recovery_page = 4;
        let (runtime, counters, _store) = start(settings).await;
        let second = |second: i64| DateTime::from_timestamp(1000 + second, 0).unwrap();
        // Two events share each second.
        for number in 0..20 {
            let options = CommandOptions {
                occurred_at: Some(second(number / 2)),
                ..CommandOptions::default()
            };
            let added = Add::one(format!("t{number}"));
            counters.execute(&id("c"), added, options).await.unwrap();
        }
        let at = async |at: At| {
            let found = counters.state_at(&id("c"), at).await.unwrap();
            found.map(|found| (found.version.get(), found.state.total))
        };

        for version in 1..=20 {
            let found = at(At::Version(Version::new(version))).await;
            assert_eq!(found, Some((version, version)));
        }
        for number in 0..10 {
            let found = at(At::Time(second(i64::try_from(number).unwrap()))).await;
            assert_eq!(found, Some((2 * number + 2, 2 * number + 2)));
        }
        let just_before = At::Time(second(5) - TimeDelta::microseconds(1));
        assert_eq!(at(just_before).await, Some((10, 10)));
        assert_eq!(at(At::Time(second(99))).await, Some((20, 20)));
        assert_eq!(at(At::Time(second(-1))).await, None);
        assert_eq!(at(At::Version(Version::new(21))).await, None);
        assert_eq!(at(At::Version(Version::ZERO)).await, None);
        let nobody = counters.state_at(&id("d"), At::Time(second(99))).await;
        assert!(nobody.unwrap().is_none());
        let steps = runtime.steps("Counter", id("c"), Version::new(17), 9).await;
        let steps = steps.unwrap().unwrap();
        let versions: Vec<u64> = steps
            .steps
            .iter()
            .map(|step| step.event.version.get())
            .collect();
        assert_eq!(versions, [18, 19, 20]);
        assert_ne!(steps.before.get(), steps.steps[0].state.get());
        let beyond = runtime.steps("Counter", id("c"), Version::new(21), 9).await;
        assert!(beyond.unwrap().is_none());
    }
}
