//! The runtime embedded in this program, on its store: started, asked and stopped.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use dormouse::{
    domain::{AggregateId, Position, Version},
    runtime::{Aggregates, HistoryEvent, Runtime, RuntimeBuilder, StateError},
    settings::Settings,
    store::{self, EventStore, ReadError},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::case::{PermitCase, PermitEvent, ReceiveApplication, TakeStep};

/// Events in one page of the log.
const PAGE: u32 = 1000;

/// A store and the runtime on it.
pub(crate) struct Node {
    store: Arc<dyn EventStore>,
    runtime: Runtime,
    pub(crate) cases: Aggregates<PermitCase>,
}

/// A case and the version it is at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CaseAt {
    pub(crate) case: PermitCase,
    pub(crate) version: Version,
}

/// What the log holds of the cases.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: usize,
    pub(crate) by_resource: BTreeMap<String, usize>,
}

/// Tells a runtime what a permit case is.
pub(crate) fn register(builder: RuntimeBuilder) -> RuntimeBuilder {
    builder.aggregate::<PermitCase>(|case| {
        case.command::<ReceiveApplication>("receive-application")
            .command::<TakeStep>("take-step")
    })
}

impl Node {
    /// Opens the store and starts the runtime.
    ///
    /// # Errors
    /// The store's or the runtime's own.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let store = store::open(&settings.store).await?;
        let builder = Runtime::builder(Arc::clone(&store)).settings(settings.clone());
        let runtime = register(builder).start().await?;
        let cases = runtime
            .aggregates()
            .ok_or("the runtime does not know permit cases")?;
        Ok(Self {
            store,
            runtime,
            cases,
        })
    }

    /// Ends the runtime and closes the store.
    ///
    /// # Errors
    /// Something was not answered in time.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        let ended = self.runtime.shutdown().await;
        self.store.close().await;
        match ended.unanswered {
            0 => Ok(()),
            unanswered => Err(format!("{unanswered} commands were left unanswered").into()),
        }
    }

    /// The states of these cases, `at_once` of them read at a time.
    ///
    /// # Errors
    /// [`StateError`] of the first that cannot be read.
    pub(crate) async fn states(
        &self,
        ids: &[AggregateId],
        at_once: usize,
    ) -> Result<BTreeMap<AggregateId, CaseAt>, StateError> {
        stream::iter(ids.iter().cloned())
            .map(|id| async move {
                let found = self.cases.state(&id).await?;
                let at = found.map(|found| CaseAt {
                    case: found.state,
                    version: found.version,
                });
                Ok((id, at))
            })
            .buffer_unordered(at_once)
            .try_filter_map(async |(id, at)| Ok(at.map(|at| (id, at))))
            .try_collect()
            .await
    }

    /// The whole history of a case.
    ///
    /// # Errors
    /// The history cannot be read.
    pub(crate) async fn history(
        &self,
        id: &AggregateId,
    ) -> Result<Vec<HistoryEvent<PermitEvent>>, Box<dyn Error>> {
        let mut history = Vec::new();
        loop {
            let from = Version::new(history.len() as u64).next();
            let page = self.cases.history(id, from, PAGE).await?;
            if page.is_empty() {
                return Ok(history);
            }
            history.extend(page);
        }
    }

    /// Counts what the log holds of the cases.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) async fn log(&self) -> Result<Log, ReadError> {
        let mut log = Log::default();
        let mut after = Position::ZERO;
        loop {
            let page = self.store.read_log(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(log);
            };
            after = last.position;
            for event in page {
                // Others may keep their aggregates in the same log.
                if event.stream.aggregate_type.as_str() != "PermitCase" {
                    continue;
                }
                log.events += 1;
                if let Some(resource) = event.created_by {
                    *log.by_resource.entry(resource.to_string()).or_default() += 1;
                }
            }
        }
    }
}
