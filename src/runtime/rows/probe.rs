//! Where an aggregate with a row stands in the store, without folding anything.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Beside, Rows};
use crate::{
    domain::{Aggregate, Row, RowMarks, StreamId, Version, is_another},
    runtime::folded::Folded,
    store::{EventStore, LoadedRow, ReadError},
};

/// Where an aggregate stands: all that tells whether a state of it is the newest.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Standing {
    /// The version that callers see.
    pub(in crate::runtime) version: Version,
    /// Its row and the version of its log; absent where its mode has no rows.
    pub(in crate::runtime) beside: Option<(Option<Arc<Row>>, Version)>,
    /// The mark of who made its row, where that is known.
    made: Option<String>,
    /// Whether the mapping could not tell who made it: then nothing is known to be the same.
    is_untold: bool,
}

impl Standing {
    /// At a version of the log; its type has no rows.
    pub(in crate::runtime) const fn at_version(version: Version) -> Self {
        Self {
            version,
            beside: None,
            made: None,
            is_untold: false,
        }
    }

    /// Whether it is the same as another, as far as both know.
    pub(in crate::runtime) fn is_as(&self, other: &Self) -> bool {
        !(self.is_untold || other.is_untold)
            && self.version == other.version
            && self.beside == other.beside
            && !is_another(self.made.as_deref(), other.made.as_deref())
    }

    /// Where a state stands.
    pub(in crate::runtime) fn of<A>(folded: &Folded<A>) -> Self {
        let beside = folded.beside.as_deref();
        Self {
            version: folded.version,
            beside: beside.map(|beside| (beside.row.clone(), beside.log_version(folded.version))),
            made: beside.and_then(|beside| maker(beside.track.marks.as_ref()?)),
            is_untold: false,
        }
    }
}

fn maker(marks: &RowMarks) -> Option<String> {
    marks.maker().map(str::to_owned)
}

/// The mapping panicked on a row. Whoever meets that row tells of it.
#[derive(Debug)]
pub(super) struct Untold;

impl<A> Beside<A> {
    /// The version of the log.
    fn log_version(&self, version: Version) -> Version {
        self.log.as_ref().map_or(version, |log| log.version)
    }
}

impl<A: Aggregate> Rows<A> {
    /// Where an aggregate stands now. The row is read first: the log only grows, so a version that
    /// it has afterwards it had, or had not yet reached, when the row was read; and one that is
    /// known from before was that of both moments.
    pub(in crate::runtime) async fn standing(
        &self,
        store: &dyn EventStore,
        stream: &StreamId,
    ) -> Result<Standing, ReadError> {
        let ids = std::slice::from_ref(&stream.aggregate_id);
        let loaded = self.store.load(&stream.aggregate_type, &self.table, ids);
        let loaded = loaded.await?.pop().unwrap_or_default();
        let made = self.made(&loaded);
        let log_version = store.current_version(stream).await?;
        let version = if self.alone() {
            loaded.track.map_or(Version::ZERO, |track| track.version)
        } else {
            log_version
        };
        Ok(Standing {
            version,
            beside: Some((loaded.row.map(Arc::new), log_version)),
            is_untold: made.is_err(),
            made: made.ok().as_ref().and_then(maker),
        })
    }

    /// Of a row that was read, the mark of who made it and nothing else.
    pub(super) fn made(&self, loaded: &LoadedRow) -> Result<RowMarks, Untold> {
        let origin = || (self.mapping.origin)(&loaded.stamps);
        let origin = catch_unwind(AssertUnwindSafe(origin)).map_err(|_| Untold)?;
        Ok(RowMarks::default().made(&origin))
    }
}
