//! `GET /metrics` of the real binary, and the page that explains it.
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "the figures are small whole numbers, which floats hold exactly"
)]

use std::{fs, path::Path};

use super::{
    Wire,
    auth::{GUARDED, token},
    until, user,
};
use crate::support::{
    exposition::{Figures, Told},
    sse::Sse,
};

#[tokio::test]
async fn prometheus_can_read_what_the_server_counted() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("ada").await;
    wire.command("User/ada", "create", &user("ada"))
        .await
        .problem(422, "command-rejected");

    let read = wire.get("/metrics").await;

    let format = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(read.is(200).header("content-type"), Some(format));
    let figures = Figures::read(&read.text);
    let creates = |outcome: &str| {
        figures.get(&format!(
            "dormouse_commands_total{{aggregate_type=\"User\",command=\"create\",outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!((creates("committed"), creates("rejected")), (1.0, 1.0));
    let live = "dormouse_live_aggregates{aggregate_type=\"User\"}";
    assert_eq!(figures.get(live), 1.0);
    let version = concat!(
        "dormouse_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert_eq!(figures.get(version), 1.0);
    let started = figures.get("dormouse_start_time_seconds");
    let now = chrono::Utc::now().timestamp() as f64;
    assert!(started <= now && started > now - 600.0, "{started} {now}");
}

#[tokio::test]
async fn who_follows_the_log_is_told_with_how_far_it_is() {
    // An idle stream whose client is gone is noticed by its next heartbeats.
    let quick = [("DORMOUSE__STREAMS__HEARTBEAT", "50ms")];
    for wire in [Wire::sqlite(&quick).await, Wire::postgres(&quick).await] {
        wire.create_user("ada").await;
        let read = async || Figures::read(&wire.get("/metrics").await.is(200).text);
        assert_eq!(read().await.get("dormouse_streams_open"), 0.0);

        let stream = Sse::open(&format!("{}/v1/events/stream", wire.server.url()), None).await;
        let directory = "{projection=\"user_directory\",generation=\"1\"}";
        until("the directory has come to the log's end", async || {
            let figures = read().await;
            figures.find(&format!("dormouse_projection_position{directory}")) == Some(1.0)
        })
        .await;
        let followed = read().await;
        drop(stream);

        assert_eq!(followed.get("dormouse_streams_open"), 1.0);
        assert_eq!(followed.get("dormouse_subscriptions"), 1.0);
        let lag = format!("dormouse_projection_lag_positions{directory}");
        assert_eq!(followed.get(&lag), 0.0);
        let running = directory.replace('}', ",state=\"running\"}");
        let running = format!("dormouse_projection_state{running}");
        until("the directory is served", async || {
            read().await.get(&running) == 1.0
        })
        .await;
        until("the stream is closed", async || {
            read().await.get("dormouse_streams_open") == 0.0
        })
        .await;
    }
}

#[tokio::test]
async fn the_metrics_take_no_parameter_and_no_other_method() {
    let wire = Wire::sqlite(&[]).await;

    let asked = wire.get("/metrics?name=x").await;
    let posted = wire.post("/metrics", &serde_json::json!({})).await;

    asked.problem_about(400, "invalid-request", "name");
    posted.problem(405, "method-not-allowed");
}

/// The rows of the tables in a page: `| name | type | labels | meaning |`.
fn documented(page: &str) -> Vec<Told> {
    let rows = page.lines().filter(|line| line.starts_with("| `dormouse_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else {
            panic!("a row of another shape: {row}");
        };
        let labels = labels.split(", ").map(|label| label.trim_matches('`'));
        Told {
            name: name.trim_matches('`').to_owned(),
            kind: kind.to_owned(),
            labels: labels
                .filter(|label| !label.is_empty())
                .map(str::to_owned)
                .collect(),
            help: help.to_owned(),
        }
    })
    .collect()
}

#[tokio::test]
async fn the_page_on_metrics_lists_exactly_what_the_server_tells() {
    let wire = Wire::sqlite(&GUARDED).await;
    let admin = token(&["admin"]);
    // Until it has a generation, the projection's labels are not to be seen.
    until("the directory is built", async || {
        let text = wire.get_as(&admin, "/metrics").await.text;
        text.contains("dormouse_projection_position{")
    })
    .await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let mut documented = documented(&fs::read_to_string(page).unwrap());
    let mut told = Figures::read(&wire.get_as(&admin, "/metrics").await.text).families;

    documented.sort_by(|one, other| one.name.cmp(&other.name));
    told.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(documented, told);
}
