//! Whatever stands in a line of an import: a mistake that is told, or an event that is stored, shown and
//! exported as it came.
#![no_main]

mod app;

use std::{cell::RefCell, sync::Arc};

use actix_web::{rt::System, test::TestRequest};
use chrono::SubsecRound as _;
use dormouse::{
    cli::portable::{self, Secrets},
    domain::{AggregateId, EventId, Position, Version},
    store::{EventStore, RecordedEvent, memory::MemoryStore},
};
use libfuzzer_sys::fuzz_target;
use ulid::Ulid;

/// So many events are kept; then memory begins anew.
const KEPT: u64 = 20_000;

struct Log {
    app: app::Asked,
    store: Arc<dyn EventStore>,
    events: u64,
}

thread_local!(static LOG: app::Kept<RefCell<Log>> = app::Kept::new(RefCell::new(Log::new())));

impl Log {
    fn new() -> Self {
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
        Self {
            app: app::Asked::over(System::new(), Arc::clone(&store), None),
            store,
            events: 0,
        }
    }

    /// Stores a line's event as the first of an aggregate, and gives it as it is stored.
    fn take(&mut self, incoming: portable::Incoming) -> RecordedEvent {
        self.events += 1;
        let mut commit = incoming.commit;
        // Lines that come again are no other aggregate's here.
        let id = format!("i{}", self.events);
        commit.stream.aggregate_id = AggregateId::parse(&id).expect("an id");
        commit.expected = Version::ZERO;
        commit.events[0].id = EventId(Ulid::from_parts(1, u128::from(self.events)));
        let verdict = self.app.block_on(self.store.save(commit));
        verdict.expect("memory takes it");
        let after = Position::new(self.events - 1);
        let stored = self.app.block_on(self.store.read_log(after, 1));
        let mut stored = stored.expect("memory is read");
        stored.pop().expect("it is stored")
    }

    /// Whoever may read sees no secret of it, and no panic.
    fn show(&self, event: &RecordedEvent) {
        let ask = |uri: &str| self.app.ask(TestRequest::get().uri(uri));
        let (kind, id) = (
            event.stream.aggregate_type.as_str(),
            &event.stream.aggregate_id,
        );
        let (status, text) = ask(&format!("/v1/events/{}", event.id));
        assert_eq!(status, 200, "{text}");
        assert!(!text.contains("\"$secret\""), "{text}");
        // An event that its type cannot read is a 500 by itself; a panic ends the target.
        let (_, text) = ask(&format!("/v1/aggregates/{kind}/{id}"));
        assert!(!text.contains("\"$secret\""), "{text}");
    }
}

/// An exported event comes in again as it was.
fn comes_back(event: &RecordedEvent) {
    for write in [portable::own, portable::cloud_event] {
        let line = write(event, Secrets::Included).expect("it can be written");
        let back = portable::read(&line);
        let back = back.unwrap_or_else(|error| panic!("{error} in {line}"));
        let commit = back.commit;
        assert_eq!(commit.stream, event.stream, "{line}");
        assert_eq!(commit.version_after(), event.version, "{line}");
        assert_eq!(commit.events[0].id, event.id, "{line}");
        assert_eq!(commit.events[0].event_type, event.event_type, "{line}");
        assert_eq!(
            commit.events[0].schema_version, event.schema_version,
            "{line}"
        );
        assert_eq!(commit.events[0].data.get(), event.data.get(), "{line}");
        assert_eq!(
            commit.occurred_at,
            event.occurred_at.trunc_subsecs(6),
            "{line}"
        );
        assert_eq!(commit.created_by, event.created_by, "{line}");
        assert_eq!(commit.correlation_id, event.correlation_id, "{line}");
        assert_eq!(commit.causation_id, event.causation_id, "{line}");
        assert!(!back.redacted, "{line}");

        let line = write(event, Secrets::LeftOut).expect("it can be written");
        assert!(!line.contains("\"$secret\""), "{line}");
        let back = portable::read(&line);
        back.unwrap_or_else(|error| panic!("{error} in {line}"));
    }
}

fuzz_target!(|line: &str| {
    let incoming = match portable::read(line) {
        Ok(incoming) => incoming,
        Err(mistake) => {
            assert!(!mistake.field.is_empty() && !mistake.problem.is_empty());
            return;
        }
    };
    LOG.with(|log| {
        let mut log = log.borrow_mut();
        if log.events >= KEPT {
            *log = Log::new();
        }
        let event = log.take(incoming);
        log.show(&event);
        comes_back(&event);
    });
});
