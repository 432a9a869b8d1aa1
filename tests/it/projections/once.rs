//! Each event once, none passed: from the start, over restarts, with others' commits in between.

use std::sync::Arc;

use dormouse::{
    projection::{Projections, StartError},
    store::memory::MemoryStore,
};

use super::{
    append, places, quick,
    tally::{Tally, check, served},
    until_caught_up,
};

#[tokio::test]
async fn a_read_model_has_each_event_once_over_restarts() {
    for place in places().await {
        for _ in 0..3 {
            append(&*place.store, "Thing", 25).await;
            let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
            let projections = builder.projection(Tally::default()).start().unwrap();
            until_caught_up(&projections, 1).await;
            append(&*place.store, "Thing", 7).await;
            let status = until_caught_up(&projections, 1).await;

            check(&projections, &*place.store).await;
            assert_eq!(status.position, place.store.last_position().await.unwrap());
            projections.shutdown().await;
        }
    }
}

#[tokio::test]
async fn secrets_are_left_out_unless_the_projection_asks() {
    for (secrets, expected) in [(false, r#"{"open":1}"#), (true, "$secret")] {
        for place in places().await {
            append(&*place.store, "Thing", 1).await;
            let tally = Tally {
                secrets,
                ..Tally::default()
            };
            let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());

            let projections = builder.projection(tally).start().unwrap();
            until_caught_up(&projections, 1).await;

            let (_, rows) = served(&projections).await;
            assert!(rows[&1].1.contains(expected), "{rows:?}");
            projections.shutdown().await;
        }
    }
}

#[tokio::test]
async fn effects_are_off_until_readers_see_the_read_model() {
    for place in places().await {
        append(&*place.store, "Thing", 25).await;
        let tally = Tally::default();
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder.projection(tally.clone()).start().unwrap();
        until_caught_up(&projections, 1).await;

        append(&*place.store, "Thing", 3).await;
        until_caught_up(&projections, 1).await;
        projections.shutdown().await;

        assert_eq!(*tally.effects.lock().unwrap(), [26, 27, 28]);
    }
}

#[tokio::test]
async fn a_start_names_the_projection_and_the_store_that_do_not_fit() {
    let store = Arc::new(MemoryStore::new());

    let refused = Projections::builder(store)
        .projection(dormouse::iam::UserDirectory)
        .start()
        .unwrap_err();

    assert!(matches!(refused, StartError::Unsupported { .. }));
    assert_eq!(
        refused.to_string(),
        "the projection `user_directory` does not run on the memory store"
    );
}
