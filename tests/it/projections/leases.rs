//! Leases: one process works on a read model, and who has lost its lease can write nothing.

use std::{sync::Arc, time::Duration};

use dormouse::{domain::Position, projection::Projections, settings::ProjectionSettings};

use super::{
    Place, append, places, quick,
    tally::{Tally, check},
    until, until_caught_up,
};

#[tokio::test]
async fn a_checkpoint_moves_only_under_the_lease_of_the_moment() {
    for place in places().await {
        let models = place.store.read_models().unwrap();
        let (short, long) = (Duration::from_millis(30), Duration::from_mins(1));
        let mut setup = models.begin().await.unwrap();
        let mut tx = setup.tx();
        assert!(tx.begin_checkpoint("m/1").await.unwrap());
        let first = tx
            .acquire_lease("m/1", "first", short)
            .await
            .unwrap()
            .unwrap();
        let taken = tx.acquire_lease("m/1", "second", long).await.unwrap();
        assert_eq!(taken, None, "it is held");
        setup.commit().await.unwrap();
        // The database's own clock is what is waited for.
        tokio::time::sleep(short * 2).await;
        let (zero, one, two) = (Position::ZERO, Position::new(1), Position::new(2));

        let mut late = models.begin().await.unwrap();
        let expired = late
            .tx()
            .move_checkpoint("m/1", zero, one, first)
            .await
            .unwrap();
        let renewed = late.tx().renew_lease("m/1", first, long).await.unwrap();
        late.rollback().await;
        let mut other = models.begin().await.unwrap();
        let mut tx = other.tx();
        let second = tx
            .acquire_lease("m/1", "second", long)
            .await
            .unwrap()
            .unwrap();
        let elsewhere = tx.move_checkpoint("m/1", one, two, second).await.unwrap();
        let moved = tx.move_checkpoint("m/1", zero, two, second).await.unwrap();
        let fenced = tx.move_checkpoint("m/1", two, two, first).await.unwrap();
        let lease = tx.lease("m/1").await.unwrap().unwrap();
        other.commit().await.unwrap();

        assert!(!expired && !renewed && !elsewhere && !fenced && moved);
        assert!(second > first);
        assert_eq!((lease.holder.as_str(), lease.held), ("second", true));
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_nothing_and_blocks_nobody() {
    for place in places().await {
        let models = place.store.read_models().unwrap();

        let mut dropped = models.begin().await.unwrap();
        dropped.tx().begin_checkpoint("m/1").await.unwrap();
        drop(dropped);
        append(&*place.store, "Thing", 1).await;
        let mut next = models.begin().await.unwrap();
        let found = next.tx().checkpoint("m/1").await.unwrap();
        next.rollback().await;

        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn a_lease_from_a_clock_that_was_ahead_stops_nobody() {
    for place in places().await {
        let models = place.store.read_models().unwrap();
        let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
        let mut transaction = models.begin().await.unwrap();
        let mut tx = transaction.tx();
        let ahead = tx.acquire_lease("m/1", "ahead", hour).await.unwrap();
        let ahead = ahead.expect("it was free");

        let taken = tx.acquire_lease("m/1", "in time", minute).await.unwrap();
        let renewed = tx.renew_lease("m/1", ahead, minute).await.unwrap();
        let again = tx.acquire_lease("m/1", "another", minute).await.unwrap();

        assert_eq!(taken.expect("it is taken").get(), ahead.get() + 1);
        assert!(!renewed, "who held it is fenced");
        assert_eq!(again, None, "it is held as any other");
        transaction.rollback().await;
    }
}

#[tokio::test]
async fn another_process_goes_on_at_once_where_one_ends() {
    for place in places().await {
        another_goes_on(&place, async |first| first.shutdown().await).await;
    }
}

/// An embedding service may forget to end them: the work must not go on for nobody, and without a
/// pause.
#[tokio::test]
async fn projections_that_are_dropped_end() {
    for place in places().await {
        another_goes_on(&place, async |first| drop(first)).await;
    }
}

async fn another_goes_on(place: &Place, end: impl AsyncFnOnce(Projections)) {
    let long = ProjectionSettings {
        lease: Duration::from_mins(10),
        ..quick()
    };
    let start = |store| Projections::builder(store).settings(long.clone());
    let first = start(Arc::clone(&place.store))
        .projection(Tally::default())
        .start()
        .unwrap();
    append(&*place.store, "Thing", 15).await;
    let held = until_caught_up(&first, 1).await.holder.unwrap();
    let second = start(place.again().await)
        .projection(Tally::default())
        .start()
        .unwrap();
    append(&*place.store, "Thing", 15).await;
    let still = until_caught_up(&second, 1).await.holder.unwrap();

    end(first).await;
    append(&*place.store, "Thing", 15).await;
    let after = until(&second, 1, "taken over", |one| {
        one.lag() == 0 && one.holder.as_ref().is_some_and(|holder| *holder != held)
    })
    .await;

    assert_eq!(still, held);
    assert_ne!(after.holder.unwrap(), held);
    check(&second, &*place.store).await;
    second.shutdown().await;
}
