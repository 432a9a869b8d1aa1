//! The two workloads, as the commands of each caller.

use dormouse::{
    domain::{AggregateId, InvalidName},
    settings::Mode,
};

use super::caller::name;

/// Which load is put on the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Many aggregates, a few commands each, mixed.
    Spread,
    /// One aggregate that every caller updates.
    Hot,
}

impl Workload {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Hot => "hot",
        }
    }
}

/// What goes with every command.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Extras {
    /// Send every command under an idempotency key of its own.
    #[arg(long)]
    pub(crate) keys: bool,
    /// Let every account claim its name as unique; each update takes one claim and frees one.
    #[arg(long)]
    pub(crate) claims: bool,
}

/// How much of a workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    /// Which round of the run it is, from 1.
    pub(crate) round: u32,
    /// How accounts are kept.
    pub(crate) mode: Mode,
    pub(crate) callers: usize,
    pub(crate) aggregates: usize,
    /// Of each aggregate.
    pub(crate) updates: usize,
}

impl Plan {
    /// The aggregates' ids; the prefix is the run's own, so that a log may hold many runs.
    pub(crate) fn ids(&self, prefix: &str) -> Result<Vec<AggregateId>, InvalidName> {
        (0..self.aggregates)
            .map(|number| AggregateId::parse(&format!("{prefix}-{number}")))
            .collect()
    }

    /// Commands that are measured: the one create of the hot aggregate is not.
    pub(crate) const fn commands(&self) -> usize {
        match self.workload {
            Workload::Spread => self.aggregates * (1 + self.updates),
            Workload::Hot => self.updates,
        }
    }

    /// The version of each aggregate at the end.
    pub(crate) const fn last_version(&self) -> u64 {
        1 + self.updates as u64
    }

    /// The name of an aggregate at the end; none where callers vied for it.
    pub(crate) fn last_name(&self, number: usize, id: &AggregateId) -> Option<String> {
        match self.workload {
            Workload::Spread => Some(name(id, number % self.callers, self.updates)),
            Workload::Hot => None,
        }
    }

    /// Events that the log must hold at the end.
    pub(crate) const fn events(&self) -> usize {
        match self.mode {
            Mode::EventSourced | Mode::DualWrite => self.aggregates * (1 + self.updates),
            Mode::StateOnly => 0,
        }
    }

    /// The aggregates of a caller, by number. On `spread` each has one caller, which creates all
    /// its own and then updates them in turn: so an aggregate's commands keep their order, and
    /// neighbours in time are of different aggregates.
    pub(crate) fn share(&self, caller: usize) -> Share {
        match self.workload {
            Workload::Spread => Share {
                aggregates: (caller..self.aggregates).step_by(self.callers).collect(),
                creates: true,
                rounds: self.updates,
            },
            Workload::Hot => {
                let extra = usize::from(caller < self.updates % self.callers);
                Share {
                    aggregates: vec![0],
                    creates: false,
                    rounds: self.updates / self.callers + extra,
                }
            }
        }
    }
}

/// What one caller sends, one command after another.
#[derive(Debug)]
pub(crate) struct Share {
    /// Which aggregates, by number.
    pub(crate) aggregates: Vec<usize>,
    /// Whether they are created first.
    pub(crate) creates: bool,
    /// How often each is updated.
    pub(crate) rounds: usize,
}
