//! The look for drift while a server serves: some aggregates at a time, round after round.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use super::{Adoption, AdoptionError, Cursor, VerifyOptions, VerifyProgress};
use crate::{
    domain::error_chain,
    metrics::{Collect, Counter, Exposition, Family, Kind},
    settings::DriftSettings,
};

/// Findings of one look that are logged each; the others are counted.
const LOGGED: u64 = 10;

const TYPE: &[&str] = &["aggregate_type"];

const DRIFT: Family = Family {
    name: "dormouse_drift",
    kind: Kind::Gauge,
    labels: TYPE,
    help: "Rows that do not agree with their events, by the last whole round or, where that is more, by this one so far.",
};
const COMPARED: Family = Family {
    name: "dormouse_drift_compared_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "Rows that were held against their events.",
};
const ROUNDS: Family = Family {
    name: "dormouse_drift_rounds_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "Rounds through all rows and aggregates of the type.",
};
const FAILURES: Family = Family {
    name: "dormouse_drift_failures_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "Looks for drift that failed, because the store or the table could not be read.",
};
const LAST_LOOK: Family = Family {
    name: "dormouse_drift_last_look_timestamp_seconds",
    kind: Kind::Gauge,
    labels: TYPE,
    help: "When rows were last held against their events, in seconds since 1970; 0 before the first time.",
};

/// Looks for drift until it is dropped.
#[derive(Debug)]
pub struct DriftWatch {
    seen: Arc<Seen>,
    /// Nothing where there is nothing to look at.
    task: Option<JoinHandle<()>>,
}

/// What a [`DriftWatch`] has seen of one type so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftView {
    /// The aggregate type.
    pub aggregate_type: String,
    /// When rows were last held against their events; nothing before the first time.
    pub last_look: Option<DateTime<Utc>>,
    /// Rounds through all rows and aggregates.
    pub rounds: u64,
    /// Rows that were held against their events, in all rounds.
    pub compared: u64,
    /// Rows that do not agree, by the last whole round or, where that is more, by this one so far.
    pub differing: u64,
    /// Looks that failed.
    pub failures: u64,
}

/// What a [`DriftWatch`] has seen so far, for `/metrics` and `/v1/runtime`.
#[derive(Debug)]
pub struct Seen {
    types: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    aggregate_type: String,
    is_looked_at: bool,
    compared: Counter,
    rounds: Counter,
    failures: Counter,
    last_look_s: AtomicI64,
    /// Where the round is, and what it and the last one found.
    round: Mutex<Round>,
}

#[derive(Debug, Clone, Default)]
struct Round {
    from: Option<Cursor>,
    found: u64,
    last_found: u64,
}

impl DriftWatch {
    /// Begins to look at these types; of the other mapped ones it tells that nothing was seen. It
    /// reads only; several servers on one store each look for themselves.
    ///
    /// Called within a tokio runtime.
    #[must_use]
    pub fn start(adoption: Adoption, settings: &DriftSettings, types: &[String]) -> Self {
        let mapped = adoption.types().map(str::to_owned);
        let all: BTreeSet<String> = mapped.chain(types.iter().cloned()).collect();
        let watched = all.into_iter().map(|name| Watched {
            is_looked_at: types.contains(&name),
            ..Watched::new(name)
        });
        let seen = Arc::new(Seen {
            types: watched.collect(),
        });
        let looking = Arc::clone(&seen);
        let (interval, batch) = (settings.interval, settings.batch);
        let look = async move {
            loop {
                tokio::time::sleep(interval).await;
                for watched in looking.types.iter().filter(|watched| watched.is_looked_at) {
                    watched.look(&adoption, batch).await;
                }
            }
        };
        let task = (!types.is_empty()).then(|| tokio::spawn(look));
        Self { seen, task }
    }

    /// What was seen, for `/metrics` and `/v1/runtime`.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl Drop for DriftWatch {
    fn drop(&mut self) {
        // It only reads, so it may end anywhere.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Watched {
    fn new(aggregate_type: String) -> Self {
        Self {
            aggregate_type,
            is_looked_at: false,
            compared: Counter::default(),
            rounds: Counter::default(),
            failures: Counter::default(),
            last_look_s: AtomicI64::new(0),
            round: Mutex::new(Round::default()),
        }
    }

    fn round(&self) -> std::sync::MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn differing(&self) -> u64 {
        let round = self.round();
        round.found.max(round.last_found)
    }

    /// Compares the next ones, and begins anew after the last.
    async fn look(&self, adoption: &Adoption, batch: u32) {
        if let Err(error) = self.compare(adoption, batch).await {
            self.failures.increment();
            let aggregate_type = &self.aggregate_type;
            tracing::warn!(
                aggregate_type,
                error = error_chain(&error),
                "drift cannot be looked for"
            );
        }
    }

    async fn compare(&self, adoption: &Adoption, batch: u32) -> Result<(), AdoptionError> {
        let options = VerifyOptions {
            page: batch,
            pages: Some(1),
            from: self.round().from.clone().unwrap_or(Cursor::START),
            ..VerifyOptions::default()
        };
        let mut found = 0;
        let verified = adoption.verify(&self.aggregate_type, options, |progress| {
            let VerifyProgress::Finding(finding) = progress else {
                return;
            };
            found += 1;
            if found <= LOGGED {
                let (aggregate_type, key) = (&self.aggregate_type, &finding.key);
                let drift = finding.drift.name();
                tracing::warn!(
                    aggregate_type,
                    key,
                    drift,
                    "a row does not agree with its events"
                );
            }
        });
        let verified = verified.await?;
        self.compared.add(verified.compared);
        let now = adoption.now().timestamp();
        self.last_look_s.store(now, Ordering::Relaxed);
        let mut round = self.round();
        round.found += verified.drifted;
        round.from = verified.stopped_at;
        if round.from.is_none() {
            round.last_found = std::mem::take(&mut round.found);
            self.rounds.increment();
        }
        Ok(())
    }
}

impl Seen {
    /// What was seen of each type that is looked at, by name.
    #[must_use]
    pub fn view(&self) -> Vec<DriftView> {
        let looked_at = self.types.iter().filter(|watched| watched.is_looked_at);
        let views = looked_at.map(|watched| DriftView {
            aggregate_type: watched.aggregate_type.clone(),
            last_look: match watched.last_look_s.load(Ordering::Relaxed) {
                0 => None,
                seconds => DateTime::from_timestamp(seconds, 0),
            },
            rounds: watched.rounds.get(),
            compared: watched.compared.get(),
            differing: watched.differing(),
            failures: watched.failures.get(),
        });
        views.collect()
    }
}

impl Collect for Seen {
    fn collect(&self, exposition: &mut Exposition) {
        let mut family = |family, value: &dyn Fn(&Watched) -> u64| {
            let mut samples = exposition.family(family);
            for watched in &self.types {
                samples.sample(&[&watched.aggregate_type], value(watched));
            }
        };
        family(&DRIFT, &Watched::differing);
        family(&COMPARED, &|watched| watched.compared.get());
        family(&ROUNDS, &|watched| watched.rounds.get());
        family(&FAILURES, &|watched| watched.failures.get());
        family(&LAST_LOOK, &|watched| {
            let seconds = watched.last_look_s.load(Ordering::Relaxed);
            u64::try_from(seconds).unwrap_or(0)
        });
    }
}
