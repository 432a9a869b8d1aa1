//! The directory of users: a read model that an administrator searches.
//!
//! It is what a service writes for itself: a projection ([`UserDirectory`]) that folds events into
//! rows, and a read model ([`UserSearch`]) that answers from them. Invariants: no secret is in it,
//! for its events come without; a deleted user is not in it, for its name may be another's by now
//! (the audit has its history).

mod entry;
mod search;
mod tables;

use async_trait::async_trait;

pub use search::UserSearch;

use crate::{
    domain::AggregateType,
    projection::{Build, Projection},
    store::{
        EventFilter, RecordedEvent,
        models::{ModelError, ModelTx},
    },
};

/// The name of the projection.
const NAME: &str = "user_directory";

/// Keeps the directory of users.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserDirectory;

#[async_trait]
impl Projection for UserDirectory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn filter(&self) -> EventFilter {
        EventFilter {
            aggregate_type: AggregateType::parse("User").ok(),
            ..EventFilter::default()
        }
    }

    async fn create(&self, build: &Build, mut tx: ModelTx<'_>) -> Result<(), ModelError> {
        tables::create(build, &mut tx).await
    }

    async fn apply(
        &self,
        events: &[RecordedEvent],
        build: &Build,
        mut tx: ModelTx<'_>,
    ) -> Result<(), ModelError> {
        let ids = events
            .iter()
            .map(|event| event.stream.aggregate_id.as_str());
        let mut entries = tables::load(build, &mut tx, ids.collect()).await?;
        for event in events {
            entry::apply(&mut entries, event)?;
        }
        tables::save(build, &mut tx, &entries).await
    }

    async fn remove(&self, build: &Build, mut tx: ModelTx<'_>) -> Result<(), ModelError> {
        tables::remove(build, &mut tx).await
    }
}
