//! What is printed: a JSON object a line for programs, a table for people.

use std::time::Duration;

use serde::Serialize;

/// One way of reading, measured. What does not apply is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) of: String,
    pub(crate) store: &'static str,
    /// How many events were read, or how often it was asked.
    pub(crate) count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_ms: Option<f64>,
}

impl Figure {
    /// Events in a time.
    pub(crate) fn rate(
        what: &'static str,
        of: &str,
        store: &'static str,
        events: u64,
        took: Duration,
    ) -> Self {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        Self {
            what,
            of: of.to_owned(),
            store,
            count: events,
            events_per_s: Some(events.saturating_mul(1_000_000) / micros),
            ..Self::default()
        }
    }

    /// The latencies of one question asked many times.
    pub(crate) fn latencies(
        what: &'static str,
        of: &str,
        store: &'static str,
        mut took: Vec<Duration>,
    ) -> Self {
        took.sort_unstable();
        let at = |per_cent: usize| {
            let index = (took.len() * per_cent / 100).min(took.len().saturating_sub(1));
            took.get(index).map(|took| milliseconds(*took))
        };
        Self {
            what,
            of: of.to_owned(),
            store,
            count: took.len() as u64,
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            ..Self::default()
        }
    }

    /// The head of the table whose rows are [`Self::row`].
    pub(crate) fn head() -> String {
        format!(
            "{:<13} {:<44} {:<9} {:>9} {:>10} {:>9} {:>9} {:>9}",
            "what", "of", "store", "count", "events/s", "p50 ms", "p99 ms", "max ms"
        )
    }

    pub(crate) fn row(&self) -> String {
        let number =
            |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let time = |time: Option<f64>| time.map_or_else(String::new, |time| format!("{time:.3}"));
        format!(
            "{:<13} {:<44} {:<9} {:>9} {:>10} {:>9} {:>9} {:>9}",
            self.what,
            self.of,
            self.store,
            self.count,
            number(self.events_per_s),
            time(self.p50_ms),
            time(self.p99_ms),
            time(self.max_ms)
        )
    }
}

fn milliseconds(took: Duration) -> f64 {
    // In thousandths, which is more than a run can promise.
    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}
