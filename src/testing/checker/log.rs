//! What a store holds, as the checker compares it.

use std::collections::{HashMap, HashSet};

use super::{History, Token, Violation, violation::Violations};
use crate::{
    domain::{IdempotencyKey, Position, StreamId, Version},
    store::{EventStore, ReadError, Receipt, RecordedEvent},
};

const PAGE: u32 = 1000;

/// The whole log, where each token stands in it, and the receipts of the commands in a history.
#[derive(Debug, Clone, Default)]
pub struct StoredLog {
    pub(super) events: Vec<RecordedEvent>,
    /// The token of each event.
    pub(super) tokens: Vec<Option<Token>>,
    /// The indexes of each token's events, ascending.
    pub(super) places: HashMap<Token, Vec<usize>>,
    /// The position that the store says is the last, where it was asked.
    last_position: Option<Position>,
    pub(super) receipts: Option<HashMap<(StreamId, IdempotencyKey), Receipt>>,
}

impl StoredLog {
    /// A log of these events; `token` finds the token of each.
    #[must_use]
    pub fn new(
        events: Vec<RecordedEvent>,
        mut token: impl FnMut(&RecordedEvent) -> Option<Token>,
    ) -> Self {
        let tokens: Vec<Option<Token>> = events.iter().map(&mut token).collect();
        let mut places: HashMap<Token, Vec<usize>> = HashMap::new();
        for (index, token) in tokens.iter().enumerate() {
            if let Some(token) = token {
                places.entry(Token::clone(token)).or_default().push(index);
            }
        }
        Self {
            events,
            tokens,
            places,
            last_position: None,
            receipts: None,
        }
    }

    /// Reads the whole log of a store.
    ///
    /// # Errors
    /// [`ReadError`], where the store is not well: check it when it is quiet.
    pub async fn read(
        store: &dyn EventStore,
        token: impl FnMut(&RecordedEvent) -> Option<Token>,
    ) -> Result<Self, ReadError> {
        let mut events: Vec<RecordedEvent> = Vec::new();
        loop {
            let after = events.last().map_or(Position::ZERO, |last| last.position);
            let page = store.read_log(after, PAGE).await?;
            // A page that does not go on would be read for ever.
            let goes_on = page.last().is_some_and(|last| last.position > after);
            events.extend(page);
            if !goes_on {
                break;
            }
        }
        let mut log = Self::new(events, token);
        log.last_position = Some(store.last_position().await?);
        Ok(log)
    }

    /// The same log with the receipts of a history's keyed commands, so that they are checked, too.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn with_receipts<S>(
        mut self,
        store: &dyn EventStore,
        history: &History<S>,
    ) -> Result<Self, ReadError> {
        let mut receipts = HashMap::new();
        let asked: HashSet<_> = history.keys().collect();
        for (stream, key) in asked {
            if let Some(receipt) = store.receipt(stream, key).await? {
                receipts.insert((stream.clone(), key.clone()), receipt);
            }
        }
        self.receipts = Some(receipts);
        Ok(self)
    }

    /// The same log with these receipts.
    #[must_use]
    pub fn and_receipts(mut self, receipts: HashMap<(StreamId, IdempotencyKey), Receipt>) -> Self {
        self.receipts = Some(receipts);
        self
    }

    /// The events, in the order of the log.
    #[must_use]
    pub fn events(&self) -> &[RecordedEvent] {
        &self.events
    }

    /// The events that carry a token.
    pub fn events_of(&self, token: &str) -> impl Iterator<Item = &RecordedEvent> {
        let places = self.places.get(token).map_or(&[][..], Vec::as_slice);
        places.iter().map(|index| &self.events[*index])
    }

    /// What is wrong with the numbers of the log itself: positions and versions are without a gap
    /// or a repeat, and an event is stored once.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Violations::default();
        self.check_numbers(&mut found);
        found.into_vec()
    }

    pub(super) fn check_numbers(&self, found: &mut Violations) {
        let mut versions: HashMap<&StreamId, Version> = HashMap::new();
        let mut ids = HashSet::new();
        let mut last = Position::ZERO;
        for event in &self.events {
            if event.position != last.next() {
                found.add(Violation::PositionGap {
                    after: last,
                    found: event.position,
                });
            }
            last = event.position;
            let version = versions.entry(&event.stream).or_default();
            if event.version != version.next() {
                found.add(Violation::VersionGap {
                    stream: event.stream.clone(),
                    after: *version,
                    found: event.version,
                });
            }
            *version = event.version;
            if !ids.insert(event.id) {
                found.add(Violation::IdTwice {
                    id: event.id,
                    position: event.position,
                });
            }
        }
        if let Some(head) = self.last_position.filter(|head| *head != last) {
            found.add(Violation::HeadDiffers { head, last });
        }
    }
}
