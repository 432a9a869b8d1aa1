//! Inline projections: never behind, never half, and no neighbour suffers.

use std::sync::{Arc, atomic::Ordering};

use dormouse::{
    domain::Version,
    projection::{Projections, StartError},
    store::{AppendError, Commit, Verdict, memory::MemoryStore},
};
use ulid::Ulid;

use super::{
    Place, append, commit, quick,
    tally::{POISON, Tally, check, served},
    until_caught_up,
};
use crate::support::{Backend, backends, database::Database};

async fn inline(place: &Place, tally: Tally) -> Projections {
    let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
    let projections = builder.inline(tally).start().unwrap();
    until_caught_up(&projections, 1).await;
    projections
}

#[tokio::test]
async fn what_is_appended_is_in_the_read_model_at_once() {
    for backend in backends().await {
        let place = Place::on(backend).await;
        append(&*place.store, "Thing", 35).await;
        let projections = inline(&place, Tally::default()).await;

        for count in [1, 2, 70] {
            let last = append(&*place.store, "Thing", count).await;
            assert_eq!(served(&projections).await.0, last.get());
        }

        check(&projections, &*place.store).await;
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn a_commit_that_loses_leaves_nothing_and_its_neighbours_are_in_the_read_model() {
    for backend in backends().await {
        let place = Place::on(backend).await;
        let projections = inline(&place, Tally::default()).await;
        let losing = Commit {
            expected: Version::new(5),
            ..commit("Thing")
        };

        let batch = Arc::from([commit("Thing"), losing, commit("Thing")]);
        let verdicts = place.store.append(batch).await.unwrap();

        assert!(matches!(verdicts[1], Verdict::Lost(_)), "{verdicts:?}");
        assert_eq!(served(&projections).await.0, 2);
        check(&projections, &*place.store).await;
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn what_an_inline_projection_refuses_is_not_stored() {
    for backend in backends().await {
        let place = Place::on(backend).await;
        let tally = Tally::default();
        let projections = inline(&place, tally.clone()).await;
        append(&*place.store, "Thing", 3).await;

        let batch: [Commit; 3] = [commit("Thing"), commit(POISON), commit("Thing")];
        let refused = place
            .store
            .append(Arc::from(batch.clone()))
            .await
            .unwrap_err();
        let head = place.store.last_position().await.unwrap();
        // As the journal does: those that are not at fault, again.
        let [first, _, third] = batch;
        place.store.append(Arc::from([first, third])).await.unwrap();

        assert!(matches!(refused, AppendError::Unstorable(_)), "{refused:?}");
        assert_eq!(head.get(), 3);
        assert_eq!(served(&projections).await.0, 5);
        check(&projections, &*place.store).await;
        tally.picky.store(false, Ordering::SeqCst);
        append(&*place.store, POISON, 1).await;
        assert_eq!(served(&projections).await.0, 6);
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn what_others_append_is_caught_up_with_and_from_then_on_it_is_inline_again() {
    for backend in backends().await {
        let place = Place::on(backend).await;
        let projections = inline(&place, Tally::default()).await;
        let foreign = place.again().await;

        for _ in 0..3 {
            append(&*foreign, "Thing", 15).await;
            // It may be behind now, and its position says so.
            append(&*place.store, "Thing", 1).await;
            check(&projections, &*place.store).await;
            until_caught_up(&projections, 1).await;
            let last = append(&*place.store, "Thing", 1).await;
            assert_eq!(served(&projections).await.0, last.get());
        }

        check(&projections, &*place.store).await;
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn a_rebuild_of_an_inline_one_goes_on_under_load_and_is_inline_after_it() {
    for backend in backends().await {
        let place = Place::on(backend).await;
        append(&*place.store, "Thing", 150).await;
        let projections = inline(&place, Tally::default()).await;

        let rebuild = projections.rebuild("tally").await.unwrap();
        loop {
            let last = append(&*place.store, "Thing", 2).await;
            // Inline before and after, without a moment between.
            assert_eq!(served(&projections).await.0, last.get());
            let all = projections.status().await.unwrap();
            if all
                .iter()
                .any(|one| one.generation == rebuild.generation && one.serving)
            {
                break;
            }
        }
        let last = append(&*place.store, "Thing", 2).await;

        assert_eq!(served(&projections).await.0, last.get());
        check(&projections, &*place.store).await;
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn a_store_without_transactions_for_it_is_refused_by_name() {
    let builder = Projections::builder(Arc::new(MemoryStore::new()));

    let refused = builder.inline(Tally::default()).start().unwrap_err();

    assert!(matches!(refused, StartError::NotInline { .. }), "{refused}");
    assert!(refused.to_string().contains("`tally`"), "{refused}");
}

#[tokio::test]
async fn an_inline_directory_shows_a_command_that_was_answered() {
    for backend in [Backend::sqlite(), Backend::postgres().await] {
        let settings = [("DORMOUSE__PROJECTIONS__USER_DIRECTORY", "inline")];
        let directory = super::directory::Directory::start(&backend, &settings).await;
        directory.read_after("", 0).await;

        for number in 0..10 {
            let position = directory.create(&format!("user{number}"), "a").await;
            let read = directory.read("").await;
            assert_eq!(read.names().len(), number + 1);
            assert!(read.position >= position);
        }
    }
}

/// Another program inserts events of aggregates of their own, in one transaction. On PostgreSQL they
/// have no position until the store numbers them.
async fn insert(other: &mut Database, count: usize) {
    let time = match other {
        Database::Sqlite(_) => "1714885505123456",
        Database::Postgres(_) => "now()",
    };
    let events = (0..count).map(|_| {
        let (event, thing) = (Ulid::generate(), Ulid::generate());
        format!("('{event}', 'Thing', '{thing}', 1, 'Thing', 1, {time}, '{event}', '{{}}')")
    });
    let insert = format!(
        "insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
         schema_version, occurred_at, correlation_id, event_data) values {}",
        events.collect::<Vec<_>>().join(", ")
    );
    other.run(&insert).await;
}

async fn number_all(place: &Place) {
    while place.store.number().await.unwrap().more {}
}

#[tokio::test]
async fn what_other_programs_insert_is_applied_once_and_in_its_place() {
    for backend in backends().await {
        let url = backend.store_url();
        let place = Place::on(backend).await;
        let mut other = Database::open(&url).await;
        let projections = inline(&place, Tally::default()).await;

        for round in 0..20 {
            insert(&mut other, 1 + round % 3).await;
            if round % 2 == 0 {
                number_all(&place).await;
            }
            append(&*place.store, "Thing", 2).await;
            // It may be behind now, and its position says so.
            check(&projections, &*place.store).await;
        }
        // And all of it at once.
        let inserting = async {
            for _ in 0..30 {
                insert(&mut other, 2).await;
            }
        };
        let numbering = async {
            for _ in 0..30 {
                number_all(&place).await;
            }
        };
        let appending = async {
            for _ in 0..30 {
                append(&*place.store, "Thing", 2).await;
            }
        };
        tokio::join!(inserting, numbering, appending);
        number_all(&place).await;

        let foreign = (0..20).map(|round| 1 + round % 3).sum::<u64>() + 60;
        let all = foreign + 40 + 60;
        assert_eq!(place.store.last_position().await.unwrap().get(), all);
        until_caught_up(&projections, 1).await;
        assert_eq!(served(&projections).await.0, all);
        check(&projections, &*place.store).await;
        // And from then on it is inline again.
        let last = append(&*place.store, "Thing", 1).await;
        assert_eq!(served(&projections).await.0, last.get());
        projections.shutdown().await;
    }
}
