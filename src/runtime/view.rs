//! What a runtime is doing, for operators. Looking reads atomics only: nothing is sent to an actor,
//! and no lock is held but a shard's of the map of live aggregates, for as long as it is passed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Runtime, load::Slot, named::NamedAggregates};
use crate::domain::{AggregateId, Version};

/// What a runtime has done since its start, and what is under way.
#[derive(Debug, Clone)]
pub struct RuntimeView {
    /// When it started.
    pub since: DateTime<Utc>,
    /// Commands and reads of states that are taken and not answered.
    pub in_flight: usize,
    /// How many may be.
    pub in_flight_limit: usize,
    /// How many aggregates may be live.
    pub live_limit: usize,
    /// Its aggregate types, by name.
    pub types: Vec<TypeView>,
    /// What it has written.
    pub journal: JournalView,
    /// Snapshots that were written.
    pub snapshots_written: u64,
    /// Snapshots that were not, for whatever cause.
    pub snapshots_failed: u64,
}

/// The aggregates of one type.
#[derive(Debug, Clone)]
pub struct TypeView {
    /// The type.
    pub aggregate_type: String,
    /// How many are live.
    pub live: usize,
    /// What is unanswered in all of them.
    pub depth: u64,
    /// What is unanswered in the one with most.
    pub deepest: u32,
    /// How often one was woken.
    pub activations: u64,
    /// How often a state could not be read.
    pub activation_failures: u64,
    /// How often one went to sleep, by cause.
    pub passivations: BTreeMap<&'static str, u64>,
    /// How often a commit lost, by what it lost.
    pub conflicts: BTreeMap<&'static str, u64>,
}

/// What the journal has written.
#[derive(Debug, Clone, Copy)]
pub struct JournalView {
    /// Appends.
    pub batches: u64,
    /// Commits in them.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Appends that failed or whose answer was lost.
    pub failures: u64,
    /// The time that all of them took together.
    pub flushing: Duration,
}

/// One live aggregate.
#[derive(Debug, Clone)]
pub struct LiveView {
    /// Its type.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: AggregateId,
    /// The version its actor has settled; zero while it is still being read.
    pub version: Version,
    /// What is unanswered in it.
    pub depth: u32,
    /// How long the oldest of that waits, by what its actor last said; nothing where none is.
    pub oldest_wait: Option<Duration>,
    /// How long its last append took; nothing where it has made none.
    pub last_append: Option<Duration>,
    /// When it was woken.
    pub since: DateTime<Utc>,
}

/// Which live aggregates to show, and in which order.
#[derive(Debug, Clone)]
pub struct LiveQuery<'a> {
    /// Only of this type.
    pub aggregate_type: Option<&'a str>,
    /// In which order.
    pub order: LiveOrder<'a>,
    /// How many at most.
    pub limit: usize,
}

/// The order of live aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveOrder<'a> {
    /// Those with most unanswered first, then those that wait longest.
    Depth,
    /// By type and id, after this one.
    Id(Option<(&'a str, &'a str)>),
}

/// What comes first is the smaller.
type Rank<'a> = (Reverse<u32>, u64, &'a str, AggregateId);

impl Runtime {
    /// What it has done since its start, and what is under way.
    #[must_use]
    pub fn view(&self) -> RuntimeView {
        let node = &self.inner.node;
        let meter = &node.meter;
        let refused = meter.snapshots_refused.get() + meter.snapshots_dropped.get();
        RuntimeView {
            since: node.started_at,
            in_flight: node.load.unanswered(),
            in_flight_limit: node.settings.max_in_flight,
            live_limit: node.settings.max_live,
            types: self.named_types().into_iter().map(type_view).collect(),
            journal: JournalView {
                batches: meter.flush_duration.count(),
                commits: meter.batch_commits.sum(),
                events: meter.batch_events.sum(),
                failures: meter.flush_failures.get(),
                flushing: Duration::from_micros(meter.flush_duration.sum()),
            },
            snapshots_written: meter.snapshots_written.get(),
            snapshots_failed: refused + meter.snapshots_broken.get(),
        }
    }

    /// Live aggregates, `limit` at most. It passes all that are live once, and keeps those only.
    #[must_use]
    pub fn live(&self, query: &LiveQuery<'_>) -> Vec<LiveView> {
        let types = self.named_types();
        let wanted = types.into_iter().filter(|named| {
            let name = named.aggregate_type().as_str();
            query.aggregate_type.is_none_or(|wanted| wanted == name)
        });
        let wanted: Vec<_> = wanted.collect();
        let mut first: BinaryHeap<Rank<'_>> = BinaryHeap::new();
        for named in &wanted {
            named.visit(&mut |id, slot| {
                let name = named.aggregate_type().as_str();
                let rank = match query.order {
                    LiveOrder::Depth => (Reverse(slot.depth()), slot.oldest_entered_ms()),
                    LiveOrder::Id(after) if after < Some((name, id.as_str())) => (Reverse(0), 0),
                    LiveOrder::Id(_) => return,
                };
                keep_first(&mut first, rank, (name, id), query.limit);
            });
        }
        let ranked = first.into_sorted_vec().into_iter();
        let found = ranked.filter_map(|(_, _, name, id)| {
            let named = wanted
                .iter()
                .find(|named| named.aggregate_type().as_str() == name)?;
            let mut view = None;
            // It may have gone to sleep since.
            named.look(&id, &mut |slot| {
                view = Some(self.live_view(name, &id, slot));
            });
            view
        });
        found.collect()
    }

    fn live_view(&self, aggregate_type: &str, id: &AggregateId, slot: &Slot) -> LiveView {
        let node = &self.inner.node;
        let depth = slot.depth();
        let waiting_ms = node.now_ms().saturating_sub(slot.oldest_entered_ms());
        let age = TimeDelta::from_std(node.age_at(slot.woken_at())).unwrap_or_default();
        LiveView {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: id.clone(),
            version: slot.version(),
            depth,
            oldest_wait: (depth > 0).then(|| Duration::from_millis(waiting_ms)),
            last_append: slot.last_append(),
            since: node.started_at + age,
        }
    }
}

fn keep_first<'a>(
    first: &mut BinaryHeap<Rank<'a>>,
    (depth, entered_ms): (Reverse<u32>, u64),
    (name, id): (&'a str, &AggregateId),
    limit: usize,
) {
    if first.len() >= limit {
        let is_later = first
            .peek()
            .is_none_or(|(last_depth, last_ms, last_name, last_id)| {
                (depth, entered_ms, name, id) >= (*last_depth, *last_ms, *last_name, last_id)
            });
        if is_later {
            return;
        }
        first.pop();
    }
    first.push((depth, entered_ms, name, id.clone()));
}

fn type_view(named: &dyn NamedAggregates) -> TypeView {
    let (mut live, mut depth, mut deepest) = (0, 0, 0);
    named.visit(&mut |_, slot| {
        live += 1;
        depth += u64::from(slot.depth());
        deepest = deepest.max(slot.depth());
    });
    let meter = named.meter();
    TypeView {
        aggregate_type: named.aggregate_type().as_str().to_owned(),
        live,
        depth,
        deepest,
        activations: meter.activations.get(),
        activation_failures: meter.activation_failures.get(),
        passivations: meter.passivations().collect(),
        conflicts: meter.conflicts().collect(),
    }
}
