//! Adopting: each row that has no events gets its first one.

use std::{pin::pin, sync::Arc};

use futures_util::{TryStreamExt as _, stream};

use super::{
    Adoption, AdoptionError, Inner,
    draft::{Drafting, Drafts, Tally},
    walk::Cursor,
};
use crate::{
    domain::{AggregateId, Version},
    store::{AppendError, Commit, LoadedRow, Loss, RecoveryRequest, RowAccess, Verdict},
};

/// How often a row that changes under our hands is read anew.
const MOST_TRIES: u32 = 10;

/// Pages at the store at once: the statement of the next is made while one is stored.
const AT_ONCE: usize = 2;

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
        let walk = self
            .walk(&mapped, Cursor::START, options.batch)
            .with_tracks();
        let drafting = Drafting {
            inner,
            mapped: &*mapped,
            correlation_id: inner.correlation_id(),
        };
        let mut run = Run {
            drafting: &drafting,
            done: Adopted::default(),
            tell: &mut tell,
        };
        let pages = stream::try_unfold(walk, |mut walk| async {
            let page = drafting.next(&mut walk).await?;
            Ok::<_, AdoptionError>(page.map(|drafts| (drafts, walk)))
        });
        if options.dry_run {
            let mut pages = pin!(pages);
            while let Some(drafts) = pages.try_next().await? {
                let rows = run.note(drafts.tally);
                run.count(&drafts.commits).await?;
                (run.tell)(AdoptProgress::Rows(rows));
            }
        } else {
            let stored = pages.map_ok(|drafts| inner.stored(drafts));
            let mut stored = pin!(stored.try_buffered(AT_ONCE));
            while let Some(page) = stored.try_next().await? {
                let rows = run.note(page.tally);
                run.judge(&page.commits, page.verdicts).await?;
                (run.tell)(AdoptProgress::Rows(rows));
            }
        }
        Ok(run.done)
    }
}

/// A page that was handed to the store.
struct Stored {
    commits: Arc<[Commit]>,
    verdicts: Result<Vec<Verdict>, AppendError>,
    tally: Tally,
}

impl Inner {
    async fn stored(&self, drafts: Drafts) -> Result<Stored, AdoptionError> {
        let commits: Arc<[Commit]> = drafts.commits.into();
        let verdicts = if commits.is_empty() {
            Ok(Vec::new())
        } else {
            self.append(&commits).await
        };
        Ok(Stored {
            commits,
            verdicts,
            tally: drafts.tally,
        })
    }
}

struct Run<'a> {
    drafting: &'a Drafting<'a>,
    done: Adopted,
    tell: &'a mut (dyn FnMut(AdoptProgress) + Send),
}

impl Run<'_> {
    /// Counts and tells what is not in the commits of a page; gives how many rows it has.
    fn note(&mut self, tally: Tally) -> u64 {
        self.done.had_events += tally.had_events;
        for refused in tally.refused {
            self.refuse(refused);
        }
        tally.rows
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

    /// What came of commits.
    async fn judge(
        &mut self,
        commits: &[Commit],
        verdicts: Result<Vec<Verdict>, AppendError>,
    ) -> Result<(), AdoptionError> {
        let verdicts = match verdicts {
            Ok(verdicts) => verdicts,
            // One that no store can hold must not keep its neighbours from being adopted.
            Err(AppendError::Unstorable(_)) if commits.len() > 1 => {
                return self.store_one_by_one(commits).await;
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
            let alone: Arc<[Commit]> = Arc::from([commit.clone()]);
            let verdicts = self.drafting.inner.append(&alone).await;
            Box::pin(self.judge(&alone, verdicts)).await?;
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
