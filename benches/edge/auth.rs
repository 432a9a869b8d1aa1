//! What it costs to know who asks.

use std::sync::{Arc, atomic::AtomicUsize};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    Amount, Failed, Work,
    load::as_fast_as_answered,
    report::{median, real},
    servers::{Known, Served},
};

/// The figures of one way to know who asks, over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) work: Work,
    pub(crate) known: Known,
    /// The median of the rounds.
    pub(crate) requests_per_s: f64,
    /// What the server's process used of processors, the median of the rounds.
    pub(crate) cpu_us_per_request: f64,
    /// The rate compared with that of [`Known::Nobody`] in the same round: the median, the least and the most.
    pub(crate) of_none: [f64; 3],
}

/// One measurement.
struct Round {
    rate: f64,
    cpu: f64,
}

/// Measures every way and every work, in turns.
pub(crate) async fn measure(works: &[Work], amount: Amount) -> Result<Vec<Figures>, Failed> {
    let mut servers = Vec::new();
    for known in Known::ALL {
        servers.push(Arc::new(Served::start(known).await?));
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let mut figures = Vec::new();
    for work in works {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        // Nobody's first second is like the others.
        for served in &servers {
            let short = Amount {
                time: amount.time / 4,
                ..amount
            };
            as_fast_as_answered(served, *work, short, &sent).await?;
        }
        for number in 0..amount.rounds {
            // Whoever is first in a round is another in the next.
            for place in 0..servers.len() {
                let which = (number + place) % servers.len();
                let round = one_round(&servers[which], *work, amount, &sent).await?;
                rounds[which].push(round);
            }
        }
        let nobody: Vec<f64> = rounds[0].iter().map(|round| round.rate).collect();
        for (known, rounds) in Known::ALL.into_iter().zip(rounds) {
            figures.push(Figures::new(*work, known, &rounds, &nobody));
        }
    }
    Ok(figures)
}

async fn one_round(
    served: &Arc<Served>,
    work: Work,
    amount: Amount,
    sent: &Arc<AtomicUsize>,
) -> Result<Round, Failed> {
    let (ticks, begun) = (served.ticks()?, Instant::now());
    let answered = as_fast_as_answered(served, work, amount, sent).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let micros = real(served.ticks()? - ticks) * 10_000.0;
    Ok(Round {
        rate: real(answered) / seconds,
        cpu: micros / real(answered).max(1.0),
    })
}

impl Figures {
    fn new(work: Work, known: Known, rounds: &[Round], nobody: &[f64]) -> Self {
        let pairs = rounds.iter().zip(nobody);
        let ratios: Vec<f64> = pairs.map(|(round, nobody)| round.rate / nobody).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Self {
            work,
            known,
            requests_per_s: median(rounds.iter().map(|round| round.rate)),
            cpu_us_per_request: median(rounds.iter().map(|round| round.cpu)),
            of_none: [median(ratios), least, most],
        }
    }
}
