//! Commands behave the same in every mode.

use dormouse::{
    domain::{IdempotencyKey, Position, Version},
    runtime::{CommandError, CommandOptions, Expected},
    settings::Mode,
};
use futures_util::future::join_all;

use super::{
    person::{Person, Visit, memo, register, rename},
    place::{Kind, MODES, Place},
};
use crate::support::counter::id;

async fn many_commands_at_once_get_versions_without_a_gap_in_each_mode(kind: Kind) {
    for mode in MODES {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();

        let answers = join_all((0..600).map(|_| node.visit("a"))).await;

        let mut versions = Vec::new();
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(
                answer.reply,
                i64::try_from(answer.version.get()).unwrap() - 1
            );
            assert!(answer.changed && !answer.created);
            versions.push(answer.version.get());
        }
        versions.sort_unstable();
        assert_eq!(versions, (2..=601).collect::<Vec<u64>>(), "{mode:?}");
        let logged = node.events("a").await.len();
        assert_eq!(logged, if mode == Mode::StateOnly { 0 } else { 601 });
        let visits = place.column("a", "visits").await;
        let expected = dormouse::domain::RowValue::Int(600);
        assert_eq!(visits, mode.has_rows().then_some(expected), "{mode:?}");
        node.stop().await;
    }
}

async fn a_retried_key_has_one_effect_and_the_first_answer_in_each_mode(kind: Kind) {
    for mode in MODES {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        let keyed = |key: &str| CommandOptions {
            key: Some(IdempotencyKey::parse(key).unwrap()),
            ..CommandOptions::default()
        };
        let register = || register("ann");
        let first = node.persons.execute(&id("a"), register(), keyed("r")).await;
        let first = first.unwrap();
        assert!(first.created);
        let visit = || Visit { most: 9 };
        let visited = node.persons.execute(&id("a"), visit(), keyed("v")).await;
        let visited = visited.unwrap();
        node.visit("a").await.unwrap();

        node.stop().await;
        let node = place.start(mode).await;
        let again = node.persons.execute(&id("a"), register(), keyed("r")).await;
        let again = again.unwrap();
        let visited_again = node.persons.execute(&id("a"), visit(), keyed("v")).await;
        let visited_again = visited_again.unwrap();
        let other = node
            .persons
            .execute(&id("a"), Visit { most: 8 }, keyed("v"))
            .await;

        assert!(again.replayed && again.created, "{mode:?}");
        assert_eq!(
            (again.version, &again.events),
            (first.version, &first.events)
        );
        assert_eq!((visited_again.version.get(), visited_again.reply), (2, 1));
        assert_eq!(visited_again.position, visited.position);
        assert!(matches!(other, Err(CommandError::KeyReused)), "{other:?}");
        assert_eq!(node.state("a").await.0.known().visits, 2);
        node.stop().await;
    }
}

async fn the_version_a_caller_expects_is_checked_in_each_mode(kind: Kind) {
    for mode in MODES {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        let expecting = |expected| CommandOptions {
            expected,
            ..CommandOptions::default()
        };
        let absent = expecting(Expected::Absent);
        node.persons
            .execute(&id("a"), register("ann"), absent.clone())
            .await
            .unwrap();

        let twice = node
            .persons
            .execute(&id("a"), register("ann"), absent)
            .await;
        let at_one = expecting(Expected::At(Version::new(1)));
        let right = node
            .persons
            .execute(&id("a"), Visit { most: 9 }, at_one.clone())
            .await;
        let stale = node
            .persons
            .execute(&id("a"), Visit { most: 9 }, at_one)
            .await;

        assert!(
            matches!(twice, Err(CommandError::VersionMismatch { current }) if current.get() == 1),
            "{mode:?} {twice:?}"
        );
        assert_eq!(right.unwrap().version.get(), 2);
        assert!(
            matches!(stale, Err(CommandError::VersionMismatch { current }) if current.get() == 2),
            "{mode:?} {stale:?}"
        );
        node.stop().await;
    }
}

async fn a_command_of_a_row_alone_has_no_events_and_the_last_position(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::EventSourced).await;
    node.send("a", register("ann")).await.unwrap();
    node.visit("a").await.unwrap();
    node.stop().await;

    let node = place.start(Mode::StateOnly).await;
    let met = node.visit("a").await.unwrap();
    let new = node.send("b", register("bob")).await.unwrap();

    assert_eq!((met.version.get(), met.position), (3, Position::new(2)));
    assert!(met.events.is_empty() && met.changed);
    assert_eq!((new.version.get(), new.position), (1, Position::ZERO));
    assert!(new.created);
    assert_eq!(node.events("a").await.len(), 2);
    node.stop().await;
}

async fn one_who_left_stays_away_after_a_restart_where_the_row_is_alone(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::StateOnly).await;
    node.send("b", register("bob")).await.unwrap();
    node.send("b", super::person::Leave {}).await.unwrap();
    node.stop().await;

    let node = place.start(Mode::StateOnly).await;

    assert_eq!(node.state("b").await, (Person::Gone, 2));
    assert_eq!(place.column("b", "name").await, None);
    let again = node.send("b", register("bob")).await;
    assert!(matches!(again, Err(CommandError::Rejected { .. })));
    node.stop().await;
}

async fn what_no_column_tells_is_the_logs_and_cannot_be_changed_where_the_row_is_alone(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::DualWrite).await;
    node.send("a", register("ann")).await.unwrap();
    node.send("a", memo("tea")).await.unwrap();
    node.stop().await;

    let node = place.start(Mode::StateOnly).await;
    let refused = node.send("a", memo("coffee")).await;
    let visited = node.visit("a").await;
    place.set_text("a", "email", "ann@example.org").await;
    let (state, version) = node.state("a").await;

    assert!(
        matches!(&refused, Err(CommandError::Rejected { reason, .. }) if reason == "no-column"),
        "{refused:?}"
    );
    assert_eq!(visited.unwrap().reply, 1);
    assert_eq!((state.known().memo.as_deref(), version), (Some("tea"), 4));
    node.stop().await;
}

async fn a_command_that_changes_nothing_stores_nothing(kind: Kind) {
    for mode in MODES {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        let keyed = CommandOptions {
            key: Some(IdempotencyKey::parse("k").unwrap()),
            ..CommandOptions::default()
        };

        let no_op = node.send("a", rename("ann")).await.unwrap();
        let first = node
            .persons
            .execute(&id("a"), rename("ann"), keyed.clone())
            .await;
        node.send("a", rename("bea")).await.unwrap();
        let again = node.persons.execute(&id("a"), rename("ann"), keyed).await;

        assert_eq!((no_op.version.get(), no_op.changed), (1, false));
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!((first.version.get(), first.changed), (1, false));
        assert_eq!(
            (again.version.get(), again.replayed, again.created),
            (1, true, false)
        );
        assert_eq!(node.state("a").await.0.known().name, "bea");
        node.stop().await;
    }
}

async fn a_key_of_the_runtimes_own_is_no_callers(kind: Kind) {
    let place = Place::of(kind).await;
    let node = place.start(Mode::EventSourced).await;
    let options = CommandOptions {
        key: Some(IdempotencyKey::parse("dormouse:1").unwrap()),
        ..CommandOptions::default()
    };

    let answered = node
        .persons
        .execute(&id("a"), register("ann"), options)
        .await;

    assert!(matches!(answered, Err(CommandError::Invalid(_))));
    node.stop().await;
}

super::place::on_every_store!(
    many_commands_at_once_get_versions_without_a_gap_in_each_mode,
    a_retried_key_has_one_effect_and_the_first_answer_in_each_mode,
    the_version_a_caller_expects_is_checked_in_each_mode,
    a_command_of_a_row_alone_has_no_events_and_the_last_position,
    one_who_left_stays_away_after_a_restart_where_the_row_is_alone,
    what_no_column_tells_is_the_logs_and_cannot_be_changed_where_the_row_is_alone,
    a_command_that_changes_nothing_stores_nothing,
    a_key_of_the_runtimes_own_is_no_callers,
);
