//! Rows and a store that fails.

use std::{sync::Arc, time::Duration};

use dormouse::{
    domain::RowValue,
    runtime::CommandError,
    settings::{Mode, Reconcile},
    store::EventStore,
    testing::{Fault, FaultyStore, Gate, Operation},
};
use futures_util::future::join_all;

use super::{
    person::register,
    place::{Kind, Place, WITH_ROWS},
};

async fn commits_whose_answer_was_lost_are_stored_once_and_succeed(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let faulty = FaultyStore::new(Arc::clone(&place.store));
        let store: Arc<dyn EventStore> = Arc::new(faulty.clone());
        let node = place.start_on(store, mode).await.unwrap();
        node.send("a", register("ann")).await.unwrap();
        for round in 0..10 {
            let fault = [Fault::LoseAnswer, Fault::LoseCall][round % 2].clone();
            faulty.inject_next(Operation::Append, fault);

            let visits = join_all((0..5).map(|_| node.visit("a"))).await;

            for visited in visits {
                visited.unwrap();
            }
        }

        assert_eq!(node.state("a").await.0.known().visits, 50, "{mode:?}");
        assert_eq!(place.column("a", "visits").await, Some(RowValue::Int(50)));
        node.stop().await;
    }
}

async fn a_row_that_cannot_be_mended_now_is_mended_later(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        place.insert("a", "ann").await;
        let faulty = FaultyStore::new(Arc::clone(&place.store));
        let store: Arc<dyn EventStore> = Arc::new(faulty.clone());
        let node = place.start_on(store, mode).await.unwrap();
        faulty.inject_next(Operation::Append, Fault::Fail);

        let refused = node.visit("a").await;
        let later = node.visit("a").await;

        assert!(
            matches!(refused, Err(CommandError::StoreUnavailable)),
            "{refused:?}"
        );
        assert_eq!(later.unwrap().reply, 1);
        node.stop().await;
    }
}

async fn a_mend_whose_answer_was_lost_is_stored_once(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        place.insert("a", "ann").await;
        let faulty = FaultyStore::new(Arc::clone(&place.store));
        let store: Arc<dyn EventStore> = Arc::new(faulty.clone());
        let node = place.start_on(store, mode).await.unwrap();
        faulty.inject_next(Operation::Append, Fault::LoseAnswer);

        let visited = node.visit("a").await.unwrap();

        assert_eq!((visited.version.get(), visited.reply), (2, 1), "{mode:?}");
        node.stop().await;
    }
}

/// A row that was read before another node adopted it, and a log that was read after that and after
/// a command of a node that writes no rows: the row is behind, and not changed by somebody else.
async fn a_row_that_was_read_long_before_its_log_reverts_nothing(kind: Kind) {
    let place = Place::of(kind).await;
    place.insert("a", "ann").await;
    let (row_read, log_unread) = (Gate::new(), Gate::new());
    let faulty = FaultyStore::new(place.handle().await)
        .on(Operation::StateRows, 1, Fault::HoldAnswer(row_read.clone()))
        .on(Operation::Recover, 1, Fault::Hold(log_unread.clone()));
    let late = place.start_on(Arc::new(faulty), Mode::DualWrite).await;
    let late = late.unwrap();
    let adopting = place.start(Mode::DualWrite).await;
    let without_rows = place.start(Mode::EventSourced).await;

    let (read, ()) = tokio::join!(late.state("a"), async {
        row_read.reached(1).await;
        log_unread.reached(1).await;
        assert_eq!(adopting.state("a").await.1, 1);
        assert_eq!(without_rows.visit("a").await.unwrap().reply, 1);
        row_read.open();
        log_unread.open();
    });

    assert_eq!((read.0.known().visits, read.1), (1, 2));
    assert_eq!(place.column("a", "visits").await, Some(RowValue::Int(1)));
    for node in [late, adopting, without_rows] {
        node.stop().await;
    }
}

/// Adopts a row that nobody asks for, although the store failed when it was first met.
async fn is_met_after_a_failure(reconcile: Reconcile) {
    let place = Place::of(Kind::Memory).await;
    place.insert("a", "ann").await;
    let faulty = FaultyStore::new(Arc::clone(&place.store)).on(Operation::Recover, 1, Fault::Fail);
    let store: Arc<dyn EventStore> = Arc::new(faulty.clone());

    let node = place.start_looking_on(store, reconcile).await;

    node.until_logged("a", &["PersonAdoptedEvent"]).await;
    assert!(faulty.calls(Operation::Recover) > 1);
    node.stop().await;
}

#[tokio::test]
async fn a_walk_that_the_store_failed_is_walked_again_soon() {
    let hourly = Reconcile::Every(Duration::from_hours(1));

    tokio::join!(
        is_met_after_a_failure(Reconcile::AtStart),
        is_met_after_a_failure(hourly)
    );
}

#[tokio::test]
async fn a_row_that_comes_after_a_walk_is_met_by_a_later_one() {
    let place = Place::of(Kind::Memory).await;
    place.insert("a", "ann").await;
    let often = Reconcile::Every(Duration::from_millis(20));
    let node = place.start_looking_on(place.handle().await, often).await;
    node.until_logged("a", &["PersonAdoptedEvent"]).await;
    for of in ["b", "c"] {
        place.insert(of, of).await;

        node.until_logged(of, &["PersonAdoptedEvent"]).await;
    }
    node.stop().await;
}

super::place::on_every_store!(
    commits_whose_answer_was_lost_are_stored_once_and_succeed,
    a_row_that_cannot_be_mended_now_is_mended_later,
    a_mend_whose_answer_was_lost_is_stored_once,
    a_row_that_was_read_long_before_its_log_reverts_nothing,
);
