//! Read models of a simulated store: to begin and to end a transaction takes a drawn time, and a
//! commit may fail without an effect, or have it and not be heard of.
//!
//! A session that has ended is dead: what it has not sent to commit is undone, and it hears nothing
//! any more.

use std::{fmt, future::pending, sync::Arc};

use async_trait::async_trait;
use tokio::{sync::oneshot, time::sleep};

use super::{CallKind, SimulatedStore, Trouble};
use crate::store::models::{
    AppendHook, ModelError, ModelKind, ModelTransaction, ModelTx, ReadModels,
};

/// The read models of the inner store, as a session sees them.
#[derive(Debug)]
pub(super) struct SimulatedModels {
    pub(super) inner: Arc<dyn ReadModels>,
    pub(super) store: SimulatedStore,
}

fn unavailable() -> ModelError {
    ModelError::Unavailable("a scripted fault".into())
}

impl SimulatedModels {
    /// The way to the server and back; nothing comes back to a session that has ended.
    async fn ask(&self, what: &str) -> Result<(), ModelError> {
        self.store.until_dead().await;
        let (number, draw) = self.store.draw(CallKind::Model);
        let trouble = draw.trouble;
        self.store.note(number, &format!("{what} {trouble:?}"));
        sleep(draw.there + draw.back).await;
        if let Some(
            Trouble::Slow(more)
            | Trouble::AnswerLate(more)
            | Trouble::EffectLater(more)
            | Trouble::Twice(more),
        ) = trouble
        {
            sleep(more).await;
        }
        self.store.until_dead().await;
        match trouble {
            Some(Trouble::Fail | Trouble::LoseCall | Trouble::LoseAnswer | Trouble::Conflict) => {
                Err(unavailable())
            }
            _ => Ok(()),
        }
    }

    fn opened(&self, inner: Box<dyn ModelTransaction>) -> Box<dyn ModelTransaction> {
        Box::new(Open {
            inner: Some(inner),
            store: self.store.clone(),
        })
    }
}

#[async_trait]
impl ReadModels for SimulatedModels {
    fn kind(&self) -> ModelKind {
        self.inner.kind()
    }

    fn set_append_hook(&self, hook: Option<Arc<dyn AppendHook>>) -> bool {
        self.inner.set_append_hook(hook)
    }

    async fn begin(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        self.ask("begin").await?;
        Ok(self.opened(self.inner.begin().await?))
    }

    async fn snapshot(&self) -> Result<Box<dyn ModelTransaction>, ModelError> {
        self.ask("look").await?;
        Ok(self.opened(self.inner.snapshot().await?))
    }
}

/// A transaction of a session.
struct Open {
    inner: Option<Box<dyn ModelTransaction>>,
    store: SimulatedStore,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl Open {
    #[expect(
        clippy::expect_used,
        reason = "only the end takes it, and consumes all"
    )]
    fn take(&mut self) -> Box<dyn ModelTransaction> {
        self.inner.take().expect("it has not ended")
    }
}

#[async_trait]
impl ModelTransaction for Open {
    #[expect(
        clippy::expect_used,
        reason = "only the end takes it, and consumes all"
    )]
    fn tx(&mut self) -> ModelTx<'_> {
        self.inner.as_mut().expect("it has not ended").tx()
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ModelError> {
        let inner = self.take();
        if self.store.is_dead() {
            // The server undoes what a client that is gone has begun.
            drop(inner);
            return pending().await;
        }
        let (number, draw) = self.store.draw(CallKind::Model);
        let trouble = draw.trouble;
        self.store.note(number, &format!("commit {trouble:?}"));
        if let Some(Trouble::Fail | Trouble::LoseCall | Trouble::Conflict) = trouble {
            sleep(draw.there + draw.back).await;
            inner.rollback().await;
            return Err(unavailable());
        }
        let (sender, answer) = oneshot::channel();
        self.store.under_way_by(1);
        let store = self.store.clone();
        tokio::spawn(async move {
            sleep(draw.there).await;
            if let Some(Trouble::Slow(more) | Trouble::EffectLater(more)) = trouble {
                sleep(more).await;
            }
            let committed = if store.is_lost() {
                store.note(number, "lost with its session");
                drop(inner);
                None
            } else {
                store.note(number, "takes effect");
                Some(inner.commit().await)
            };
            store.under_way_by(-1);
            sleep(draw.back).await;
            if let Some(Trouble::AnswerLate(more)) = trouble {
                sleep(more).await;
            }
            if let Some(committed) = committed {
                // Its caller may have gone.
                let _ = sender.send(committed);
            }
        });
        let answer = match trouble {
            Some(Trouble::EffectLater(_)) => Err(unavailable()),
            Some(Trouble::LoseAnswer) => {
                let _ = answer.await;
                Err(unavailable())
            }
            _ => answer.await.unwrap_or_else(|_| Err(unavailable())),
        };
        self.store.until_dead().await;
        answer
    }

    async fn rollback(mut self: Box<Self>) {
        self.take().rollback().await;
        self.store.until_dead().await;
    }
}
