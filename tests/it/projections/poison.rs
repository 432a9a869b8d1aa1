//! Events that cannot be applied: the projection stands still or they are parked, and it is told.

use std::sync::{Arc, atomic::Ordering};

use dormouse::projection::{ProjectionState, Projections};

use super::{
    append, places, quick,
    tally::{POISON, Tally, check, served},
    until, until_caught_up,
};

#[tokio::test]
async fn a_projection_stands_still_before_what_it_cannot_apply_until_it_is_resumed() {
    for place in places().await {
        append(&*place.store, "Thing", 13).await;
        let poison = append(&*place.store, POISON, 1).await;
        append(&*place.store, "Thing", 13).await;
        let tally = Tally::default();
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder.projection(tally.clone()).start().unwrap();

        let stopped = until(&projections, 1, "stopped", |one| {
            matches!(one.state, ProjectionState::Stopped(_))
        })
        .await;
        let id = place.store.read_log(poison, 1).await.unwrap();
        drop(id);
        let ProjectionState::Stopped(at) = &stopped.state else {
            unreachable!("looked at above");
        };
        assert_eq!(at.position, poison);
        assert!(
            at.error.contains("no taste for position 14"),
            "{}",
            at.error
        );
        assert_eq!(stopped.position.get(), poison.get() - 1);
        assert!(
            stopped.lag() == 14 && stopped.lag_seconds > 1e6,
            "{stopped:?}"
        );

        // A process that starts tries once, and does not spin.
        projections.shutdown().await;
        tally.picky.store(false, Ordering::SeqCst);
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder.projection(tally.clone()).start().unwrap();
        until_caught_up(&projections, 1).await;
        tally.picky.store(true, Ordering::SeqCst);
        let poison = append(&*place.store, POISON, 1).await;
        until(
            &projections,
            1,
            "stopped again",
            |one| matches!(&one.state, ProjectionState::Stopped(at) if at.position == poison),
        )
        .await;
        tally.picky.store(false, Ordering::SeqCst);
        projections.resume("tally").await.unwrap();
        until_caught_up(&projections, 1).await;

        check(&projections, &*place.store).await;
        projections.shutdown().await;
    }
}

#[tokio::test]
async fn a_projection_that_parks_goes_on_without_the_event_and_keeps_its_error() {
    for place in places().await {
        append(&*place.store, "Thing", 13).await;
        let poison = append(&*place.store, POISON, 1).await;
        append(&*place.store, "Thing", 13).await;
        let tally = Tally {
            park: true,
            ..Tally::default()
        };
        let builder = Projections::builder(Arc::clone(&place.store)).settings(quick());
        let projections = builder.projection(tally).start().unwrap();

        let status = until_caught_up(&projections, 1).await;

        let (_, rows) = served(&projections).await;
        let positions: Vec<i64> = rows.keys().copied().collect();
        let expected: Vec<i64> = (1..=27).filter(|at| *at != 14).collect();
        assert_eq!(positions, expected);
        assert_eq!(status.parked, 1);
        let models = place.store.read_models().unwrap();
        let mut snapshot = models.snapshot().await.unwrap();
        let (_, parked) = snapshot.tx().parked("tally", 1, 10).await.unwrap();
        assert_eq!(parked[0].position, poison);
        assert!(parked[0].error.contains("no taste"), "{parked:?}");
        snapshot.rollback().await;
        projections.shutdown().await;
    }
}
