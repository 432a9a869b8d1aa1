//! The journal: one writer that gathers the commits of all aggregates into batches.
//!
//! While a batch is being written, the next gathers; an idle system writes at once, for there is
//! no timer. Its queue needs no bound of its own: each commit in it is an unanswered command,
//! and those are bounded. An append whose answer is lost is appended again until its outcome
//! is known, because nobody may be told `nothing was stored` of a command that was.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

use super::{foreign::Foreign, meters::NodeMeter};
use crate::{
    domain::{Position, StreamId, error_chain},
    metrics::count_of,
    settings::JournalSettings,
    store::{AppendError, Commit, EventStore, Loss, Verdict},
};

/// What became of a commit that was handed over.
#[derive(Debug)]
pub(super) enum Fate {
    Committed {
        first_position: Position,
    },
    Lost(Loss),
    /// It was not appended, because one it follows was not stored.
    Undone,
    Failed(Failure),
}

/// Why a commit has no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was stored.
    Unavailable,
    /// Nothing was stored, and never will be: the data is at fault.
    Unstorable,
    /// Nothing was stored; other writers kept winning.
    Contended,
    /// The journal gave up finding out.
    Unknown,
}

/// The commits of one aggregate, in order, and where their fates go.
pub(super) struct HandOver {
    pub(super) commits: Vec<Commit>,
    pub(super) settle: Box<dyn FnOnce(Vec<Fate>) + Send + Sync>,
}

/// Where actors hand their commits over.
#[derive(Debug, Clone)]
pub(super) struct Journal(UnboundedSender<HandOver>);

impl Journal {
    /// Hands commits over; false where the journal has ended, and nothing will be stored.
    pub(super) fn hand_over(&self, hand_over: HandOver) -> bool {
        self.0.send(hand_over).is_ok()
    }
}

/// The journal and what drives it.
pub(super) fn journal(
    store: Arc<dyn EventStore>,
    settings: JournalSettings,
    meter: &Arc<NodeMeter>,
) -> (Journal, Writer) {
    let (sender, waiting) = unbounded_channel();
    let writer = Writer {
        foreign: Foreign::new(Arc::clone(&store), settings.foreign_poll, &meter.foreign),
        store,
        settings,
        meter: Arc::clone(meter),
        waiting,
        held_back: None,
    };
    (Journal(sender), writer)
}

/// The one task that appends.
pub(super) struct Writer {
    store: Arc<dyn EventStore>,
    settings: JournalSettings,
    meter: Arc<NodeMeter>,
    waiting: UnboundedReceiver<HandOver>,
    /// What did not fit the last batch.
    held_back: Option<HandOver>,
    foreign: Foreign,
}

/// Hand-overs on their way into a batch.
#[derive(Default)]
struct Gathered {
    hand_overs: Vec<HandOver>,
    commits: usize,
    events: usize,
    bytes: usize,
    full: bool,
}

impl Gathered {
    /// Adds a hand-over, or gives it back where the batch is full. The first is always taken.
    fn add(&mut self, hand_over: HandOver, limits: &JournalSettings) -> Option<HandOver> {
        self.events += hand_over.commits.iter().map(count).sum::<usize>();
        let bytes = hand_over.commits.iter().map(Commit::size_bytes);
        self.bytes += bytes.sum::<usize>();
        self.full = self.events > limits.max_events || self.bytes > limits.max_bytes;
        if self.full && !self.hand_overs.is_empty() {
            return Some(hand_over);
        }
        self.commits += hand_over.commits.len();
        self.hand_overs.push(hand_over);
        None
    }
}

/// The first pause between two tries to learn an outcome; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);

impl Writer {
    /// Writes batches until every [`Journal`] is gone and all is written.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            self.write(batch).await;
            self.foreign.look_if_due().await;
        }
    }

    /// The next hand-over; while there is none, it looks for events of other programs.
    async fn next(&mut self) -> Option<HandOver> {
        loop {
            tokio::select! {
                biased;
                next = self.waiting.recv() => return next,
                () = self.foreign.due() => self.foreign.look().await,
            }
        }
    }

    /// Waits for one hand-over, and takes with it all that wait already, within the limits.
    async fn gather(&mut self) -> Option<Vec<HandOver>> {
        let first = match self.held_back.take() {
            Some(held_back) => held_back,
            None => self.next().await?,
        };
        let mut batch = Gathered::default();
        // One hand-over over the limit goes alone: it is cut in `write`.
        batch.add(first, &self.settings);
        self.take_waiting(&mut batch);
        Some(batch.hand_overs)
    }

    fn take_waiting(&mut self, batch: &mut Gathered) {
        while !batch.full
            && let Ok(next) = self.waiting.try_recv()
        {
            self.held_back = batch.add(next, &self.settings);
        }
    }

    async fn write(&self, batch: Vec<HandOver>) {
        let mut settles = Vec::with_capacity(batch.len());
        let mut commits = Vec::new();
        for hand_over in batch {
            settles.push((hand_over.commits.len(), hand_over.settle));
            commits.extend(hand_over.commits);
        }
        let mut parts = Parts::default();
        while !commits.is_empty() {
            let rest = commits.split_off(self.first_cut(&commits));
            self.append_part(&mut parts, Arc::from(commits), None).await;
            commits = rest;
        }
        let mut fates = parts.fates.into_iter();
        for (count, settle) in settles {
            settle(fates.by_ref().take(count).collect());
        }
    }

    /// How many commits from the front are within the limits; at least one.
    fn first_cut(&self, commits: &[Commit]) -> usize {
        let mut events = 0;
        let mut bytes = 0;
        let within = commits.iter().take_while(|commit| {
            events += count(commit);
            bytes += commit.size_bytes();
            events <= self.settings.max_events && bytes <= self.settings.max_bytes
        });
        within.count().max(1)
    }

    /// Appends a part of a batch, but for what follows a commit of an earlier part that was not
    /// stored: the version it expects may be there, and be another writer's.
    async fn append_part(
        &self,
        parts: &mut Parts,
        commits: Arc<[Commit]>,
        in_doubt_since: Option<Instant>,
    ) {
        let sound = if parts.broken.is_empty() {
            Arc::clone(&commits)
        } else {
            let is_sound = |commit: &&Commit| !parts.broken.contains(&commit.stream);
            commits.iter().filter(is_sound).cloned().collect()
        };
        let mut fates = self.append(sound, in_doubt_since).await.into_iter();
        let fates: Vec<Fate> = commits
            .iter()
            .map(|commit| {
                let appended = !parts.broken.contains(&commit.stream);
                let fate = appended.then(|| fates.next()).flatten();
                fate.unwrap_or(Fate::Undone)
            })
            .collect();
        for (commit, fate) in commits.iter().zip(&fates) {
            if !matches!(fate, Fate::Committed { .. }) {
                parts.broken.insert(commit.stream.clone());
            }
        }
        parts.fates.extend(fates);
    }

    /// Appends until the outcome is known, or the time to find out is over.
    async fn append(
        &self,
        commits: Arc<[Commit]>,
        mut in_doubt_since: Option<Instant>,
    ) -> Vec<Fate> {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let appended = self.store.append(Arc::clone(&commits)).await;
            self.count(&commits, started.elapsed(), appended.is_ok());
            let error = match appended {
                Ok(verdicts) => {
                    let fates = fates(&commits, verdicts);
                    if in_doubt_since.is_none() {
                        return fates;
                    }
                    info!(commits = commits.len(), "the outcome in doubt is known now");
                    return certain_alone(&commits, fates);
                }
                Err(error) => error,
            };
            let unknown = matches!(error, AppendError::OutcomeUnknown(_));
            if refuses_data(&error) {
                warn!(
                    error = error_chain(&error),
                    commits = commits.len(),
                    "the store cannot hold a commit's data"
                );
                let since = in_doubt_since.or_else(|| unknown.then(Instant::now));
                return Box::pin(self.append_halves(&commits, since)).await;
            }
            if !unknown && in_doubt_since.is_none() {
                warn!(error = error_chain(&error), "a batch was not stored");
                return fail(&commits, &error);
            }
            // From the first lost answer on, only a verdict tells what is stored.
            let since = *in_doubt_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.settings.resolve_timeout {
                error!(
                    error = error_chain(&error),
                    "gave up: an outcome stays unknown"
                );
                return fail_with(&commits, Failure::Unknown);
            }
            warn!(error = error_chain(&error), "looking a batch up again");
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn count(&self, commits: &[Commit], took: Duration, stored: bool) {
        let meter = &self.meter;
        meter.flush_duration.record_duration(took);
        meter.batch_commits.record(count_of(commits.len()));
        meter
            .batch_events
            .record(count_of(commits.iter().map(count).sum()));
        if !stored {
            meter.flush_failures.increment();
        }
    }

    /// Finds the commit at fault, so that its neighbours do not suffer.
    async fn append_halves(
        &self,
        commits: &Arc<[Commit]>,
        in_doubt_since: Option<Instant>,
    ) -> Vec<Fate> {
        if commits.len() == 1 {
            return fail_with(commits, Failure::Unstorable);
        }
        let (first, second) = commits.split_at(commits.len() / 2);
        let mut parts = Parts::default();
        for half in [first, second] {
            self.append_part(&mut parts, Arc::from(half), in_doubt_since)
                .await;
        }
        parts.fates
    }
}

/// What became of the parts of a batch that were appended one after another.
#[derive(Debug, Default)]
struct Parts {
    fates: Vec<Fate>,
    /// The streams with a commit that was not stored.
    broken: HashSet<StreamId>,
}

/// Whether a commit's data is at fault: alone it can never be stored, and the others can. A store
/// that had stored others of the batch before says at the same time that the outcome is unknown.
fn refuses_data(error: &AppendError) -> bool {
    let source = match error {
        AppendError::Unstorable(_) => return true,
        AppendError::OutcomeUnknown(source) => source.downcast_ref(),
        AppendError::Unavailable(_) | AppendError::Contended => None,
    };
    matches!(source, Some(AppendError::Unstorable(_)))
}

fn count(commit: &Commit) -> usize {
    commit.events.len()
}

fn fates(commits: &[Commit], verdicts: Vec<Verdict>) -> Vec<Fate> {
    if verdicts.len() != commits.len() {
        error!(
            commits = commits.len(),
            verdicts = verdicts.len(),
            "a store broke its promise of one verdict a commit"
        );
        return fail_with(commits, Failure::Unknown);
    }
    let fates = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Committed { first_position } => Fate::Committed { first_position },
        Verdict::Lost(loss) => Fate::Lost(loss),
    });
    fates.collect()
}

/// What the verdicts on a batch are worth while its first append may still be on its way.
///
/// A version or a key that is lost is lost for ever. A claim is not: its holder may free it before
/// the first append gets to the store, which then takes it, and what follows with it; a row may be
/// again what it was; and what an open transaction is in the way of may be undone. So such a loss,
/// and of what follows it, is not known to be one.
fn certain_alone(commits: &[Commit], fates: Vec<Fate>) -> Vec<Fate> {
    let mut open: HashSet<&StreamId> = HashSet::new();
    let certain = commits.iter().zip(fates).map(|(commit, fate)| {
        let may_win_yet = matches!(
            fate,
            Fate::Lost(Loss::Claim { .. } | Loss::Row | Loss::Refused { .. } | Loss::Contested)
        );
        if may_win_yet {
            open.insert(&commit.stream);
        }
        let follows = matches!(fate, Fate::Lost(_)) && open.contains(&commit.stream);
        if may_win_yet || follows {
            Fate::Failed(Failure::Unknown)
        } else {
            fate
        }
    });
    certain.collect()
}

fn fail(commits: &[Commit], error: &AppendError) -> Vec<Fate> {
    let failure = match error {
        AppendError::Unavailable(_) => Failure::Unavailable,
        AppendError::Contended => Failure::Contended,
        AppendError::Unstorable(_) => Failure::Unstorable,
        AppendError::OutcomeUnknown(_) => Failure::Unknown,
    };
    fail_with(commits, failure)
}

fn fail_with(commits: &[Commit], failure: Failure) -> Vec<Fate> {
    commits.iter().map(|_| Fate::Failed(failure)).collect()
}
