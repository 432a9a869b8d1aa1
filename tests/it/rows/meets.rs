//! Rows that other programs write: no answer and no decision rests on a stale one.

use std::sync::Arc;

use dormouse::{
    domain::RowValue,
    runtime::{CommandError, RecoveryError, Runtime, StartError, StateError},
    settings::{AggregateSettings, Mode, Settings},
};

use super::{
    person::{NOBODYS, Person, Tag, Visit, long_ago, register, rename, unmapped},
    place::{Kind, Place, WITH_ROWS},
};
use crate::support::counter::id;

async fn a_row_that_was_there_before_is_adopted_on_touch(kind: Kind) {
    let place = Place::of(kind).await;
    place.insert("a", "ann").await;
    let node = place.start(Mode::DualWrite).await;

    let (state, version) = node.state("a").await;

    assert_eq!((state.known().name.as_str(), version), ("ann", 1));
    let events = node.events("a").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type, "PersonAdoptedEvent");
    assert_eq!(events[0].occurred_at, long_ago());
    assert_eq!(events[0].created_by.as_ref().unwrap().as_str(), "them");
    assert_eq!(node.visit("a").await.unwrap().reply, 1);
    assert_eq!(node.event_types("a").await.len(), 2);
    node.stop().await;
}

async fn a_mapping_that_panics_on_who_made_a_row_is_told_and_nobody_else_suffers(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        for of in ["a", "b"] {
            node.send(of, register(of)).await.unwrap();
            assert_eq!(node.state(of).await.0.known().name, of);
        }
        place.set_text("a", "made_by", NOBODYS).await;

        let read = node.persons.state(&id("a")).await;

        let Err(StateError::Unrecoverable(told)) = read else {
            panic!("{mode:?}: {read:?}");
        };
        assert!(
            matches!(*told, RecoveryError::MappingPanicked { .. }),
            "{told:?}"
        );
        assert_eq!(node.visit("b").await.unwrap().reply, 1);
        place.set_text("a", "made_by", "them").await;
        assert_eq!(node.visit("a").await.unwrap().reply, 1);
        node.stop().await;
    }
}

async fn a_row_that_is_met_alone_is_at_version_one_and_leaves_the_log_alone(kind: Kind) {
    let place = Place::of(kind).await;
    place.insert("a", "ann").await;
    let node = place.start(Mode::StateOnly).await;

    assert_eq!(node.state("a").await.1, 1);
    let visited = node.visit("a").await.unwrap();

    assert_eq!((visited.version.get(), visited.created), (2, false));
    assert!(node.events("a").await.is_empty());
    assert_eq!(place.column("a", "visits").await, Some(RowValue::Int(1)));
    node.stop().await;
}

async fn a_read_shows_what_others_wrote_since_the_last_one(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        for (number, email) in ["one", "two", "one"].into_iter().enumerate() {
            place.set_text("a", "email", email).await;

            let (state, version) = node.state("a").await;

            assert_eq!(state.known().email.as_deref(), Some(email));
            assert_eq!(version, 2 + number as u64, "{mode:?}");
            // Reading again changes nothing.
            assert_eq!(node.state("a").await.1, version);
        }
        node.stop().await;
    }
}

async fn a_decision_rests_on_what_others_wrote_between_two_commands(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        for _ in 0..5 {
            let Some(RowValue::Int(visits)) = place.column("a", "visits").await else {
                panic!("no visits");
            };
            place.set("a", "visits", RowValue::Int(visits + 10)).await;

            let visited = node.visit("a").await.unwrap();

            assert_eq!(visited.reply, visits + 11, "{mode:?}");
        }
        // The row was 55, they say 7.
        place.set("a", "visits", RowValue::Int(7)).await;
        let rejected = node.send("a", Visit { most: 7 }).await;
        assert!(matches!(rejected, Err(CommandError::Rejected { .. })));
        place.set("a", "visits", RowValue::Int(6)).await;
        assert_eq!(node.send("a", Visit { most: 7 }).await.unwrap().reply, 7);
        let told = node.event_types("a").await;
        let reconciled = told.iter().filter(|told| *told == "PersonReconciledEvent");
        let expected = if mode == Mode::DualWrite { 7 } else { 0 };
        assert_eq!(reconciled.count(), expected);
        node.stop().await;
    }
}

async fn a_no_op_rests_on_what_others_wrote(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        place.set_text("a", "name", "bea").await;

        let renamed = node.send("a", rename("ann")).await.unwrap();

        assert!(renamed.changed, "{mode:?}");
        assert_eq!(place.text("a", "name").await.as_deref(), Some("ann"));
        node.stop().await;
    }
}

async fn a_row_that_others_deleted_or_made_anew_is_what_it_is(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        place.remove("a").await;

        assert_eq!(node.state("a").await, (Person::Nobody, 2), "{mode:?}");
        let gone = node.visit("a").await;
        assert!(matches!(gone, Err(CommandError::Rejected { .. })));
        place.insert("a", "ann").await;
        let (state, version) = node.state("a").await;
        assert_eq!((state.known().name.as_str(), version), ("ann", 3));
        node.stop().await;
    }
}

async fn columns_that_are_not_mapped_are_left_alone(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        place.insert("a", "ann").await;
        place.set_text("a", "theirs", "kept").await;
        let node = place.start(mode).await;

        let tag = Tag {
            tag: "blue".to_owned(),
        };
        node.send("a", tag).await.unwrap();

        assert_eq!(place.text("a", "theirs").await.as_deref(), Some("kept"));
        assert_eq!(place.text("a", "made_by").await.as_deref(), Some("them"));
        let tags = place.tags("a").await;
        assert_eq!(tags, 1);
        node.stop().await;
    }
}

async fn a_row_that_is_no_state_is_told_with_its_column_and_heals(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        node.send("b", register("bob")).await.unwrap();
        place.set("a", "visits", RowValue::Int(-1)).await;

        let command = node.visit("a").await.unwrap_err();
        let read = node.persons.state(&id("a")).await.unwrap_err();

        let CommandError::Unrecoverable(error) = command else {
            panic!("{command:?}");
        };
        let told = dormouse::domain::error_chain(&*error);
        assert!(
            told.contains("Person/a") && told.contains("`persons`"),
            "{told}"
        );
        assert!(
            told.contains("column `visits` is less than nothing"),
            "{told}"
        );
        assert!(matches!(read, StateError::Unrecoverable(_)));
        assert_eq!(node.visit("b").await.unwrap().reply, 1);
        place.set("a", "visits", RowValue::Int(4)).await;
        assert_eq!(node.visit("a").await.unwrap().reply, 5);
        node.stop().await;
    }
}

async fn foreign_writes_and_commands_at_once_lose_neither(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Arc::new(Place::of(kind).await);
        let node = Arc::new(place.start(mode).await);
        node.send("a", register("ann")).await.unwrap();
        let others = Arc::clone(&place);
        let writing = tokio::spawn(async move {
            for number in 0..200 {
                others
                    .set_text("a", "email", &format!("{number}@example.org"))
                    .await;
                tokio::task::yield_now().await;
            }
        });

        let visits = (0..8).map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                for _ in 0..50 {
                    node.visit("a").await.unwrap();
                }
            })
        });
        for visits in futures_util::future::join_all(visits).await {
            visits.unwrap();
        }
        writing.await.unwrap();

        let (state, _) = node.state("a").await;
        assert_eq!(state.known().visits, 400, "{mode:?}");
        assert_eq!(state.known().email.as_deref(), Some("199@example.org"));
        assert_eq!(
            place.text("a", "email").await.as_deref(),
            Some("199@example.org")
        );
        assert_eq!(place.column("a", "visits").await, Some(RowValue::Int(400)));
    }
}

async fn a_mode_with_rows_needs_a_mapping(kind: Kind) {
    let place = Place::of(kind).await;
    let settings = Settings {
        aggregates: [(
            "Person".to_owned(),
            AggregateSettings {
                mode: Mode::DualWrite,
                ..AggregateSettings::default()
            },
        )]
        .into(),
        ..Settings::default()
    };

    let started = Runtime::builder(Arc::clone(&place.store))
        .settings(settings)
        .aggregate::<Person>(unmapped)
        .start()
        .await;

    let error = started.unwrap_err();
    assert!(matches!(error, StartError::NoMapping { .. }));
    assert!(
        error
            .to_string()
            .starts_with("`aggregates.Person.mode` is \"dual-write\"")
    );
}

super::place::on_every_store!(
    a_mapping_that_panics_on_who_made_a_row_is_told_and_nobody_else_suffers,
    a_row_that_was_there_before_is_adopted_on_touch,
    a_row_that_is_met_alone_is_at_version_one_and_leaves_the_log_alone,
    a_read_shows_what_others_wrote_since_the_last_one,
    a_decision_rests_on_what_others_wrote_between_two_commands,
    a_no_op_rests_on_what_others_wrote,
    a_row_that_others_deleted_or_made_anew_is_what_it_is,
    columns_that_are_not_mapped_are_left_alone,
    a_row_that_is_no_state_is_told_with_its_column_and_heals,
    foreign_writes_and_commands_at_once_lose_neither,
    a_mode_with_rows_needs_a_mapping,
);
