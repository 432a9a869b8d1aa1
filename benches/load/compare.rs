//! The modes beside each other: what rate each has of the first one's, round by round.

use std::fmt;

use dormouse::settings::Mode;
use serde::Serialize;

use super::{
    plan::Workload,
    report::{Figures, by_name},
};

/// How fast a workload ran in one mode, in parts of its rate in another in the same round.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    workload: Workload,
    #[serde(serialize_with = "by_name")]
    mode: Mode,
    #[serde(serialize_with = "by_name")]
    beside: Mode,
    rounds: usize,
    least: f64,
    median: f64,
    most: f64,
}

/// Holds each mode but the first against the first.
pub(crate) fn comparisons(figures: &[Figures], modes: &[Mode]) -> Vec<Comparison> {
    let Some((beside, others)) = modes.split_first() else {
        return Vec::new();
    };
    let workloads = [Workload::Spread, Workload::Hot].into_iter();
    let pairs = workloads.flat_map(|workload| others.iter().map(move |mode| (workload, *mode)));
    pairs
        .filter_map(|(workload, mode)| Comparison::of(figures, workload, mode, *beside))
        .collect()
}

impl Comparison {
    /// Nothing where the workload did not run.
    fn of(figures: &[Figures], workload: Workload, mode: Mode, beside: Mode) -> Option<Self> {
        let rates = |wanted: Mode| {
            let ran = move |one: &&Figures| one.workload() == workload && one.mode() == wanted;
            figures.iter().filter(ran).map(Figures::rate)
        };
        let mut parts: Vec<f64> = rates(mode)
            .zip(rates(beside))
            .map(|(rate, beside)| rounded(rate / beside))
            .collect();
        parts.sort_by(f64::total_cmp);
        Some(Self {
            workload,
            mode,
            beside,
            rounds: parts.len(),
            least: *parts.first()?,
            // The lower of the two in the middle, where there are two.
            median: parts[(parts.len() - 1) / 2],
            most: *parts.last()?,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} has {:.3} of the rate of {} ({:.3} to {:.3} in {} rounds)",
            self.workload.name(),
            self.mode.name(),
            self.median,
            self.beside.name(),
            self.least,
            self.most,
            self.rounds
        )
    }
}

fn rounded(part: f64) -> f64 {
    (part * 1000.0).round() / 1000.0
}
