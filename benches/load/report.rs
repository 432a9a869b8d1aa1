//! What is printed: a JSON object a line for programs, a table for people.

use dormouse::settings::{Mode, StoreKind};
use serde::{Serialize, Serializer};

use super::{plan::Workload, run::Measured};

/// The figures of one workload. Latencies are from sending a command to its answer.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    workload: Workload,
    #[serde(serialize_with = "by_name")]
    mode: Mode,
    round: u32,
    store: &'static str,
    callers: usize,
    commands: u64,
    commands_per_s: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Figures {
    pub(crate) fn new(measured: &Measured, store: StoreKind) -> Self {
        let latencies = &measured.latencies;
        let commands = latencies.len();
        let micros = u64::try_from(measured.took.as_micros()).unwrap_or(u64::MAX);
        let milliseconds = |quantile| thousandths(latencies.value_at_quantile(quantile));
        Self {
            workload: measured.plan.workload,
            mode: measured.plan.mode,
            round: measured.plan.round,
            store: match store {
                StoreKind::Sqlite => "sqlite",
                StoreKind::Postgres => "postgres",
                StoreKind::Memory => "memory",
            },
            callers: measured.plan.callers,
            commands,
            // In tenths, which is more than a run can promise.
            commands_per_s: tenths(commands.saturating_mul(10_000_000) / micros.max(1)),
            p50_ms: milliseconds(0.5),
            p95_ms: milliseconds(0.95),
            p99_ms: milliseconds(0.99),
            max_ms: thousandths(latencies.max()),
        }
    }

    /// How many commands were answered.
    pub(crate) const fn commands(&self) -> u64 {
        self.commands
    }

    pub(crate) const fn workload(&self) -> Workload {
        self.workload
    }

    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Answered commands a second.
    pub(crate) const fn rate(&self) -> f64 {
        self.commands_per_s
    }

    /// The head of the table whose rows are [`Self::row`].
    pub(crate) fn head() -> String {
        format!(
            "{:<9} {:<13} {:<9} {:>7} {:>9} {:>11} {:>9} {:>9} {:>9} {:>9}",
            "workload",
            "mode",
            "store",
            "callers",
            "commands",
            "commands/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms"
        )
    }

    pub(crate) fn row(&self) -> String {
        format!(
            "{:<9} {:<13} {:<9} {:>7} {:>9} {:>11.0} {:>9.3} {:>9.3} {:>9.3} {:>9.3}",
            self.workload.name(),
            self.mode.name(),
            self.store,
            self.callers,
            self.commands,
            self.commands_per_s,
            self.p50_ms,
            self.p95_ms,
            self.p99_ms,
            self.max_ms
        )
    }
}

/// The name that a mode has in the settings.
///
/// # Errors
/// As the serializer has them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
pub(crate) fn by_name<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(mode.name())
}

fn thousandths(number: u64) -> f64 {
    exact(number) / 1000.0
}

fn tenths(number: u64) -> f64 {
    exact(number) / 10.0
}

/// What is measured here fits 32 bits: a latency of an hour does, in microseconds.
fn exact(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
