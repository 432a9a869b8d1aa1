//! A caller: sends its share, each command after the answer to the last, and checks each answer.

use std::{sync::Arc, time::Duration};

use dormouse::{
    domain::{AggregateId, IdempotencyKey, InvalidName},
    runtime::{Aggregates, Answer, CommandError, CommandOptions},
    settings::Mode,
};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    account::{Account, OpenAccount, RenameAccount},
    plan::{Extras, Share, Workload},
};

/// How long a caller waits for one answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The longest latency that is told apart, in microseconds; a caller waits no longer.
const LONGEST_US: u64 = 61_000_000;

/// Why a caller ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("the command to {id} at version {version} was not carried out")]
    Refused {
        id: AggregateId,
        version: u64,
        #[source]
        source: CommandError,
    },
    #[error("a wrong answer from {id}: {what}")]
    Wrong { id: AggregateId, what: String },
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("latencies cannot be counted")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// What a caller saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The time from sending to the answer, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// The versions that the hot aggregate answered.
    pub(crate) versions: Vec<u64>,
}

/// No latency yet.
pub(crate) fn no_latencies() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1, LONGEST_US, 3)
}

/// One of the concurrent callers.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) number: usize,
    pub(crate) accounts: Aggregates<Account>,
    pub(crate) ids: Arc<[AggregateId]>,
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    pub(crate) extras: Extras,
    pub(crate) progress: ProgressBar,
}

impl Caller {
    /// Sends all, one after another.
    ///
    /// # Errors
    /// [`CallerError`] at the first answer that is not as it must be.
    pub(crate) async fn run(self, share: Share) -> Result<Seen, CallerError> {
        let mut seen = Seen {
            latencies: no_latencies()?,
            versions: Vec::new(),
        };
        if share.creates {
            for number in &share.aggregates {
                let begun = Instant::now();
                self.create(*number).await?;
                self.note(&mut seen, begun);
            }
        }
        for round in 0..share.rounds {
            for number in &share.aggregates {
                let begun = Instant::now();
                let version = self.update(*number, round, seen.versions.last()).await?;
                self.note(&mut seen, begun);
                if self.workload == Workload::Hot {
                    seen.versions.push(version);
                }
            }
        }
        Ok(seen)
    }

    fn note(&self, seen: &mut Seen, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.latencies.saturating_record(micros.max(1));
        self.progress.inc(1);
    }

    /// Opens an account.
    ///
    /// # Errors
    /// [`CallerError`].
    pub(crate) async fn create(&self, number: usize) -> Result<(), CallerError> {
        let id = &self.ids[number];
        let command = OpenAccount {
            name: name(id, self.number, 0),
            unique: self.extras.claims,
        };
        let options = self.options("create")?;
        let answer = self.accounts.execute(id, command, options).await;
        let answer = answer.map_err(|source| refused(id, 0, source))?;
        check(id, &answer, self.mode, true)?;
        expect(id, answer.version.get(), 1)
    }

    /// Renames an account and gives its version.
    async fn update(
        &self,
        number: usize,
        round: usize,
        last: Option<&u64>,
    ) -> Result<u64, CallerError> {
        let id = &self.ids[number];
        let command = RenameAccount {
            name: name(id, self.number, round + 1),
        };
        let options = self.options(&format!("{}-{round}", self.number))?;
        let answer = self.accounts.execute(id, command, options).await;
        let answer = answer.map_err(|source| refused(id, round as u64 + 1, source))?;
        check(id, &answer, self.mode, false)?;
        let version = answer.version.get();
        match self.workload {
            Workload::Spread => expect(id, version, round as u64 + 2)?,
            Workload::Hot if last.is_some_and(|last| *last >= version) => {
                return Err(wrong(id, format!("version {version} after a later one")));
            }
            Workload::Hot => {}
        }
        Ok(version)
    }

    fn options(&self, key: &str) -> Result<CommandOptions, InvalidName> {
        let key = if self.extras.keys {
            Some(IdempotencyKey::parse(key)?)
        } else {
            None
        };
        Ok(CommandOptions {
            key,
            timeout: TIMEOUT,
            ..CommandOptions::default()
        })
    }
}

/// The name that a caller gives in a round (the create is 0): no other command gives it, and it is
/// so long that an event has about 100 bytes of data.
pub(crate) fn name(id: &AggregateId, caller: usize, round: usize) -> String {
    format!("{:-<88}", format!("{id}-{caller}-{round}"))
}

fn check(
    id: &AggregateId,
    answer: &Answer<()>,
    mode: Mode,
    created: bool,
) -> Result<(), CallerError> {
    let logged = match (mode, answer.events.as_slice()) {
        (Mode::StateOnly, events) => events.is_empty(),
        (Mode::EventSourced | Mode::DualWrite, [event]) => {
            event.version == answer.version
                && event.position == answer.position
                && answer.position.get() > 0
        }
        (Mode::EventSourced | Mode::DualWrite, _) => false,
    };
    if logged && answer.changed && answer.created == created && !answer.replayed {
        return Ok(());
    }
    Err(wrong(id, format!("{answer:?}")))
}

fn expect(id: &AggregateId, version: u64, expected: u64) -> Result<(), CallerError> {
    if version == expected {
        return Ok(());
    }
    Err(wrong(id, format!("version {version}, not {expected}")))
}

fn refused(id: &AggregateId, version: u64, source: CommandError) -> CallerError {
    CallerError::Refused {
        id: id.clone(),
        version,
        source,
    }
}

fn wrong(id: &AggregateId, what: String) -> CallerError {
    CallerError::Wrong {
        id: id.clone(),
        what,
    }
}
