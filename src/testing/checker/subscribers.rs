//! Every subscriber and projection saw every event it asked for, once and in order.

use super::{StoredLog, Violation, violation::Violations};
use crate::{
    domain::{EventId, Position},
    store::EventFilter,
};

/// What a subscriber or a projection saw of the log.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// Its name.
    pub name: String,
    /// Which events it asked for.
    pub filter: EventFilter,
    /// It asked for what comes after this.
    pub after: Position,
    /// What it took for new, in its order.
    pub seen: Vec<(Position, EventId)>,
    /// Whether it has had the time to see the whole log.
    pub complete: bool,
}

pub(super) fn check(subscriber: &Subscriber, log: &StoredLog, found: &mut Violations) {
    let name = || subscriber.name.clone();
    let wanted = |event: &&crate::store::RecordedEvent| {
        event.position > subscriber.after && subscriber.filter.matches(event)
    };
    let mut expected = log.events.iter().filter(wanted).peekable();
    let mut last = subscriber.after;
    for (position, id) in &subscriber.seen {
        if *position <= last {
            found.add(Violation::Repeated {
                subscriber: name(),
                position: *position,
            });
            continue;
        }
        last = *position;
        while let Some(skipped) = expected.next_if(|event| event.position < *position) {
            found.add(Violation::Skipped {
                subscriber: name(),
                position: skipped.position,
            });
        }
        let stored = expected.next_if(|event| event.position == *position);
        if stored.is_none_or(|event| event.id != *id) {
            found.add(Violation::Other {
                subscriber: name(),
                position: *position,
            });
        }
    }
    if subscriber.complete {
        for skipped in expected {
            found.add(Violation::Skipped {
                subscriber: name(),
                position: skipped.position,
            });
        }
    }
}
