//! Rebuilds: beside the one in use, while events are written and reads are served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dormouse::projection::{Projections, RebuildError};

use super::{
    append, places, quick,
    tally::{Tally, check, served},
    until, until_caught_up,
};

#[tokio::test]
async fn a_rebuild_replaces_the_read_model_while_it_is_written_and_read() {
    for place in places().await {
        append(&*place.store, "Thing", 200).await;
        let tally = Tally::default();
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder.projection(tally.clone()).start().unwrap();
        until_caught_up(&projections, 1).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (writing, store) = (Arc::clone(&stop), Arc::clone(&place.store));
        let writer = tokio::spawn(async move {
            while !writing.load(Ordering::SeqCst) {
                append(&*store, "Thing", 3).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let (reading, readers) = (Arc::clone(&stop), projections.clone());
        let reader = tokio::spawn(async move {
            let mut last = 0;
            while !reading.load(Ordering::SeqCst) {
                let (position, rows) = served(&readers).await;
                // Never back, never partly built.
                assert!(position >= last, "{position} after {last}");
                assert_eq!(rows.len() as u64, position);
                last = position;
            }
        });

        let rebuild = projections.rebuild("tally").await.unwrap();
        until(&projections, rebuild.generation, "in use", |one| {
            one.serving
        })
        .await;
        until_caught_up_to_something(&projections, rebuild.generation).await;
        stop.store(true, Ordering::SeqCst);
        writer.await.unwrap();
        reader.await.unwrap();
        until_caught_up(&projections, rebuild.generation).await;

        assert_eq!(rebuild.generation, 2);
        check(&projections, &*place.store).await;
        // One effect for each event since the first was complete, whichever generation it was.
        let effects = tally.effects.lock().unwrap().clone();
        let mut once = effects.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), effects.len());
        // The old one goes.
        let started = std::time::Instant::now();
        while projections.status().await.unwrap().len() > 1 {
            assert!(started.elapsed().as_secs() < 20, "the old one stays");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        projections.shutdown().await;
    }
}

/// Events that were written after the switch are in it too.
async fn until_caught_up_to_something(projections: &Projections, generation: i64) {
    let now = until(projections, generation, "there", |_| true).await;
    until(projections, generation, "further", |one| {
        one.position > now.position
    })
    .await;
}

#[tokio::test]
async fn a_higher_version_is_built_beside_the_older_one_which_a_registered_version_keeps_current() {
    for place in places().await {
        append(&*place.store, "Thing", 50).await;
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let first = builder.projection(Tally::default()).start().unwrap();
        until_caught_up(&first, 1).await;
        first.shutdown().await;
        append(&*place.store, "Thing", 50).await;
        let second = Tally {
            version: 2,
            ..Tally::default()
        };

        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder
            .projection(Tally::default())
            .projection(second)
            .start()
            .unwrap();
        let status = until_caught_up(&projections, 2).await;

        assert_eq!(status.version, 2);
        check(&projections, &*place.store).await;
        projections.shutdown().await;
        // An older program begins nothing, and leaves what serves alone.
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let older = builder.projection(Tally::default()).start().unwrap();
        assert!(served(&older).await.1.len() == 100);
        older.shutdown().await;
    }
}

#[tokio::test]
async fn a_rebuild_of_nothing_names_what_there_is_and_a_second_one_is_the_first() {
    for place in places().await {
        let store = &*place.store;
        let known = [("tally", 1)];

        let unknown = dormouse::projection::rebuild(store, "tall", &known).await;
        let first = dormouse::projection::rebuild(store, "tally", &known)
            .await
            .unwrap();
        let second = dormouse::projection::rebuild(store, "tally", &known)
            .await
            .unwrap();

        let Err(RebuildError::Unknown { known, .. }) = unknown else {
            panic!("there is no `tall`");
        };
        assert_eq!(known, "tally");
        assert_eq!(first.generation, second.generation);
        assert!(!first.already_begun && second.already_begun);
    }
}
