//! The look for drift while a server serves.

use std::{sync::Arc, time::Duration};

use dormouse::{
    adoption::{DriftWatch, Repair, RepairFrom},
    domain::AggregateId,
    metrics::{Collect as _, Exposition},
    settings::DriftSettings,
};

use super::Before;

fn figures(watch: &DriftWatch) -> String {
    let mut exposition = Exposition::default();
    watch.seen().collect(&mut exposition);
    exposition.into_text()
}

/// Waits, in paused time, until a line is told.
async fn until(watch: &DriftWatch, line: &str) {
    for _ in 0..100 {
        if figures(watch).lines().any(|told| told == line) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{line} is not told:\n{}", figures(watch));
}

fn start(before: &Before, types: Vec<String>) -> DriftWatch {
    let settings = DriftSettings {
        interval: Duration::from_secs(1),
        batch: 2,
        ..DriftSettings::default()
    };
    DriftWatch::start(before.adoption.clone(), settings, types)
}

#[tokio::test(start_paused = true)]
async fn drift_is_told_until_a_whole_round_has_found_none() {
    let before = Before::with_users(&["1", "2", "3", "4", "5"]);
    before.adopt().await;
    let watch = start(&before, vec!["User".to_owned()]);

    until(
        &watch,
        r#"dormouse_drift_rounds_total{aggregate_type="User"} 1"#,
    )
    .await;
    let at_first = figures(&watch);
    before.set("4", "nick_name", "by hand");
    until(&watch, r#"dormouse_drift{aggregate_type="User"} 1"#).await;
    let id = AggregateId::parse("4").unwrap();
    let examined = before.adoption.examine("User", id).await.unwrap();
    let repair = Repair {
        from: RepairFrom::Events,
        reason: String::new(),
        created_by: None,
    };
    before.adoption.repair(examined, &repair).await.unwrap();

    assert!(
        at_first.contains(r#"dormouse_drift{aggregate_type="User"} 0"#),
        "{at_first}"
    );
    until(&watch, r#"dormouse_drift{aggregate_type="User"} 0"#).await;
    let compared = r#"dormouse_drift_compared_total{aggregate_type="User"} 0"#;
    assert!(!figures(&watch).contains(compared));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_counted_and_the_next_one_comes() {
    let before = Before::with_users(&["1"]);
    let watch = start(&before, vec!["Nobody".to_owned()]);

    until(
        &watch,
        r#"dormouse_drift_failures_total{aggregate_type="Nobody"} 3"#,
    )
    .await;
}

#[tokio::test]
async fn what_is_seen_outlives_the_watch_and_nothing_is_told_of_types_that_are_not_watched() {
    let watch = DriftWatch::idle();
    let seen = watch.seen();

    drop(watch);

    assert_eq!(Arc::strong_count(&seen), 1);
    let mut exposition = Exposition::default();
    seen.collect(&mut exposition);
    assert!(!exposition.into_text().contains("aggregate_type"));
}
