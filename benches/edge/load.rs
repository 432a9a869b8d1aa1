//! The clients that work: as fast as they are answered, or on a schedule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::Instant};

use super::{Amount, Failed, Work, servers::Served, wire::Wire};

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 61_000_000;

pub(crate) fn no_latencies() -> Result<Histogram<u64>, Failed> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

/// Requests that were answered, each connection's next one as soon as its last was.
pub(crate) async fn as_fast_as_answered(
    served: &Arc<Served>,
    work: Work,
    amount: Amount,
    sent: &Arc<AtomicUsize>,
) -> Result<u64, Failed> {
    let mut running: JoinSet<Result<u64, Failed>> = JoinSet::new();
    let end = Instant::now() + amount.time;
    for _ in 0..amount.connections {
        let (served, sent) = (Arc::clone(served), Arc::clone(sent));
        running.spawn(async move {
            let mut wire = Wire::open(served.address).await?;
            let mut answered = 0;
            while Instant::now() < end {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                wire.ask(&served.request(work, number)).await?;
                answered += 1;
            }
            Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(one) = running.join_next().await {
        answered += one??;
    }
    Ok(answered)
}

/// The latencies of requests on a schedule of so many a second, each from when it was due.
pub(crate) async fn on_schedule(
    served: &Arc<Served>,
    work: Work,
    amount: Amount,
    (rate, sent): (usize, &Arc<AtomicUsize>),
) -> Result<Histogram<u64>, Failed> {
    let mut running: JoinSet<Result<Histogram<u64>, Failed>> = JoinSet::new();
    let pause = Duration::from_secs(1) / u32::try_from(rate)?;
    let of_one = pause * u32::try_from(amount.connections)?;
    let begin = Instant::now() + Duration::from_millis(200);
    let mut first = begin;
    for _ in 0..amount.connections {
        let (served, sent) = (Arc::clone(served), Arc::clone(sent));
        let mut due = first;
        running.spawn(async move {
            let mut wire = Wire::open(served.address).await?;
            let mut latencies = no_latencies()?;
            while due < begin + amount.time {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let request = served.request(work, number);
                tokio::time::sleep_until(due).await;
                wire.ask(&request).await?;
                let micros = u64::try_from(due.elapsed().as_micros())?;
                latencies.saturating_record(micros.max(1));
                due += of_one;
            }
            Ok(latencies)
        });
        first += pause;
    }
    let mut latencies = no_latencies()?;
    while let Some(one) = running.join_next().await {
        latencies.add(one??)?;
    }
    Ok(latencies)
}
