//! Loads an aggregate that has a row: read, compare, mend, read again, until nothing is to be mended.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    Rows,
    fitting::{Fitting, Met, Unfit},
    holders::free_if_unheld,
};
use crate::{
    domain::{Aggregate, Claim, StreamId},
    runtime::{
        RecoveryError,
        folded::Folded,
        journal::{Failure, Fate, HandOver},
        kind::Kind,
        meters::Conflict,
    },
    store::{Commit, LoadedRow, Loss, ReadError},
};

/// Whether the holder of a claim that stands in the way may be met in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holders {
    /// It is.
    Met,
    /// It is not: this is such a holder itself, and two may wait for each other's claims.
    Believed,
}

/// The state of an aggregate at its newest version: from `known` on, where something is.
pub(in crate::runtime) async fn load<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    known: Option<Folded<A>>,
) -> Result<Folded<A>, RecoveryError> {
    match kind.rows() {
        None => fold(kind, stream, known).await,
        Some(rows) => {
            let log = known.map(Folded::into_log);
            let meeting = Meeting::new(kind, rows, stream, Holders::Met);
            Ok(meeting.meet(log).await?.state)
        }
    }
}

async fn fold<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    known: Option<Folded<A>>,
) -> Result<Folded<A>, RecoveryError> {
    let (codec, fingerprint) = (Arc::clone(&kind.codec), kind.fingerprint.clone());
    let loader = &kind.node.loader;
    loader.load(stream.clone(), codec, fingerprint, known).await
}

/// An aggregate that is being met.
pub(super) struct Meeting<'a, A: Aggregate> {
    kind: &'a Kind<A>,
    rows: &'a Rows<A>,
    stream: &'a StreamId,
    holders: Holders,
    /// Claims that others really hold.
    unheld: Vec<Claim>,
}

/// An aggregate that fits.
pub(super) struct Settled<A> {
    pub(super) state: Folded<A>,
    pub(super) loaded: LoadedRow,
    pub(super) log: Folded<A>,
}

impl<'a, A: Aggregate> Meeting<'a, A> {
    pub(super) const fn new(
        kind: &'a Kind<A>,
        rows: &'a Rows<A>,
        stream: &'a StreamId,
        holders: Holders,
    ) -> Self {
        Self {
            kind,
            rows,
            stream,
            holders,
            unheld: Vec::new(),
        }
    }

    /// Reads and mends until all fits, as often as commands are decided again.
    pub(super) async fn meet(
        mut self,
        mut log: Option<Folded<A>>,
    ) -> Result<Settled<A>, RecoveryError> {
        for round in 0..=self.kind.node.settings.conflict_retries {
            tokio::time::sleep(pause_before(round)).await;
            let (row, folded) = tokio::join!(self.read(), fold(self.kind, self.stream, log));
            let (mut loaded, folded) = (row?, folded?);
            let mut fitting = self.met(&loaded, &folded).fitting()?;
            // A row that was read before its log has a track that may not know why they differ, and
            // a commit that expects row and log does not see that the track is another by now. Nor
            // does one that expects a track, of events up to the log that it was made from.
            if matches!(fitting, Fitting::Unfit(_)) {
                loaded = self.read().await?;
                fitting = self.met(&loaded, &folded).fitting()?;
            }
            match fitting {
                Fitting::Fits(state) => {
                    return Ok(Settled {
                        state,
                        loaded,
                        log: folded,
                    });
                }
                Fitting::ReadAgain => {}
                Fitting::Unfit(unfit) => self.mend(*unfit).await?,
            }
            log = Some(folded);
        }
        Err(RecoveryError::RowContended {
            stream: self.stream.clone(),
            table: self.rows.table.name.to_string(),
        })
    }

    const fn met<'m>(&'m self, loaded: &'m LoadedRow, log: &'m Folded<A>) -> Met<'m, A> {
        Met {
            kind: self.kind,
            rows: self.rows,
            stream: self.stream,
            loaded,
            log,
        }
    }

    async fn read(&self) -> Result<LoadedRow, RecoveryError> {
        let loaded = self.rows.loads.ask(self.stream.clone()).await;
        loaded.map_err(|source| self.unread(source))
    }

    /// Stores what mends it; where that loses, all is read again.
    async fn mend(&mut self, mut unfit: Unfit) -> Result<(), RecoveryError> {
        unfit
            .commit
            .takes
            .retain(|claim| !self.unheld.contains(claim));
        let mend = unfit.mend;
        match write(self.kind, unfit.commit).await {
            Fate::Committed { .. } => {
                self.kind.meter.mended(mend);
                tracing::debug!(stream = %self.stream, ?mend, "row and log fit again");
                Ok(())
            }
            Fate::Lost(Loss::Claim { claim, holder }) => {
                let is_free = match self.holders {
                    Holders::Met => free_if_unheld(self.kind, self.rows, &holder, &claim).await?,
                    Holders::Believed => false,
                };
                if !is_free {
                    self.kind.meter.unheld_claims.increment();
                    tracing::warn!(
                        stream = %self.stream, %holder, claim = %claim.name,
                        "a row has a unique value that another aggregate holds; it is served without \
                         the claim"
                    );
                    self.unheld.push(claim);
                }
                Ok(())
            }
            Fate::Lost(Loss::Refused { claim }) => Err(RecoveryError::RowRefused {
                stream: self.stream.clone(),
                table: self.rows.table.name.to_string(),
                column: claim.name.into_owned(),
            }),
            Fate::Lost(Loss::Row) => {
                self.kind.meter.conflicted(Conflict::Row);
                Ok(())
            }
            Fate::Lost(Loss::Version { .. } | Loss::Key(_) | Loss::Contested)
            | Fate::Failed(Failure::Contended) => {
                self.kind.meter.conflicted(Conflict::Version);
                Ok(())
            }
            Fate::Undone => Ok(()),
            Fate::Failed(Failure::Unstorable) => Err(RecoveryError::RowUnstorable {
                stream: self.stream.clone(),
                table: self.rows.table.name.to_string(),
            }),
            Fate::Failed(Failure::Unavailable | Failure::Unknown) => {
                let unmended = ReadError::Unavailable("a row could not be mended".into());
                Err(self.unread(Arc::new(unmended)))
            }
        }
    }

    fn unread(&self, source: Arc<ReadError>) -> RecoveryError {
        RecoveryError::Store {
            stream: self.stream.clone(),
            source,
        }
    }
}

/// What becomes of a commit that no command waits for.
pub(super) async fn write<A: Aggregate>(kind: &Kind<A>, commit: Commit) -> Fate {
    let (settled, fate) = oneshot::channel();
    let handed_over = kind.node.journal.hand_over(HandOver {
        commits: vec![commit],
        settle: Box::new(move |fates| {
            // Whoever waited has gone, and what is stored is met again.
            let _ = settled.send(fates.into_iter().next());
        }),
    });
    if !handed_over {
        return Fate::Failed(Failure::Unavailable);
    }
    let fate = fate.await.ok().flatten();
    fate.unwrap_or(Fate::Failed(Failure::Unknown))
}

/// At once, and later and later where others keep winning: up to 64 ms.
fn pause_before(round: u32) -> Duration {
    match round {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(1 << round.min(6)),
    }
}

impl<A: Aggregate> Folded<A> {
    /// The fold of the log in a state that was loaded.
    fn into_log(mut self) -> Self {
        let beside = self.beside.take();
        match beside.and_then(|beside| beside.log) {
            Some(log) => Arc::unwrap_or_clone(log),
            None => self,
        }
    }
}
