//! A runtime's figures as Prometheus reads them. `docs/metrics.md` has the same table.

use super::{Runtime, named::NamedAggregates};
use crate::metrics::{Collect, Exposition, Family, Kind, count_of};

const TYPE: &[&str] = &["aggregate_type"];
const COMMAND: &[&str] = &["aggregate_type", "command"];

const BUILD: Family = Family {
    name: "dormouse_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Always 1; the label says which version runs.",
};
const STARTED: Family = Family {
    name: "dormouse_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When the runtime started, in seconds since 1970.",
};
const COMMANDS: Family = Family {
    name: "dormouse_commands_total",
    kind: Kind::Counter,
    labels: &["aggregate_type", "command", "outcome"],
    help: "Commands that have ended, by how they ended.",
};
const COMMAND_DURATION: Family = Family {
    name: "dormouse_command_duration_seconds",
    kind: Kind::Histogram,
    labels: COMMAND,
    help: "From a command's body being read to its answer, whatever the answer is.",
};
const IN_FLIGHT: Family = Family {
    name: "dormouse_in_flight",
    kind: Kind::Gauge,
    labels: &[],
    help: "Commands and reads of states that are taken and not answered.",
};
const IN_FLIGHT_LIMIT: Family = Family {
    name: "dormouse_in_flight_limit",
    kind: Kind::Gauge,
    labels: &[],
    help: "How many may be unanswered before more are refused (runtime.max_in_flight).",
};
const LIVE: Family = Family {
    name: "dormouse_live_aggregates",
    kind: Kind::Gauge,
    labels: TYPE,
    help: "Aggregates whose actor is awake.",
};
const LIVE_LIMIT: Family = Family {
    name: "dormouse_live_aggregates_limit",
    kind: Kind::Gauge,
    labels: &[],
    help: "How many may be awake before the least recently used sleep (runtime.max_live).",
};
const ACTIVATIONS: Family = Family {
    name: "dormouse_activations_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "Actors that were woken.",
};
const ACTIVATION_DURATION: Family = Family {
    name: "dormouse_activation_duration_seconds",
    kind: Kind::Histogram,
    labels: TYPE,
    help: "From an actor being woken to its state being read from the store.",
};
const ACTIVATION_FAILURES: Family = Family {
    name: "dormouse_activation_failures_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "States that could not be read from the store, at the waking or later.",
};
const PASSIVATIONS: Family = Family {
    name: "dormouse_passivations_total",
    kind: Kind::Counter,
    labels: &["aggregate_type", "cause"],
    help: "Actors that ended, by cause: idle, room (others were used later), absent (no events), \
           lost (a bug), shutdown.",
};
const CONFLICTS: Family = Family {
    name: "dormouse_conflicts_total",
    kind: Kind::Counter,
    labels: &["aggregate_type", "with"],
    help: "Commits that lost to an earlier one with their version, claim or key, or to another \
           program's change of the row.",
};
const MENDS: Family = Family {
    name: "dormouse_row_mends_total",
    kind: Kind::Counter,
    labels: &["aggregate_type", "mend"],
    help: "What was stored so that row and log fit: adopted (a row's first event), reconciled (an \
           event tells what another program wrote), rewritten (the row was behind), noted (only \
           that it was met).",
};
const UNHELD_CLAIMS: Family = Family {
    name: "dormouse_row_unheld_claims_total",
    kind: Kind::Counter,
    labels: TYPE,
    help: "Unique values of rows that another aggregate holds: they are served without the claim.",
};
const BATCH_COMMITS: Family = Family {
    name: "dormouse_journal_batch_commits",
    kind: Kind::Histogram,
    labels: &[],
    help: "Commits in one append of the journal.",
};
const BATCH_EVENTS: Family = Family {
    name: "dormouse_journal_batch_events",
    kind: Kind::Histogram,
    labels: &[],
    help: "Events in one append of the journal.",
};
const FLUSH_DURATION: Family = Family {
    name: "dormouse_journal_flush_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long one append of the journal took, until it was durable or had failed.",
};
const FLUSH_FAILURES: Family = Family {
    name: "dormouse_journal_flush_failures_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Appends that failed or whose answer was lost, each retry counted.",
};
const SNAPSHOTS: Family = Family {
    name: "dormouse_snapshots_written_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Snapshots that were written.",
};
const SNAPSHOT_FAILURES: Family = Family {
    name: "dormouse_snapshot_failures_total",
    kind: Kind::Counter,
    labels: &["cause"],
    help: "Snapshots that were not written, by cause: queue (too many waited), store (it failed), \
           state (it cannot be serialized).",
};

const FOREIGN_NUMBERED: Family = Family {
    name: "dormouse_foreign_events_numbered_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Events of other programs that the journal has given positions to.",
};
const FOREIGN_REFUSED: Family = Family {
    name: "dormouse_foreign_events_refused",
    kind: Kind::Gauge,
    labels: &[],
    help: "Events of other programs that cannot be numbered as they are, at the last look.",
};

impl Collect for Runtime {
    fn collect(&self, exposition: &mut Exposition) {
        let types = self.named_types();
        self.collect_node(exposition);
        collect_commands(&types, exposition);
        collect_lives(&types, exposition);
        self.collect_writes(exposition);
    }
}

impl Runtime {
    /// The registered types, by name.
    pub(super) fn named_types(&self) -> Vec<&dyn NamedAggregates> {
        let mut types: Vec<_> = self.inner.types.values().map(|named| &**named).collect();
        types.sort_unstable_by_key(|named| named.aggregate_type().as_str());
        types
    }

    fn collect_node(&self, exposition: &mut Exposition) {
        let node = &self.inner.node;
        let version = env!("CARGO_PKG_VERSION");
        exposition.family(&BUILD).sample(&[version], 1);
        let started = u64::try_from(node.started_at.timestamp()).unwrap_or_default();
        exposition.family(&STARTED).sample(&[], started);
        let mut gauge = |family, value| exposition.family(family).sample(&[], count_of(value));
        gauge(&IN_FLIGHT, node.load.unanswered());
        gauge(&IN_FLIGHT_LIMIT, node.settings.max_in_flight);
        gauge(&LIVE_LIMIT, node.settings.max_live);
    }

    fn collect_writes(&self, exposition: &mut Exposition) {
        let meter = &self.inner.node.meter;
        for (family, histogram) in [
            (&BATCH_COMMITS, &meter.batch_commits),
            (&BATCH_EVENTS, &meter.batch_events),
            (&FLUSH_DURATION, &meter.flush_duration),
        ] {
            exposition.family(family).histogram(&[], histogram);
        }
        let mut counter = |family, value| exposition.family(family).sample(&[], value);
        counter(&FLUSH_FAILURES, meter.flush_failures.get());
        counter(&SNAPSHOTS, meter.snapshots_written.get());
        counter(&FOREIGN_NUMBERED, meter.foreign.numbered.get());
        counter(&FOREIGN_REFUSED, meter.foreign.refused());
        let mut failures = exposition.family(&SNAPSHOT_FAILURES);
        failures.sample(&["queue"], meter.snapshots_dropped.get());
        failures.sample(&["store"], meter.snapshots_refused.get());
        failures.sample(&["state"], meter.snapshots_broken.get());
    }
}

fn collect_commands(types: &[&dyn NamedAggregates], exposition: &mut Exposition) {
    let mut samples = exposition.family(&COMMANDS);
    for named in types {
        let name = named.aggregate_type().as_str();
        for meter in named.command_meters() {
            for (outcome, count) in meter.outcomes() {
                samples.sample(&[name, meter.name, outcome], count);
            }
        }
    }
    let mut samples = exposition.family(&COMMAND_DURATION);
    for named in types {
        let name = named.aggregate_type().as_str();
        for meter in named.command_meters() {
            samples.histogram(&[name, meter.name], &meter.duration);
        }
    }
}

fn collect_lives(types: &[&dyn NamedAggregates], exposition: &mut Exposition) {
    let names = || {
        types
            .iter()
            .map(|named| (named.aggregate_type().as_str(), named))
    };
    let mut samples = exposition.family(&LIVE);
    for (name, named) in names() {
        samples.sample(&[name], count_of(named.live()));
    }
    let mut samples = exposition.family(&ACTIVATIONS);
    for (name, named) in names() {
        samples.sample(&[name], named.meter().activations.get());
    }
    let mut samples = exposition.family(&ACTIVATION_DURATION);
    for (name, named) in names() {
        samples.histogram(&[name], &named.meter().activation_duration);
    }
    let mut samples = exposition.family(&ACTIVATION_FAILURES);
    for (name, named) in names() {
        samples.sample(&[name], named.meter().activation_failures.get());
    }
    let mut samples = exposition.family(&PASSIVATIONS);
    for (name, named) in names() {
        for (cause, count) in named.meter().passivations() {
            samples.sample(&[name, cause], count);
        }
    }
    let mut samples = exposition.family(&CONFLICTS);
    for (name, named) in names() {
        for (with, count) in named.meter().conflicts() {
            samples.sample(&[name, with], count);
        }
    }
    let mut samples = exposition.family(&MENDS);
    for (name, named) in names() {
        for (mend, count) in named.meter().mends() {
            samples.sample(&[name, mend], count);
        }
    }
    let mut samples = exposition.family(&UNHELD_CLAIMS);
    for (name, named) in names() {
        samples.sample(&[name], named.meter().unheld_claims.get());
    }
}
