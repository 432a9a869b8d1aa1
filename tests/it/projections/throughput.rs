//! How fast a projection is that writes a row for each event. Run it alone, built for release.

use std::{sync::Arc, time::Instant};

use dormouse::{projection::Projections, settings::ProjectionSettings};

use super::{Place, append, tally::Tally, until_caught_up};
use crate::support::Backend;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release --test it throughput -- --ignored --nocapture"]
async fn rows_a_second() {
    for backend in [Backend::sqlite(), Backend::postgres().await] {
        let kind = if matches!(backend, Backend::Sqlite(_)) {
            "sqlite"
        } else {
            "postgres"
        };
        let place = Place::on(backend).await;
        for _ in 0..100 {
            append(&*place.store, "Thing", 1000).await;
        }
        let started = Instant::now();
        let builder = Projections::builder(Arc::clone(&place.store));
        let builder = builder.settings(ProjectionSettings::default());
        let projections = builder.projection(Tally::default()).start().unwrap();
        until_caught_up(&projections, 1).await;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{kind}: 100000 rows in {seconds:.2} s: {:.0} a second",
            1e5 / seconds
        );
        projections.shutdown().await;
    }
}
