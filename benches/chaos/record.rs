//! What a run did: how often each fault was made, and how soon all was well after it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{check::Verdict, faults::Fault, history::Nanos};

/// One fault, over a run.
#[derive(Debug, Default, Clone)]
struct Made {
    recoveries: Vec<Nanos>,
    /// It was drawn and did not come to pass.
    missed: usize,
}

/// All of a run.
#[derive(Debug, Default)]
pub(crate) struct Record {
    made: BTreeMap<Fault, Made>,
    not_run: BTreeMap<Fault, String>,
    pub(crate) findings: Vec<String>,
    pub(crate) verdicts: Vec<(String, Verdict)>,
    /// How often the directory of users was begun to be built anew.
    pub(crate) rebuilds: u64,
    /// How many transactions another program committed, where there was one.
    pub(crate) outside: Option<u64>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    fault: String,
    made: usize,
    p50_ms: u64,
    p99_ms: u64,
    max_ms: u64,
}

impl Record {
    pub(crate) fn made(&mut self, fault: Fault, recovery: Nanos) {
        self.made
            .entry(fault)
            .or_default()
            .recoveries
            .push(recovery);
    }

    pub(crate) fn missed(&mut self, fault: Fault) {
        self.made.entry(fault).or_default().missed += 1;
    }

    pub(crate) fn not_run(&mut self, fault: Fault, reason: String) {
        self.not_run.insert(fault, reason);
    }

    pub(crate) fn count(&self) -> usize {
        self.made.values().map(|made| made.recoveries.len()).sum()
    }

    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
            && self
                .verdicts
                .iter()
                .all(|(_, verdict)| verdict.violations == 0)
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(fault, made): (&Fault, &Made)| {
            let mut sorted = made.recoveries.clone();
            sorted.sort_unstable();
            let at = |percent: usize| {
                let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
                sorted.get(index).copied().unwrap_or_default() / 1_000_000
            };
            Row {
                fault: fault.name(),
                made: sorted.len(),
                p50_ms: at(50),
                p99_ms: at(99),
                max_ms: at(100),
            }
        };
        self.made.iter().map(row).collect()
    }

    /// One JSON object, for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let not_run: BTreeMap<String, &String> = self
            .not_run
            .iter()
            .map(|(fault, reason)| (fault.name(), reason))
            .collect();
        serde_json::json!({
            "faults": self.rows(),
            "not_run": not_run,
            "rebuilds": self.rebuilds,
            "outside": self.outside,
            "findings": self.findings,
            "verdicts": self.verdicts,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>6} {:>10} {:>10} {:>10}",
            "fault", "made", "p50 ms", "p99 ms", "max ms"
        )?;
        for row in self.rows() {
            writeln!(
                f,
                "{:<20} {:>6} {:>10} {:>10} {:>10}",
                row.fault, row.made, row.p50_ms, row.p99_ms, row.max_ms
            )?;
        }
        for (fault, made) in &self.made {
            if made.missed > 0 {
                writeln!(f, "{} came to nothing {} times", fault.name(), made.missed)?;
            }
        }
        let mut reasons: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for (fault, reason) in &self.not_run {
            reasons.entry(reason).or_default().push(fault.name());
        }
        for (reason, faults) in reasons {
            writeln!(f, "NOT RUN: {}: {reason}", faults.join(", "))?;
        }
        if self.rebuilds > 0 {
            writeln!(f, "the directory was built anew {} times", self.rebuilds)?;
        }
        if let Some(committed) = self.outside {
            writeln!(f, "another program committed {committed} transactions")?;
        }
        for (when, verdict) in &self.verdicts {
            writeln!(
                f,
                "{when}: {} commands, {} acknowledged, {} refused, {} unknown ({} of them stored), \
                 {} reads, {} events, seen {} times by subscribers, {} rows, {} readings of the \
                 directory: {} violations",
                verdict.commands,
                verdict.acknowledged,
                verdict.refused,
                verdict.unknown,
                verdict.unknown_and_stored,
                verdict.reads,
                verdict.events,
                verdict.seen,
                verdict.rows,
                verdict.listings,
                verdict.violations
            )?;
            for told in &verdict.told {
                writeln!(f, "  VIOLATION: {told}")?;
            }
        }
        for finding in &self.findings {
            writeln!(f, "  FINDING: {finding}")?;
        }
        Ok(())
    }
}
