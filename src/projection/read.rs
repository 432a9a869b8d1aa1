//! Reading a read model: a snapshot with the position that it reflects, and what can be asked.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use super::{Build, Projections};
use crate::{
    domain::Position,
    store::models::{ModelError, ModelTransaction, ModelTx},
};

/// One row of an answer, as JSON.
pub type ModelRow = Value;

/// What is asked of a read model: one page.
#[derive(Debug, Clone, Default)]
pub struct ReadRequest {
    /// The parameters that were given, each of those that the read model knows, once.
    pub parameters: Vec<(String, String)>,
    /// Where the page before ended; nothing for the first.
    pub after: Option<String>,
    /// How many rows at most.
    pub limit: u32,
}

impl ReadRequest {
    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut given = self.parameters.iter();
        given
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A page of a read model.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The rows.
    pub rows: Vec<ModelRow>,
    /// What the next page begins after, where there is one.
    pub next: Option<String>,
}

/// Why a read model gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotServed {
    /// What was asked is wrong: a sentence for who asked.
    #[error("{0}")]
    Invalid(String),
    /// The database did not answer.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What can be asked of a read model; HTTP serves it as `GET /v1/read/{path}`.
#[async_trait]
pub trait ReadModel: Debug + Send + Sync + 'static {
    /// The name of the projection that keeps it.
    fn projection(&self) -> &'static str;

    /// What it is called in a path, and its rows in an answer.
    fn path(&self) -> &'static str;

    /// The query parameters that it knows.
    fn parameters(&self) -> &'static [&'static str];

    /// Answers from a snapshot. `build` names the tables and tells their version.
    ///
    /// # Errors
    /// [`NotServed`].
    async fn read(
        &self,
        request: &ReadRequest,
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<Answer, NotServed>;
}

/// A read model at one moment.
#[derive(Debug)]
pub struct ReadSnapshot {
    /// Every event up to here is in it, and none after.
    pub position: Position,
    /// The generation that readers see; nothing while the first is being built.
    pub build: Option<Build>,
    transaction: Box<dyn ModelTransaction>,
}

impl ReadSnapshot {
    /// The transaction to read with.
    pub fn tx(&mut self) -> ModelTx<'_> {
        self.transaction.tx()
    }

    /// Ends it, and keeps its connection for the next.
    pub async fn end(self) {
        self.transaction.rollback().await;
    }
}

impl Projections {
    /// A read model as it is now. Until the first build is complete there is nothing to read, and
    /// the position is how far that has come.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn snapshot(&self, name: &str) -> Result<ReadSnapshot, ModelError> {
        let mut transaction = self.models()?.snapshot().await?;
        let mut tx = transaction.tx();
        let generations = tx.generations(Some(name)).await?;
        let serving = generations.iter().find(|one| one.serving);
        let mut position = None;
        if let Some(shown) = serving.or_else(|| generations.last()) {
            position = tx.checkpoint(&shown.key()).await?;
        }
        let build = serving.map(|serving| Build {
            generation: serving.number,
            version: serving.version,
            live: true,
        });
        Ok(ReadSnapshot {
            position: position.unwrap_or(Position::ZERO),
            build,
            transaction,
        })
    }

    /// A read model that has every event up to a position, or as it is when the time is over.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn snapshot_after(
        &self,
        name: &str,
        position: Position,
        time: Duration,
    ) -> Result<ReadSnapshot, ModelError> {
        let snapshot = self.snapshot(name).await?;
        if snapshot.position >= position && snapshot.build.is_some() {
            return Ok(snapshot);
        }
        // No connection is held while it waits.
        snapshot.end().await;
        self.wait_for(name, position, time).await?;
        self.snapshot(name).await
    }
}
