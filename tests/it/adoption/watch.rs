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

fn start(before: &Before, types: &[&str]) -> DriftWatch {
    let settings = DriftSettings {
        interval: Duration::from_secs(1),
        batch: 2,
        ..DriftSettings::default()
    };
    let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
    DriftWatch::start(before.adoption.clone(), &settings, &types)
}

#[tokio::test(start_paused = true)]
async fn drift_is_told_until_a_whole_round_has_found_none() {
    let before = Before::with_users(&["1", "2", "3", "4", "5"]);
    before.adopt().await;
    let watch = start(&before, &["User"]);

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
    let [view] = &watch.seen().view()[..] else {
        panic!("{:?}", watch.seen());
    };
    assert_eq!((view.aggregate_type.as_str(), view.differing), ("User", 0));
    assert!(
        view.rounds >= 2 && view.compared >= 10 && view.failures == 0,
        "{view:?}"
    );
    assert!(view.last_look.is_some());
    let compared = r#"dormouse_drift_compared_total{aggregate_type="User"} 0"#;
    assert!(!figures(&watch).contains(compared));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_counted_and_the_next_one_comes() {
    let before = Before::with_users(&["1"]);
    let watch = start(&before, &["Nobody"]);

    until(
        &watch,
        r#"dormouse_drift_failures_total{aggregate_type="Nobody"} 3"#,
    )
    .await;
}

#[tokio::test]
async fn of_types_that_are_not_watched_it_is_told_that_nothing_was_seen() {
    let before = Before::with_users(&["1"]);
    let watch = start(&before, &[]);
    let (text, seen) = (figures(&watch), watch.seen());

    drop(watch);

    for line in [
        r#"dormouse_drift{aggregate_type="User"} 0"#,
        r#"dormouse_drift_last_look_timestamp_seconds{aggregate_type="Role"} 0"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{text}");
    }
    // Nobody looks.
    assert_eq!(Arc::strong_count(&seen), 1);
}
