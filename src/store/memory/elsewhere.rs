//! What other programs do to the log in memory: they insert events without a position, in transactions of
//! their own, as on PostgreSQL.
//!
//! The rules are those of the adapter for PostgreSQL: a version that is inserted is taken, whoever meets
//! such an event in its stream has it numbered first, and a commit on a stream where another program's
//! transaction is open is contested.

use std::collections::HashSet;

use super::{MemoryStore, Tables};
use crate::{
    domain::{Position, StreamId, Version},
    store::{Commit, Loss, Numbering},
};

/// What other programs have inserted, and what they have begun.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// In the order in which it was committed.
    unnumbered: Vec<Commit>,
    open: HashSet<StreamId>,
}

/// Another program's transaction, which inserts events into one stream. Dropped, it is rolled back.
#[derive(Debug)]
pub struct OtherTransaction {
    store: MemoryStore,
    stream: StreamId,
    version: Version,
}

impl MemoryStore {
    /// An empty store whose log other programs write, too.
    #[must_use]
    pub fn with_other_writers() -> Self {
        Self {
            has_other_writers: true,
            ..Self::default()
        }
    }

    /// Begins another program's transaction; none where one is open on this stream, for which it would
    /// have to wait.
    #[must_use]
    pub fn begin_elsewhere(&self, stream: &StreamId) -> Option<OtherTransaction> {
        let mut tables = self.tables();
        if !tables.elsewhere.open.insert(stream.clone()) {
            return None;
        }
        let stored = tables.version(stream);
        let waiting = tables.elsewhere.unnumbered.iter();
        let waiting = waiting.filter(|commit| commit.stream == *stream);
        let version = waiting
            .map(Commit::version_after)
            .next_back()
            .unwrap_or(stored);
        Some(OtherTransaction {
            store: self.clone(),
            stream: stream.clone(),
            version,
        })
    }

    /// How many commits of other programs have no positions yet.
    #[must_use]
    pub fn unnumbered(&self) -> usize {
        self.tables().elsewhere.unnumbered.len()
    }

    /// Numbers what is in streams that are meant, and looks at what is there then, in one view: nobody
    /// inserts between the two.
    pub(super) fn numbered<T>(
        &self,
        meant: impl FnMut(&StreamId) -> bool,
        look: impl FnOnce(&mut Tables, Numbering) -> T,
    ) -> T {
        let mut tables = self.tables();
        let numbering = tables.number_if(meant);
        let last = numbering.last;
        let seen = look(&mut tables, numbering);
        // Whoever hears of it may look at once.
        drop(tables);
        if let Some(last) = last {
            self.hints.tell(last);
        }
        seen
    }
}

impl OtherTransaction {
    /// The version that it sees, which is the stream's until it ends.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Inserts the events of a commit that expects that version: they have no position until they are
    /// numbered. Of the commit nothing but them is looked at.
    pub fn commit(self, commit: Commit) {
        debug_assert_eq!(
            (&commit.stream, commit.expected),
            (&self.stream, self.version)
        );
        self.store.tables().elsewhere.unnumbered.push(Commit {
            frees: Vec::new(),
            takes: Vec::new(),
            receipt: None,
            row: None,
            ..commit
        });
    }
}

impl Drop for OtherTransaction {
    fn drop(&mut self) {
        self.store.tables().elsewhere.open.remove(&self.stream);
    }
}

impl Tables {
    pub(super) fn number_if(&mut self, mut meant: impl FnMut(&StreamId) -> bool) -> Numbering {
        let mut numbering = Numbering::default();
        // Most stores have none, and this is asked at each read.
        if self.elsewhere.unnumbered.is_empty() {
            return numbering;
        }
        let waiting = std::mem::take(&mut self.elsewhere.unnumbered);
        let (numbered, left): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|commit| meant(&commit.stream));
        self.elsewhere.unnumbered = left;
        for commit in numbered {
            self.store(&commit);
            numbering.numbered += commit.events.len() as u64;
        }
        if numbering.numbered > 0 {
            numbering.last = Some(Position::new(self.log.len() as u64));
        }
        numbering
    }

    /// Why a commit is refused for another program's sake.
    pub(super) fn contest(&self, commit: &Commit) -> Option<Loss> {
        let inserts = !commit.events.is_empty();
        (inserts && self.elsewhere.open.contains(&commit.stream)).then_some(Loss::Contested)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::value::RawValue;
    use ulid::Ulid;

    use super::*;
    use crate::{
        domain::{AggregateId, AggregateType, CorrelationId, EventId},
        store::{EventStore as _, NewEvent, Verdict},
    };

    fn stream(id: &str) -> StreamId {
        StreamId {
            aggregate_type: AggregateType::parse("Sample").unwrap(),
            aggregate_id: AggregateId::parse(id).unwrap(),
        }
    }

    fn commit(id: &str, expected: Version) -> Commit {
        Commit {
            stream: stream(id),
            expected,
            events: vec![NewEvent {
                // One for each stream and version.
                id: EventId(Ulid::from_parts(
                    expected.get(),
                    id.bytes().map(u128::from).sum(),
                )),
                event_type: "OpenedEvent".into(),
                schema_version: 1,
                data: RawValue::NULL.to_owned(),
            }],
            occurred_at: DateTime::UNIX_EPOCH,
            created_by: None,
            correlation_id: CorrelationId(Ulid::nil()),
            causation_id: None,
            frees: vec![],
            takes: vec![],
            receipt: None,
            row: None,
        }
    }

    fn insert(store: &MemoryStore, id: &str) {
        let transaction = store.begin_elsewhere(&stream(id)).unwrap();
        let version = transaction.version();
        let mut inserted = commit(id, version);
        // Another event than an append's at that version.
        let random = inserted.events[0].id.0.random();
        inserted.events[0].id = EventId(Ulid::from_parts(1000 + version.get(), random));
        transaction.commit(inserted);
    }

    #[tokio::test]
    async fn what_is_inserted_has_no_position_until_it_is_numbered_or_its_stream_is_read() {
        let store = MemoryStore::with_other_writers();
        for id in ["a", "b", "b"] {
            insert(&store, id);
        }
        let before = store.last_position().await.unwrap();

        let read = store.current_version(&stream("b")).await.unwrap();
        let on_sight = store.last_position().await.unwrap();
        let numbering = store.number().await.unwrap();

        let [before, on_sight] = [before, on_sight].map(Position::get);
        assert_eq!((before, read, on_sight), (0, Version::new(2), 2));
        assert_eq!(
            (numbering.numbered, numbering.last),
            (1, Some(Position::new(3)))
        );
        assert_eq!(store.unnumbered(), 0);
    }

    #[tokio::test]
    async fn an_append_loses_to_what_was_inserted_before() {
        let store = MemoryStore::with_other_writers();
        insert(&store, "a");

        let verdict = store.save(commit("a", Version::ZERO)).await.unwrap();

        let current = Version::new(1);
        assert!(matches!(verdict, Verdict::Lost(Loss::Version { current: met }) if met == current));
        let next = store.append(Arc::from([commit("a", current)])).await;
        assert!(matches!(next.unwrap()[..], [Verdict::Committed { .. }]));
    }

    #[tokio::test]
    async fn an_open_transaction_contests_its_own_stream_until_it_ends() {
        let store = MemoryStore::with_other_writers();
        let open = store.begin_elsewhere(&stream("a")).unwrap();
        let other_begins = store.begin_elsewhere(&stream("a")).is_some();

        let contested = store.save(commit("a", Version::ZERO)).await.unwrap();
        let beside = store.save(commit("b", Version::ZERO)).await.unwrap();
        drop(open);
        let after = store.save(commit("a", Version::ZERO)).await.unwrap();

        assert!(!other_begins);
        assert!(matches!(contested, Verdict::Lost(Loss::Contested)));
        assert!(matches!(beside, Verdict::Committed { .. }));
        assert!(matches!(after, Verdict::Committed { .. }));
    }
}
