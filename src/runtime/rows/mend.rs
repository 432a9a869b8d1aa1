//! The commits that mend what does not fit.

use chrono::SubsecRound as _;

use super::fitting::Met;
use crate::{
    domain::{
        Aggregate, Claim, CorrelationId, EncodeError, EventId, IdempotencyKey, Row, RowOrigin,
        Stamp, Version,
    },
    runtime::{RecoveryError, kind::Kind},
    store::{Commit, NewEvent, NewReceipt, RowTrack},
};

/// What is done to an aggregate so that row and log fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Mend {
    /// The row gets its first event.
    Adopted,
    /// An event tells the log what somebody else wrote.
    Reconciled,
    /// The row is written anew.
    Rewritten,
    /// Only the track is written: what the row is by now.
    Noted,
}

impl Mend {
    /// The labels, in the order of the variants.
    pub(in crate::runtime) const LABELS: [&'static str; 4] =
        ["adopted", "reconciled", "rewritten", "noted"];
}

/// A mend before it is a commit.
pub(super) struct Draft<A: Aggregate> {
    pub(super) mend: Mend,
    /// The state it leads to.
    pub(super) state: A,
    pub(super) events: Vec<A::Event>,
    pub(super) after: Option<Row>,
    pub(super) track: RowTrack,
    pub(super) origin: RowOrigin,
}

impl<A: Aggregate> Draft<A> {
    /// One without events.
    pub(super) fn of_row(mend: Mend, state: A, after: Option<Row>, track: RowTrack) -> Self {
        Self {
            mend,
            state,
            events: Vec::new(),
            after,
            track,
            origin: RowOrigin::default(),
        }
    }
}

impl<A: Aggregate> Met<'_, A> {
    pub(super) fn commit(&self, draft: Draft<A>) -> Result<Commit, RecoveryError> {
        let node = &self.kind.node;
        let now = node.clock.now().trunc_subsecs(6);
        let happened = draft.origin.created_at.map(|at| at.trunc_subsecs(6));
        let stamp = Stamp {
            now,
            created_by: draft.origin.created_by.as_ref(),
        };
        let row = self
            .rows
            .change(self.row(), draft.after.as_ref(), draft.track, &stamp);
        let events = self.encoded(&draft.events)?;
        let takes = self.held_claims(&draft.state);
        let mut frees = self.log.state.claims();
        frees.retain(|claim| !takes.contains(claim));
        Ok(Commit {
            stream: self.stream.clone(),
            expected: self.expected(),
            receipt: events.is_empty().then(|| own_receipt(self.kind)),
            events,
            occurred_at: happened.unwrap_or(now).min(now).max(self.log.occurred_at),
            created_by: draft.origin.created_by,
            correlation_id: CorrelationId(node.ids.next()),
            causation_id: None,
            frees,
            takes,
            row: Some(Box::new(row)),
        })
    }

    /// Frees a claim that the state does not hold, and changes nothing else.
    pub(super) fn freeing(&self, claim: &Claim) -> Commit {
        let node = &self.kind.node;
        let now = node.clock.now().trunc_subsecs(6);
        let stamp = Stamp {
            now,
            created_by: None,
        };
        let row = self
            .rows
            .change(self.row(), self.row(), self.known(), &stamp);
        Commit {
            stream: self.stream.clone(),
            expected: self.expected(),
            events: Vec::new(),
            occurred_at: now,
            created_by: None,
            correlation_id: CorrelationId(node.ids.next()),
            causation_id: None,
            frees: vec![claim.clone()],
            takes: Vec::new(),
            receipt: Some(own_receipt(self.kind)),
            row: Some(Box::new(row)),
        }
    }

    fn expected(&self) -> Version {
        if self.rows.alone() {
            self.known().version
        } else {
            self.log.version
        }
    }

    fn encoded(&self, events: &[A::Event]) -> Result<Vec<NewEvent>, RecoveryError> {
        let encoded = events.iter().map(|event| {
            let encoded = self.kind.codec.encode(event);
            let (event_type, data) = encoded.map_err(|source| self.unencodable(source))?;
            Ok(NewEvent {
                id: EventId(self.kind.node.ids.next()),
                event_type: event_type.name.into(),
                schema_version: event_type.schema_version,
                data,
            })
        });
        encoded.collect()
    }

    /// All that the state holds: what is held already may be taken again.
    fn held_claims(&self, state: &A) -> Vec<Claim> {
        let mut claims = state.claims();
        claims.sort_unstable();
        claims.dedup();
        claims.retain(|claim| {
            let checked = claim.check();
            if let Err(error) = &checked {
                tracing::warn!(stream = %self.stream, %error, "a row's unique value is not claimed");
            }
            checked.is_ok()
        });
        claims
    }

    fn unencodable(&self, source: EncodeError) -> RecoveryError {
        RecoveryError::Unwritable {
            stream: self.stream.clone(),
            source: Box::new(source),
        }
    }

    pub(super) fn unserializable(&self, source: &serde_json::Error) -> RecoveryError {
        RecoveryError::Unwritable {
            stream: self.stream.clone(),
            source: source.to_string().into(),
        }
    }
}

/// The receipt of a commit without events whose caller gave no key: by it the commit is known when
/// it is appended again.
pub(in crate::runtime) fn own_receipt<A: Aggregate>(kind: &Kind<A>) -> NewReceipt {
    let id = kind.node.ids.next();
    NewReceipt {
        id,
        key: IdempotencyKey::reserved(id),
        // Nobody sends it again as a command.
        command_hash: [0; 32],
        reply: None,
    }
}
