//! Reads of streams, which number on sight what other programs have stored.
//!
//! Whoever reads a stream may decide on what it finds, and answer with positions. So an event that
//! is committed and not numbered yet gets its position before it is shown. What cannot be given one
//! at this moment, by a store that only reads, say, is not shown: it is no part of the log yet.

use super::{PostgresStore, rows};
use crate::{
    domain::{Position, StreamId, Version},
    store::{AppendError, ReadError, RecordedEvent, Recovered, RecoveryRequest, RefusedEvent},
};

impl PostgresStore {
    pub(super) async fn events_on_sight(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let mut events = self.readers.events(stream, from, limit).await?;
        let mut refused = Vec::new();
        if !self.read_only && has_unnumbered(&events) {
            refused = self.number_on_sight(vec![stream.clone()]).await?;
            events = self.readers.events(stream, from, limit).await?;
        }
        // Versions begin at 1.
        let before = Version::new(from.get().max(1) - 1);
        Self::checked(events, before, &refused)
    }

    pub(super) async fn recover_on_sight(
        &self,
        requests: &[RecoveryRequest],
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let mut found = self.readers.recover(requests, page).await?;
        let mut refused = Vec::new();
        if !self.read_only {
            let unnumbered = requests.iter().zip(&found);
            let unnumbered = unnumbered.filter(|(_, found)| has_unnumbered(&found.events));
            let streams: Vec<_> = unnumbered
                .map(|(request, _)| request.stream.clone())
                .collect();
            if !streams.is_empty() {
                refused = self.number_on_sight(streams).await?;
                found = self.readers.recover(requests, page).await?;
            }
        }
        for (found, request) in found.iter_mut().zip(requests) {
            let snapshot = found.snapshot.as_ref();
            let after = snapshot.map_or(request.after, |snapshot| snapshot.version);
            let events = std::mem::take(&mut found.events);
            found.is_cut = has_unnumbered(&events);
            found.events = Self::checked(events, after, &refused)?;
        }
        Ok(found)
    }

    async fn number_on_sight(
        &self,
        streams: Vec<StreamId>,
    ) -> Result<Vec<RefusedEvent>, ReadError> {
        let numbered = self.writer.number_streams(streams).await;
        numbered.map_err(|error: AppendError| ReadError::Unavailable(error.into()))
    }

    /// Asserts what holds of every stream that is shown.
    fn checked(
        mut events: Vec<RecordedEvent>,
        after: Version,
        refused: &[RefusedEvent],
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let first = events.iter().position(is_unnumbered);
        if let Some(first) = first {
            if let Some(refused) = refusal(&events[first].stream, refused) {
                return Err(rows::corrupt(refused.to_string()));
            }
            // It came after the look, or its own program is changing it at this moment; what was
            // committed before the look is here.
            events.truncate(first);
        }
        rows::assert_versions(&events, after)?;
        Ok(events)
    }
}

fn is_unnumbered(event: &RecordedEvent) -> bool {
    event.position == Position::ZERO
}

fn has_unnumbered(events: &[RecordedEvent]) -> bool {
    events.iter().any(is_unnumbered)
}

/// What keeps an event of this stream from getting a position.
fn refusal<'a>(stream: &StreamId, refused: &'a [RefusedEvent]) -> Option<&'a RefusedEvent> {
    refused.iter().find(|refused| {
        refused.aggregate.0 == stream.aggregate_type.as_str()
            && refused.aggregate.1 == stream.aggregate_id.as_str()
    })
}
