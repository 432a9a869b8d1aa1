//! Verifying: every row is held against the fold of its events, in parallel, and nothing is written.

use std::{collections::BTreeSet, sync::Arc};

use rand::RngExt as _;
use tokio::task::JoinSet;

use super::{
    Adoption, AdoptionError, Inner, Unfoldable,
    compare::{Drift, Finding, unfoldable},
    mapping::{Folding, Mapped, stream},
    repair::Look,
    walk::{Met, Walk},
};
use crate::{
    domain::{AggregateId, Version, error_chain},
    store::{ReadError, Recovered, RecoveryRequest},
};

/// Events of each aggregate in the first look-up; few have more.
const FIRST_PAGE: u32 = 32;
/// Events in each further one.
pub(super) const PAGE: u32 = 1000;

/// What is compared, and how much of it at once.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Aggregates in a page.
    pub page: u32,
    /// Pages at once, one at least.
    pub parallel: usize,
    /// So many of them, drawn at random; all of them without it.
    pub sample: Option<u64>,
    /// Only those after this key.
    pub after: Option<String>,
    /// So many pages at most.
    pub pages: Option<u64>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            page: 1000,
            parallel: 1,
            sample: None,
            after: None,
            pages: None,
        }
    }
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows and aggregates that were compared.
    pub compared: u64,
    /// Those that do not agree; each was told.
    pub drifted: u64,
    /// The last key that was come to, where pages are left.
    pub stopped_at: Option<String>,
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyProgress {
    /// So many more have been compared.
    Compared(u64),
    /// So many more have been passed over, because they were not drawn.
    PassedOver(u64),
    /// One that does not agree.
    Finding(Finding),
}

impl Adoption {
    /// Compares the rows of a type with the folds of their events. `tell` hears of each that does
    /// not agree. It writes nothing, and may run beside servers: what looks different is looked at
    /// again until row and events are of one moment.
    ///
    /// # Errors
    /// [`AdoptionError`] where the type is unknown, its table does not fit, or the store is gone.
    pub async fn verify(
        &self,
        aggregate_type: &str,
        options: VerifyOptions,
        mut tell: impl FnMut(VerifyProgress) + Send,
    ) -> Result<Verified, AdoptionError> {
        let mapped = self.checked(aggregate_type).await?;
        let inner = &self.inner;
        let after = options.after.as_deref();
        let mut walk = Walk::new(&inner.store, &inner.rows, &mapped, after, options.page);
        let mut run = Run {
            inner: Arc::clone(inner),
            mapped: Arc::clone(&mapped),
            parallel: options.parallel.max(1),
            running: JoinSet::new(),
            done: Verified::default(),
            tell: &mut tell,
        };
        if let Some(sample) = options.sample {
            let drawn = run.draw(&mut walk, sample).await?;
            let mut drawn = drawn.into_iter().peekable();
            while drawn.peek().is_some() {
                run.page(drawn.by_ref().take(options.page.max(1) as usize).collect())
                    .await?;
            }
            return run.end().await;
        }
        let mut pages = 0;
        loop {
            let page = walk.next().await?;
            let Some(last) = page.last() else { break };
            let last = last.key.clone();
            run.page(page).await?;
            pages += 1;
            if options.pages.is_some_and(|most| pages >= most) {
                run.done.stopped_at = Some(last);
                break;
            }
        }
        run.end().await
    }
}

struct Run<'a> {
    inner: Arc<Inner>,
    mapped: Arc<dyn Mapped>,
    parallel: usize,
    running: JoinSet<Result<(u64, Vec<Finding>), AdoptionError>>,
    done: Verified,
    tell: &'a mut (dyn FnMut(VerifyProgress) + Send),
}

impl Run<'_> {
    /// Draws so many of all there are, each with the same chance: Vitter's algorithm R.
    async fn draw(&mut self, walk: &mut Walk, sample: u64) -> Result<Vec<Met>, ReadError> {
        let wanted = usize::try_from(sample).unwrap_or(usize::MAX);
        let mut drawn: Vec<Met> = Vec::new();
        let mut seen: usize = 0;
        loop {
            let page = walk.next().await?;
            if page.is_empty() {
                return Ok(drawn);
            }
            let before = drawn.len();
            let len = page.len() as u64;
            for met in page {
                seen += 1;
                if drawn.len() < wanted {
                    drawn.push(met);
                    continue;
                }
                let place = rand::rng().random_range(0..seen);
                if let Some(drawn) = drawn.get_mut(place) {
                    *drawn = met;
                }
            }
            let taken = (drawn.len() - before) as u64;
            (self.tell)(VerifyProgress::PassedOver(len - taken));
        }
    }

    /// Begins with a page, once there is room for it.
    async fn page(&mut self, page: Vec<Met>) -> Result<(), AdoptionError> {
        while self.running.len() >= self.parallel {
            self.finish().await?;
        }
        let (inner, mapped) = (Arc::clone(&self.inner), Arc::clone(&self.mapped));
        self.running.spawn(async move {
            let compared = page.len() as u64;
            Ok((compared, compare(&inner, &*mapped, page).await?))
        });
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), AdoptionError> {
        let Some(done) = self.running.join_next().await else {
            return Ok(());
        };
        let done = done.map_err(|error| AdoptionError::BrokenOff(error.to_string()));
        let (compared, findings) = done??;
        self.done.compared += compared;
        self.done.drifted += findings.len() as u64;
        for finding in findings {
            (self.tell)(VerifyProgress::Finding(finding));
        }
        (self.tell)(VerifyProgress::Compared(compared));
        Ok(())
    }

    async fn end(mut self) -> Result<Verified, AdoptionError> {
        while !self.running.is_empty() {
            self.finish().await?;
        }
        Ok(self.done)
    }
}

/// Compares a page: all at once first, then each that looks different on its own.
async fn compare(
    inner: &Inner,
    mapped: &dyn Mapped,
    page: Vec<Met>,
) -> Result<Vec<Finding>, AdoptionError> {
    let mut findings = Vec::new();
    let suspects = suspects(inner, mapped, &page).await?;
    for met in page {
        if !suspects.contains(&met.key) {
            continue;
        }
        let Ok(id) = AggregateId::parse(&met.key) else {
            let problem = "its key cannot be an aggregate's".to_owned();
            findings.push(Finding {
                key: met.key,
                version: Version::ZERO,
                drift: Drift::NotAdoptable { problem },
            });
            continue;
        };
        findings.extend(look(inner, mapped, id).await?);
    }
    Ok(findings)
}

/// The keys of those whose row, as it was read, is not that of the events as they were read.
async fn suspects(
    inner: &Inner,
    mapped: &dyn Mapped,
    page: &[Met],
) -> Result<BTreeSet<String>, AdoptionError> {
    let mut suspects = BTreeSet::new();
    let mut with_events = Vec::with_capacity(page.len());
    let mut requests = Vec::with_capacity(page.len());
    for met in page {
        match AggregateId::parse(&met.key) {
            Ok(id) if met.version > Version::ZERO => {
                requests.push(RecoveryRequest {
                    stream: stream(mapped, id),
                    fingerprint: None,
                    after: Version::ZERO,
                });
                with_events.push(met);
            }
            Ok(_) | Err(_) => {
                suspects.insert(met.key.clone());
            }
        }
    }
    if requests.is_empty() {
        return Ok(suspects);
    }
    let recovered = match inner.store.recover(requests, FIRST_PAGE).await {
        Ok(recovered) => recovered,
        // Which of them it is comes out when each is looked at.
        Err(ReadError::Corrupt { .. }) => {
            suspects.extend(with_events.into_iter().map(|met| met.key.clone()));
            return Ok(suspects);
        }
        Err(error) => return Err(error.into()),
    };
    for (met, recovered) in with_events.into_iter().zip(recovered) {
        if !agrees(mapped, met, &recovered) {
            suspects.insert(met.key.clone());
        }
    }
    Ok(suspects)
}

/// Whether a row agrees with its events. One with more of them than were read is a suspect: it is
/// looked at on its own.
fn agrees(mapped: &dyn Mapped, met: &Met, recovered: &Recovered) -> bool {
    if recovered.events.len() >= FIRST_PAGE as usize {
        return false;
    }
    let mut folding = mapped.folding();
    let folded = fold(&mut *folding, recovered);
    let row = met.row.as_ref().and_then(|loaded| loaded.row.as_ref());
    folded.is_ok() && folding.row().as_ref() == row
}

fn fold(folding: &mut dyn Folding, recovered: &Recovered) -> Result<(), Unfoldable> {
    let mut events = recovered.events.iter();
    events.try_for_each(|event| folding.fold(event))
}

/// Looks at one on its own.
async fn look(
    inner: &Inner,
    mapped: &dyn Mapped,
    id: AggregateId,
) -> Result<Option<Finding>, AdoptionError> {
    let key = id.to_string();
    let finding = |version, drift| Finding {
        key: key.clone(),
        version,
        drift,
    };
    Ok(match Look::at(inner, mapped, id).await {
        Ok(Some(look)) => look.drift().map(|drift| finding(look.version(), drift)),
        Ok(None) => Some(finding(Version::ZERO, Drift::Unsettled)),
        Err(AdoptionError::Unfoldable(error)) => Some(finding(Version::ZERO, unfoldable(&error))),
        Err(AdoptionError::Read(error @ ReadError::Corrupt { .. })) => {
            let problem = error_chain(&error);
            Some(finding(Version::ZERO, Drift::Unfoldable { problem }))
        }
        // It was deleted meanwhile, without a trace.
        Err(AdoptionError::Nothing(_)) => None,
        Err(error) => return Err(error),
    })
}
