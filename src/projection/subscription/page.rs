//! Pages of events, as consumers get them, and how large the next may be.

use std::sync::Arc;

use crate::{
    domain::Position,
    store::{EventFilter, RecordedEvent},
};

/// Bytes of an event beside its data, about: texts, ids and the record itself.
const EVENT_BYTES: usize = 350;

/// About how many bytes an event takes in memory.
pub(super) fn event_bytes(event: &RecordedEvent) -> usize {
    event.data.get().len() + event.event_type.len() + EVENT_BYTES
}

/// Events in the order of their positions. Clones share them.
#[derive(Debug, Clone)]
pub struct EventPage {
    events: Arc<Vec<RecordedEvent>>,
    chosen: Chosen,
    read_to: Position,
}

/// Which events of a page that others may share.
#[derive(Debug, Clone)]
enum Chosen {
    /// Those from an index on.
    From(usize),
    /// Those at these indexes.
    These(Vec<usize>),
}

impl EventPage {
    /// A page from the store: all of it is meant.
    pub(super) fn of_store(events: Vec<RecordedEvent>, read_to: Position) -> Self {
        Self {
            events: Arc::new(events),
            chosen: Chosen::From(0),
            read_to,
        }
    }

    /// The part of a page of the tail, from an index on, that a filter means.
    pub(super) fn of_tail(
        events: Arc<Vec<RecordedEvent>>,
        from: usize,
        filter: &EventFilter,
    ) -> Self {
        let chosen = if *filter == EventFilter::default() {
            Chosen::From(from)
        } else {
            let meant = (from..events.len()).filter(|index| filter.matches(&events[*index]));
            Chosen::These(meant.collect())
        };
        let read_to = events.last().map_or(Position::ZERO, |last| last.position);
        Self {
            events,
            chosen,
            read_to,
        }
    }

    /// The events, ascending by position.
    pub fn iter(&self) -> impl Iterator<Item = &RecordedEvent> {
        let (from, these) = match &self.chosen {
            Chosen::From(from) => (&self.events[*from..], &[][..]),
            Chosen::These(indexes) => (&[][..], indexes.as_slice()),
        };
        from.iter()
            .chain(these.iter().map(|index| &self.events[*index]))
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.chosen {
            Chosen::From(from) => self.events.len() - from,
            Chosen::These(indexes) => indexes.len(),
        }
    }

    /// Whether there are none, so that it only tells how far was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All events that are meant up to here have been handed out with this page or before it.
    #[must_use]
    pub const fn read_to(&self) -> Position {
        self.read_to
    }
}

/// How many events to ask for, so that a page has about as many bytes as it may.
#[derive(Debug, Clone)]
pub(super) struct PageSizer {
    most_events: u32,
    most_bytes: usize,
    limit: u32,
}

impl PageSizer {
    /// Events of the first page: how large they are is not known yet.
    const FIRST: u32 = 64;
    /// How much larger a page may be than the one before, since its events may be larger too.
    const GROWTH: u32 = 8;

    pub(super) fn new(most_events: u32, most_bytes: usize) -> Self {
        Self {
            most_events,
            most_bytes,
            limit: most_events.min(Self::FIRST),
        }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn learn(&mut self, page: &EventPage) {
        self.learn_from(&page.events);
    }

    pub(super) fn learn_from(&mut self, events: &[RecordedEvent]) {
        let Some(average) = events
            .iter()
            .map(event_bytes)
            .sum::<usize>()
            .checked_div(events.len())
        else {
            return;
        };
        let fitting = self.most_bytes / average.max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        let most = self.limit.saturating_mul(Self::GROWTH);
        self.limit = fitting.min(most).clamp(1, self.most_events);
    }
}
