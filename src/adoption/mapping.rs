//! An aggregate type that is mapped to rows, as the commands here see every such type.

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::value::RawValue;

use super::{StartError, Unfoldable};
use crate::{
    domain::{
        Aggregate, AggregateId, AggregateType, Claim, EventCodec, EventType, Row, RowMarks,
        RowOrigin, RowValue, Stamp, StateRow, StateTable, StreamId, UnmappableRow, Version,
        ended_life, state_anew, state_when_gone,
    },
    store::{RecordedEvent, RowTrack},
};

/// An event that is not stored yet, and what it leads to.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event_type: EventType,
    pub(super) data: Box<RawValue>,
    /// The unique values of that state.
    pub(super) claims: Vec<Claim>,
}

/// Why a row cannot become an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untold {
    /// A column has a value that no state can have.
    #[error(transparent)]
    Unmappable(#[from] UnmappableRow),
    /// A unique value cannot be held.
    #[error(transparent)]
    Claim(#[from] crate::domain::InvalidClaim),
    /// The event cannot be written; a mistake in the mapping.
    #[error("its event cannot be written")]
    Event(#[from] crate::domain::EncodeError),
    /// The event leads to another row than it was made of; a mistake in the mapping.
    #[error("its event does not lead to it, but to another `{0}`")]
    Astray(&'static str),
}

/// A type that is mapped to rows.
pub(super) trait Mapped: Debug + Send + Sync {
    fn aggregate_type(&self) -> &AggregateType;

    fn table(&self) -> &Arc<StateTable>;

    /// The first event of what was there before its history.
    fn adopted(&self, row: &Row) -> Result<Told, Untold>;

    /// Who made a row, and when.
    fn origin(&self, stamps: &[(&'static str, RowValue)]) -> RowOrigin;

    /// The stamps of a row that is inserted, and of one that is changed.
    fn stamps(&self, stamp: &Stamp<'_>) -> [Vec<(&'static str, RowValue)>; 2];

    /// A state before its first event.
    fn folding(&self) -> Box<dyn Folding>;
}

/// A state that is being folded.
pub(super) trait Folding: Debug + Send + Sync {
    fn version(&self) -> Version;

    fn fold(&mut self, event: &RecordedEvent) -> Result<(), Unfoldable>;

    /// The row of the state; none of an aggregate without events.
    fn row(&self) -> Option<Row>;

    fn claims(&self) -> Vec<Claim>;

    /// The event that makes the state what a row tells; without a row, what is serialized in `gone`,
    /// or nothing at all.
    fn reconciled(
        &self,
        row: Option<&Row>,
        gone: Option<&RawValue>,
        reason: &str,
    ) -> Result<Told, Untold>;

    /// The events that make the state what a row tells, where a life that the track still knows of
    /// ended in between: what no row tells ends with the first of them. None where the row goes on
    /// with that life, and where nothing hangs on it. `now` tells who made the row.
    fn came_back(
        &self,
        track: &RowTrack,
        row: &Row,
        now: &RowMarks,
        reason: &str,
    ) -> Result<Option<[Told; 2]>, Untold>;
}

/// The one implementation.
pub(super) struct Typed<A: Aggregate> {
    aggregate_type: AggregateType,
    table: Arc<StateTable>,
    codec: Arc<EventCodec<A::Event>>,
}

impl<A: Aggregate> Debug for Typed<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (aggregate_type, table) = (&self.aggregate_type, &self.table.name);
        write!(f, "{aggregate_type} in {table}")
    }
}

impl<A: StateRow> Typed<A> {
    /// A type whose rows are in this table, or in the one its mapping names.
    pub(super) fn new(
        table: Option<&str>,
        upcasters: Vec<crate::domain::Upcaster>,
    ) -> Result<Self, StartError> {
        let mut mapped = A::table();
        if let Some(name) = table {
            mapped.name = name.to_owned().into();
        }
        Ok(Self {
            aggregate_type: AggregateType::parse(A::TYPE)?,
            table: Arc::new(mapped),
            codec: Arc::new(EventCodec::new(upcasters)?),
        })
    }
}

impl<A: StateRow> Mapped for Typed<A> {
    fn aggregate_type(&self) -> &AggregateType {
        &self.aggregate_type
    }

    fn table(&self) -> &Arc<StateTable> {
        &self.table
    }

    fn adopted(&self, row: &Row) -> Result<Told, Untold> {
        let state = A::from_row(row)?;
        told(&A::default(), &state.adopted(), Some(row), &self.codec)
    }

    fn origin(&self, stamps: &[(&'static str, RowValue)]) -> RowOrigin {
        A::origin(stamps)
    }

    fn stamps(&self, stamp: &Stamp<'_>) -> [Vec<(&'static str, RowValue)>; 2] {
        [A::stamps_on_insert(stamp), A::stamps_on_update(stamp)]
    }

    fn folding(&self) -> Box<dyn Folding> {
        Box::new(Fold::<A> {
            state: A::default(),
            version: Version::ZERO,
            codec: Arc::clone(&self.codec),
        })
    }
}

/// The fold of events so far.
struct Fold<A: Aggregate> {
    state: A,
    version: Version,
    codec: Arc<EventCodec<A::Event>>,
}

impl<A: Aggregate> Debug for Fold<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at version {}", A::TYPE, self.version)
    }
}

impl<A: StateRow> Folding for Fold<A> {
    fn version(&self) -> Version {
        self.version
    }

    fn fold(&mut self, event: &RecordedEvent) -> Result<(), Unfoldable> {
        let version = event.version;
        if version != self.version.next() {
            return Err(Unfoldable::Gap {
                expected: self.version.next(),
                found: version,
            });
        }
        let decoded = self
            .codec
            .decode(&event.event_type, event.schema_version, &event.data);
        let decoded = decoded.map_err(|source| Unfoldable::Undecodable { version, source })?;
        // The state is given up where this panics: nothing is told of it any more.
        catch_unwind(AssertUnwindSafe(|| self.state.apply(&decoded)))
            .map_err(|_| Unfoldable::Panicked { version })?;
        self.version = version;
        Ok(())
    }

    fn row(&self) -> Option<Row> {
        if self.version == Version::ZERO {
            return None;
        }
        self.state.to_row()
    }

    fn claims(&self) -> Vec<Claim> {
        self.state.claims()
    }

    fn reconciled(
        &self,
        row: Option<&Row>,
        gone: Option<&RawValue>,
        reason: &str,
    ) -> Result<Told, Untold> {
        let state = match row {
            Some(row) => A::from_row(row)?.keeping(&self.state),
            None => gone.map(state_when_gone).unwrap_or_default(),
        };
        told(&self.state, &state.reconciled(reason), row, &self.codec)
    }

    fn came_back(
        &self,
        track: &RowTrack,
        row: &Row,
        now: &RowMarks,
        reason: &str,
    ) -> Result<Option<[Told; 2]>, Untold> {
        let ended = ended_life::<A>(track.marks.as_ref(), track.rowless.as_deref(), now);
        let Some(gone) = ended else {
            return Ok(None);
        };
        let said = A::from_row(row)?;
        let Some(anew) = state_anew(A::keeping, said, (&gone, &self.state)) else {
            return Ok(None);
        };
        let end = gone.reconciled(reason);
        let ended = told(&self.state, &end, None, &self.codec)?;
        let mut state = self.state.clone();
        state.apply(&end);
        let anew = told(&state, &anew.reconciled(reason), Some(row), &self.codec)?;
        Ok(Some([ended, anew]))
    }
}

/// What an event that was made of a row leads to from a state. It must lead to that row.
fn told<A: StateRow>(
    from: &A,
    event: &A::Event,
    row: Option<&Row>,
    codec: &EventCodec<A::Event>,
) -> Result<Told, Untold> {
    let (event_type, data) = codec.encode(event)?;
    let mut state = from.clone();
    state.apply(event);
    let led_to = state.to_row();
    match (row, &led_to) {
        (Some(row), Some(led_to)) => {
            if let Some(column) = row.differences(led_to).first() {
                return Err(Untold::Astray(column));
            }
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => return Err(Untold::Astray("row")),
    }
    let claims = state.claims();
    for claim in &claims {
        claim.check()?;
    }
    Ok(Told {
        event_type,
        data,
        claims,
    })
}

/// The stream of an aggregate of a type.
pub(super) fn stream(mapped: &dyn Mapped, aggregate_id: AggregateId) -> StreamId {
    StreamId {
        aggregate_type: mapped.aggregate_type().clone(),
        aggregate_id,
    }
}
