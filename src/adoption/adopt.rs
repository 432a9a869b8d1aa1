//! Adopting: each row that has no events gets its first one.

use std::sync::Arc;

use super::{
    Adoption, AdoptionError,
    draft::{Drafting, Drafts},
    walk::Cursor,
};
use crate::{
    domain::{AggregateId, Version},
    store::{AppendError, Commit, LoadedRow, Loss, RecoveryRequest, RowAccess, Verdict},
};

/// How often a row that changes under our hands is read anew.
const MOST_TRIES: u32 = 10;

/// What is adopted, and how much of it at once.
#[derive(Debug, Clone, Copy)]
pub struct AdoptOptions {
    /// Rows in a batch, one at least: so many are read, and written in one transaction.
    pub batch: u32,
    /// Only tells what would be done.
    pub dry_run: bool,
}

impl Default for AdoptOptions {
    fn default() -> Self {
        Self {
            batch: 1000,
            dry_run: false,
        }
    }
}

/// What a run did, or on a dry run would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Rows that have their first event now.
    pub adopted: u64,
    /// Rows that had events before.
    pub had_events: u64,
    /// Rows that were not adopted; each was told with its reason.
    pub refused: u64,
}

/// A row that was not adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unadopted {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdoptProgress {
    /// So many more rows are done.
    Rows(u64),
    /// A row was not adopted.
    Unadopted(Unadopted),
}

impl Adoption {
    /// Gives each row of a type that has no events its first one, with the row's creator and time,
    /// batch after batch. `tell` hears how it goes.
    ///
    /// It may be broken off at any point and run again: a row is adopted once, whoever else
    /// adopts, creates or changes it meanwhile.
    ///
    /// # Errors
    /// [`AdoptionError`] where the type is unknown, its table does not fit, or the store is gone. A
    /// row that cannot be adopted is told, and the others go on.
    pub async fn adopt(
        &self,
        aggregate_type: &str,
        options: AdoptOptions,
        mut tell: impl FnMut(AdoptProgress) + Send,
    ) -> Result<Adopted, AdoptionError> {
        let access = if options.dry_run {
            RowAccess::Read
        } else {
            RowAccess::Write
        };
        let mapped = self.checked(aggregate_type, access).await?;
        let inner = &*self.inner;
        let mut walk = self.walk(&mapped, Cursor::START, options.batch);
        let drafting = Drafting {
            inner,
            mapped: &*mapped,
            correlation_id: inner.correlation_id(),
        };
        let mut run = Run {
            drafting: &drafting,
            is_trial: options.dry_run,
            done: Adopted::default(),
            tell: &mut tell,
        };
        let mut page = drafting.next(&mut walk).await?;
        while let Some(drafts) = page {
            // The next page is read and made ready while the store writes this one.
            let (written, next) = tokio::join!(run.page(drafts), drafting.next(&mut walk));
            written?;
            page = next?;
        }
        Ok(run.done)
    }
}

struct Run<'a> {
    drafting: &'a Drafting<'a>,
    is_trial: bool,
    done: Adopted,
    tell: &'a mut (dyn FnMut(AdoptProgress) + Send),
}

impl Run<'_> {
    async fn page(&mut self, drafts: Drafts) -> Result<(), AdoptionError> {
        self.done.had_events += drafts.had_events;
        for refused in drafts.refused {
            self.refuse(refused);
        }
        if self.is_trial {
            self.count(&drafts.commits).await?;
        } else if !drafts.commits.is_empty() {
            self.store(drafts.commits).await?;
        }
        (self.tell)(AdoptProgress::Rows(drafts.rows));
        Ok(())
    }

    /// What would become of commits, as far as the log tells.
    async fn count(&mut self, commits: &[Commit]) -> Result<(), AdoptionError> {
        let requests = commits.iter().map(|commit| RecoveryRequest {
            stream: commit.stream.clone(),
            fingerprint: None,
            after: Version::ZERO,
        });
        let recovered = self
            .drafting
            .inner
            .store
            .recover(requests.collect(), 1)
            .await?;
        let had_events = recovered.iter().filter(|found| !found.events.is_empty());
        let had_events = had_events.count() as u64;
        self.done.had_events += had_events;
        self.done.adopted += commits.len() as u64 - had_events;
        Ok(())
    }

    async fn store(&mut self, commits: Vec<Commit>) -> Result<(), AdoptionError> {
        let commits: Arc<[Commit]> = commits.into();
        let verdicts = match self.drafting.inner.append(&commits).await {
            Ok(verdicts) => verdicts,
            // One that no store can hold must not keep its neighbours from being adopted.
            Err(AppendError::Unstorable(_)) if commits.len() > 1 => {
                return self.store_one_by_one(&commits).await;
            }
            Err(AppendError::Unstorable(cause)) => {
                let key = commits[0].stream.aggregate_id.to_string();
                let reason = format!("the store cannot hold it: {cause}");
                self.refuse(Unadopted { key, reason });
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for (commit, verdict) in commits.iter().zip(verdicts) {
            match verdict {
                Verdict::Committed { .. } => self.done.adopted += 1,
                Verdict::Lost(loss) => self.lost(commit, loss).await?,
            }
        }
        Ok(())
    }

    async fn store_one_by_one(&mut self, commits: &[Commit]) -> Result<(), AdoptionError> {
        for commit in commits {
            Box::pin(self.store(vec![commit.clone()])).await?;
        }
        Ok(())
    }

    async fn lost(&mut self, commit: &Commit, mut loss: Loss) -> Result<(), AdoptionError> {
        let id = &commit.stream.aggregate_id;
        let key = id.to_string();
        for _ in 0..MOST_TRIES {
            match loss {
                // Somebody else was first: a server that met the row, or another run.
                Loss::Version { .. } => {
                    self.done.had_events += 1;
                    return Ok(());
                }
                Loss::Row => {}
                other @ (Loss::Claim { .. }
                | Loss::Key(_)
                | Loss::Refused { .. }
                | Loss::Contested) => {
                    let reason = why(&other);
                    self.refuse(Unadopted { key, reason });
                    return Ok(());
                }
            }
            let Some(loaded) = self.reload(id).await? else {
                // It was deleted meanwhile: there is nothing to adopt any more.
                return Ok(());
            };
            let again = match self.drafting.first_commit(&key, &loaded) {
                Ok(commit) => commit,
                Err(reason) => {
                    self.refuse(Unadopted { key, reason });
                    return Ok(());
                }
            };
            let verdicts = self.drafting.inner.append(&Arc::from([again])).await?;
            match verdicts.into_iter().next() {
                Some(Verdict::Lost(again)) => loss = again,
                Some(Verdict::Committed { .. }) | None => {
                    self.done.adopted += 1;
                    return Ok(());
                }
            }
        }
        let reason = "it kept changing while it was adopted".to_owned();
        self.refuse(Unadopted { key, reason });
        Ok(())
    }

    async fn reload(&self, id: &AggregateId) -> Result<Option<LoadedRow>, AdoptionError> {
        let Drafting { inner, mapped, .. } = self.drafting;
        let (aggregate_type, table) = (mapped.aggregate_type(), mapped.table());
        let loaded = inner
            .rows
            .load(aggregate_type, table, std::slice::from_ref(id))
            .await?;
        Ok(loaded
            .into_iter()
            .next()
            .filter(|loaded| loaded.row.is_some()))
    }

    fn refuse(&mut self, refused: Unadopted) {
        self.done.refused += 1;
        (self.tell)(AdoptProgress::Unadopted(refused));
    }
}

fn why(loss: &Loss) -> String {
    match loss {
        Loss::Claim { claim, holder } => format!("its `{}` is also that of {holder}", claim.name),
        Loss::Refused { claim } => format!("another row has the same `{}`", claim.name),
        Loss::Key(_) | Loss::Version { .. } | Loss::Row => "another writer was first".to_owned(),
        Loss::Contested => "another program is writing it just now".to_owned(),
    }
}
