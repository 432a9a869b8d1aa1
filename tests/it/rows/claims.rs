//! Unique values of rows that other programs write.

use dormouse::runtime::CommandError;

use super::{
    person::{Leave, register, rename},
    place::{Answered, Kind, Place, WITH_ROWS},
};

fn taken(answered: &Answered, name: &str) -> bool {
    matches!(answered, Err(CommandError::ClaimTaken(claim)) if claim.name == "name" && claim.value == name)
}

async fn a_value_that_another_aggregate_holds_is_taken(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();

        let lost = node.send("b", register("ann")).await;

        assert!(taken(&lost, "ann"), "{mode:?} {lost:?}");
        node.send("a", Leave {}).await.unwrap();
        node.send("b", register("ann")).await.unwrap();
        node.stop().await;
    }
}

async fn a_value_that_others_took_from_its_holders_row_is_free(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        node.stop().await;
        place.set_text("a", "name", "bea").await;
        // Nothing is live, so nothing knows that the holder was named otherwise.
        let node = place.start(mode).await;

        let won = node.send("b", register("ann")).await;
        let lost = node.send("c", register("bea")).await;

        assert_eq!(won.unwrap().version.get(), 1, "{mode:?}");
        assert!(taken(&lost, "bea"), "{mode:?} {lost:?}");
        assert_eq!(node.state("a").await.0.known().name, "bea");
        node.stop().await;
    }
}

async fn a_value_that_others_took_from_a_live_holders_row_is_free(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        node.send("b", register("bob")).await.unwrap();
        place.set_text("a", "name", "bea").await;

        node.send("b", rename("ann")).await.unwrap();

        let lost = node.send("a", rename("ann")).await;
        assert!(taken(&lost, "ann"), "{mode:?} {lost:?}");
        node.stop().await;
    }
}

async fn rows_that_swapped_their_values_are_served(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        node.send("b", register("bob")).await.unwrap();
        place.set_text("a", "name", "bob").await;
        place.set_text("b", "name", "ann").await;

        let (a, b) = tokio::join!(node.state("a"), node.state("b"));

        assert_eq!(
            (a.0.known().name.as_str(), b.0.known().name.as_str()),
            ("bob", "ann")
        );
        node.visit("a").await.unwrap();
        node.visit("b").await.unwrap();
        node.stop().await;
    }
}

async fn two_rows_with_one_value_are_served_one_without_the_claim(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        place.insert("a", "ann").await;
        place.insert("b", "ann").await;
        let node = place.start(mode).await;

        node.visit("a").await.unwrap();
        node.visit("b").await.unwrap();

        let lost = node.send("c", register("ann")).await;
        assert!(taken(&lost, "ann"), "{mode:?} {lost:?}");
        let metrics = metrics(&node.runtime);
        let unheld = "dormouse_row_unheld_claims_total{aggregate_type=\"Person\"} 1";
        assert!(metrics.contains(unheld), "{metrics}");
        node.stop().await;
    }
}

async fn a_value_that_their_unique_index_refuses_is_taken_with_the_column(kind: Kind) {
    for mode in WITH_ROWS {
        let place = Place::of(kind).await;
        place.unique("name").await;
        let node = place.start(mode).await;
        node.send("a", register("ann")).await.unwrap();
        // Nobody has met this row, so nobody holds a claim on it.
        place.insert("theirs", "zoe").await;

        let (lost, won) = tokio::join!(
            node.send("a", rename("zoe")),
            node.send("b", register("bob"))
        );

        assert!(taken(&lost, "zoe"), "{mode:?} {lost:?}");
        won.unwrap();
        assert_eq!(node.visit("a").await.unwrap().reply, 1);
        node.stop().await;
    }
}

fn metrics(runtime: &dormouse::runtime::Runtime) -> String {
    let mut exposition = dormouse::metrics::Exposition::default();
    dormouse::metrics::Collect::collect(runtime, &mut exposition);
    exposition.into_text()
}

super::place::on_every_store!(
    a_value_that_another_aggregate_holds_is_taken,
    a_value_that_others_took_from_its_holders_row_is_free,
    a_value_that_others_took_from_a_live_holders_row_is_free,
    rows_that_swapped_their_values_are_served,
    two_rows_with_one_value_are_served_one_without_the_claim,
    a_value_that_their_unique_index_refuses_is_taken_with_the_column,
);
