//! Verifying: every row is held against the fold of its events, in parallel, and nothing is written.

use std::{collections::BTreeSet, sync::Arc};

use rand::RngExt as _;
use tokio::task::JoinSet;

use super::{
    Adoption, AdoptionError, Inner, Unfoldable,
    compare::{Drift, Finding, unfoldable},
    mapping::{Folding, Mapped, stream},
    repair::Look,
    walk::{Cursor, Page, Walk},
};
use crate::{
    domain::{AggregateId, Row, Version, error_chain},
    store::{LoadedRow, ReadError, Recovered, RecoveryRequest, RowAccess},
};

/// Events of each aggregate in the first look-up; few have more.
const FIRST_PAGE: u32 = 32;
/// Events in each further one.
pub(super) const PAGE: u32 = 1000;

/// What is compared, and how much of it at once.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Rows or aggregates in a page.
    pub page: u32,
    /// Pages at once, one at least.
    pub parallel: usize,
    /// So many of them, drawn at random; all of them without it.
    pub sample: Option<u64>,
    /// From here on.
    pub from: Cursor,
    /// So many pages at most.
    pub pages: Option<u64>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            page: 1000,
            parallel: 1,
            sample: None,
            from: Cursor::START,
            pages: None,
        }
    }
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows, and aggregates without one, that were compared.
    pub compared: u64,
    /// Those that do not agree; each was told.
    pub drifted: u64,
    /// Where a further run would go on; nothing where all is compared.
    pub stopped_at: Option<Cursor>,
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
        let mapped = self.checked(aggregate_type, RowAccess::Read).await?;
        let mut walk = self.walk(&mapped, options.from, options.page);
        let mut run = Run {
            inner: Arc::clone(&self.inner),
            mapped,
            parallel: options.parallel.max(1),
            running: JoinSet::new(),
            with_events: 0,
            done: Verified::default(),
            tell: &mut tell,
        };
        if let Some(sample) = options.sample {
            run.sample(&mut walk, sample).await?;
            return run.end().await;
        }
        // Only a walk from the start has seen all rows.
        let whole = walk.cursor == Some(Cursor::START);
        let mut pages = 0;
        while let Some(page) = walk.next().await? {
            run.page(page).await?;
            pages += 1;
            if options.pages.is_some_and(|most| pages >= most) {
                break;
            }
            if whole && walk.cursor == Some(Cursor::Log(None)) && run.all_have_rows().await? {
                walk.cursor = None;
            }
        }
        run.done.stopped_at = walk.cursor.take();
        run.end().await
    }
}

struct Run<'a> {
    inner: Arc<Inner>,
    mapped: Arc<dyn Mapped>,
    parallel: usize,
    running: JoinSet<Result<Compared, AdoptionError>>,
    /// Rows so far that have events.
    with_events: u64,
    done: Verified,
    tell: &'a mut (dyn FnMut(VerifyProgress) + Send),
}

/// What came of a page.
#[derive(Debug, Default)]
struct Compared {
    count: u64,
    with_events: u64,
    findings: Vec<Finding>,
}

impl Run<'_> {
    /// Draws so many of all there are, and compares them.
    async fn sample(&mut self, walk: &mut Walk, sample: u64) -> Result<(), AdoptionError> {
        let wanted = usize::try_from(sample).unwrap_or(usize::MAX);
        let (mut rows, mut log) = (Reservoir::new(wanted), Reservoir::new(wanted));
        while let Some(page) = walk.next().await? {
            match page {
                Page::Rows(page) => {
                    (self.tell)(VerifyProgress::PassedOver(page.len() as u64));
                    for row in page {
                        rows.offer(row);
                    }
                }
                Page::Log(page) => {
                    for id in page {
                        log.offer(id);
                    }
                }
            }
        }
        let (rows, log) = one_by_one(rows.drawn, log.drawn, wanted);
        for page in pages(rows, walk.page) {
            self.page(Page::Rows(page)).await?;
        }
        for page in pages(log, walk.page) {
            self.page(Page::Log(page)).await?;
        }
        Ok(())
    }

    /// Whether no aggregate is left that has no row: events stay for ever and keys are unique, so
    /// there are never more rows with events than aggregates, and as many only where each has one.
    async fn all_have_rows(&mut self) -> Result<bool, AdoptionError> {
        while !self.running.is_empty() {
            self.finish().await?;
        }
        let store = &self.inner.store;
        let aggregates = store.count_aggregates(self.mapped.aggregate_type()).await?;
        Ok(aggregates == self.with_events)
    }

    /// Begins with a page, once there is room for it.
    async fn page(&mut self, page: Page) -> Result<(), AdoptionError> {
        while self.running.len() >= self.parallel {
            self.finish().await?;
        }
        let (inner, mapped) = (Arc::clone(&self.inner), Arc::clone(&self.mapped));
        self.running.spawn(async move {
            match page {
                Page::Rows(rows) => compare_rows(&inner, &*mapped, rows).await,
                Page::Log(ids) => compare_log(&inner, &*mapped, ids).await,
            }
        });
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), AdoptionError> {
        let Some(done) = self.running.join_next().await else {
            return Ok(());
        };
        let done = done.map_err(|error| AdoptionError::BrokenOff(error.to_string()));
        let done = done??;
        self.done.compared += done.count;
        self.done.drifted += done.findings.len() as u64;
        self.with_events += done.with_events;
        for finding in done.findings {
            (self.tell)(VerifyProgress::Finding(finding));
        }
        (self.tell)(VerifyProgress::Compared(done.count));
        Ok(())
    }

    async fn end(mut self) -> Result<Verified, AdoptionError> {
        while !self.running.is_empty() {
            self.finish().await?;
        }
        Ok(self.done)
    }
}

/// Draws so many of what it is offered, each with the same chance: Vitter's algorithm R.
struct Reservoir<T> {
    wanted: usize,
    seen: usize,
    drawn: Vec<T>,
}

impl<T> Reservoir<T> {
    const fn new(wanted: usize) -> Self {
        Self {
            wanted,
            seen: 0,
            drawn: Vec::new(),
        }
    }

    fn offer(&mut self, one: T) {
        self.seen += 1;
        if self.drawn.len() < self.wanted {
            self.drawn.push(one);
        } else if let Some(drawn) = self.drawn.get_mut(rand::rng().random_range(0..self.seen)) {
            *drawn = one;
        }
    }
}

type Drawn = (Vec<(String, LoadedRow)>, Vec<AggregateId>);

/// As many as are wanted of both, by turns, none of them twice.
fn one_by_one(rows: Vec<(String, LoadedRow)>, log: Vec<AggregateId>, wanted: usize) -> Drawn {
    let mut taken = BTreeSet::new();
    let (mut from_rows, mut from_log) = (Vec::new(), Vec::new());
    let (mut rows, mut log) = (rows.into_iter(), log.into_iter());
    loop {
        let (row, id) = (rows.next(), log.next());
        if row.is_none() && id.is_none() {
            return (from_rows, from_log);
        }
        if let Some((key, row)) = row
            && taken.len() < wanted
            && taken.insert(key.clone())
        {
            from_rows.push((key, row));
        }
        if let Some(id) = id
            && taken.len() < wanted
            && taken.insert(id.to_string())
        {
            from_log.push(id);
        }
    }
}

fn pages<T>(all: Vec<T>, page: u32) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter().peekable();
    std::iter::from_fn(move || {
        all.peek()?;
        Some(all.by_ref().take(page as usize).collect())
    })
}

/// Compares rows: all at once first, then each that looks different on its own.
async fn compare_rows(
    inner: &Inner,
    mapped: &dyn Mapped,
    page: Vec<(String, LoadedRow)>,
) -> Result<Compared, AdoptionError> {
    let mut compared = Compared {
        count: page.len() as u64,
        ..Compared::default()
    };
    let (mut ids, mut rows) = (
        Vec::with_capacity(page.len()),
        Vec::with_capacity(page.len()),
    );
    for (key, loaded) in page {
        match AggregateId::parse(&key) {
            Ok(id) => {
                ids.push(id);
                rows.push(loaded.row);
            }
            Err(_) => compared.findings.push(Finding {
                key,
                version: Version::ZERO,
                drift: Drift::NotAdoptable {
                    problem: "its key cannot be an aggregate's".to_owned(),
                },
            }),
        }
    }
    let recovered = recover(inner, mapped, &ids).await?;
    for (place, id) in ids.into_iter().enumerate() {
        let recovered = recovered.get(place);
        let has_events = recovered.is_some_and(|recovered| !recovered.events.is_empty());
        compared.with_events += u64::from(has_events);
        if !recovered.is_some_and(|found| agrees(mapped, rows[place].as_ref(), found)) {
            compared.findings.extend(look(inner, mapped, id).await?);
        }
    }
    Ok(compared)
}

/// Compares those aggregates that have no row.
async fn compare_log(
    inner: &Inner,
    mapped: &dyn Mapped,
    ids: Vec<AggregateId>,
) -> Result<Compared, AdoptionError> {
    let (aggregate_type, table) = (mapped.aggregate_type(), mapped.table());
    let loaded = inner.rows.load(aggregate_type, table, &ids).await?;
    let rowless = ids.into_iter().zip(loaded);
    let rowless = rowless.filter(|(_, loaded)| loaded.row.is_none());
    let ids: Vec<AggregateId> = rowless.map(|(id, _)| id).collect();
    let recovered = recover(inner, mapped, &ids).await?;
    let mut compared = Compared {
        count: ids.len() as u64,
        ..Compared::default()
    };
    for (place, id) in ids.into_iter().enumerate() {
        let found = recovered.get(place);
        if !found.is_some_and(|found| agrees(mapped, None, found)) {
            compared.findings.extend(look(inner, mapped, id).await?);
        }
    }
    Ok(compared)
}

/// The first events of each; nothing where one of them cannot be read, and which it is comes out
/// when each is looked at.
async fn recover(
    inner: &Inner,
    mapped: &dyn Mapped,
    ids: &[AggregateId],
) -> Result<Vec<Recovered>, AdoptionError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let requests = ids.iter().map(|id| RecoveryRequest {
        stream: stream(mapped, id.clone()),
        fingerprint: None,
        after: Version::ZERO,
    });
    match inner.store.recover(requests.collect(), FIRST_PAGE).await {
        Ok(recovered) => Ok(recovered),
        Err(ReadError::Corrupt { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a row agrees with its events. One with more of them than were read, or none, is looked
/// at on its own.
fn agrees(mapped: &dyn Mapped, row: Option<&Row>, recovered: &Recovered) -> bool {
    if recovered.events.is_empty() || recovered.events.len() >= FIRST_PAGE as usize {
        return false;
    }
    let mut folding = mapped.folding();
    let folded = fold(&mut *folding, recovered);
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
