//! Meets every aggregate of a type whose row or log has changed since they last agreed, beside the
//! traffic: after a time in another mode, and for what others write and nobody asks for.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};

use super::{Rows, assess::is_noted, load};
use crate::{
    domain::{Aggregate, AggregateId, Version, error_chain},
    runtime::{RecoveryError, kind::Kind},
    settings::{Mode, Reconcile},
    store::{LoadedRow, ReadError},
};

/// Rows and tracks that are read at once.
const PAGE: u32 = 500;
/// Aggregates met at once: so many that the journal writes them together, so few that the traffic
/// is not behind them.
const MEETING_AT_ONCE: usize = 16;
/// How long to wait at most after a walk that did not come to its end.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What one walk has found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Walked {
    met: u64,
    /// Those that do not fit, however often they are met.
    failed: u64,
    /// Those that others kept writing.
    contended: u64,
}

/// Why a walk has to be walked again.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    /// A page could not be read.
    #[error(transparent)]
    Page(#[from] ReadError),
    /// The store failed while an aggregate was met: the next would not fare better.
    #[error(transparent)]
    Meeting(#[from] RecoveryError),
    /// All were looked at, but some kept changing.
    #[error("{0} rows were written by others all the time they were looked at")]
    Contended(u64),
}

/// Walks as often as the settings say, for ever; at once ends where they say never.
pub(in crate::runtime) async fn reconcile<A: Aggregate>(kind: Arc<Kind<A>>) {
    let every = match kind.settings.reconcile {
        Reconcile::Off => return,
        Reconcile::AtStart => None,
        Reconcile::Every(every) => Some(every),
    };
    let Some(rows) = kind.rows().filter(|rows| rows.mode == Mode::DualWrite) else {
        return;
    };
    loop {
        let walked = walk(&kind, rows).await;
        let pause = match (walked, every) {
            (Ok(Walked { met, failed, .. }), every) => {
                tracing::info!(
                    aggregate_type = A::TYPE,
                    met,
                    failed,
                    "every row was looked at: {met} met, {failed} failed"
                );
                let Some(every) = every else { return };
                every
            }
            (Err(error), every) => {
                tracing::warn!(
                    aggregate_type = A::TYPE,
                    error = error_chain(&error),
                    "not every row could be looked at yet"
                );
                every.map_or(PAUSE_AFTER_FAILURE, |every| every.min(PAUSE_AFTER_FAILURE))
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn walk<A: Aggregate>(kind: &Kind<A>, rows: &Rows<A>) -> Result<Walked, Unfinished> {
    let mut walked = Walked::default();
    walk_rows(kind, rows, &mut walked).await?;
    walk_log(kind, rows, &mut walked).await?;
    match walked.contended {
        0 => Ok(walked),
        contended => Err(Unfinished::Contended(contended)),
    }
}

/// Rows that the log does not know.
async fn walk_rows<A: Aggregate>(
    kind: &Kind<A>,
    rows: &Rows<A>,
    walked: &mut Walked,
) -> Result<(), Unfinished> {
    let mut after: Option<String> = None;
    loop {
        let page = rows.store.page(
            Some(&kind.aggregate_type),
            &rows.table,
            after.as_deref(),
            PAGE,
        );
        let page = page.await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        let unknown = page.into_iter().filter(|(_, loaded)| {
            let track = loaded.track.as_ref();
            track.is_none_or(|track| track.log_version == Version::ZERO)
        });
        // A key that is no id can be no aggregate, and `adopt` tells of it.
        let ids = unknown.filter_map(|(key, _)| AggregateId::parse(&key).ok());
        meet_all(kind, ids.collect(), walked).await?;
    }
}

/// Aggregates with events whose row is not as it was when they last agreed, or gone.
async fn walk_log<A: Aggregate>(
    kind: &Kind<A>,
    rows: &Rows<A>,
    walked: &mut Walked,
) -> Result<(), Unfinished> {
    let mut after: Option<AggregateId> = None;
    loop {
        let heads = kind
            .node
            .store
            .aggregates(&kind.aggregate_type, after.as_ref(), PAGE);
        let heads = heads.await?;
        let Some(last) = heads.last() else {
            return Ok(());
        };
        after = Some(last.aggregate_id.clone());
        let ids: Vec<AggregateId> = heads.iter().map(|head| head.aggregate_id.clone()).collect();
        let loaded = rows
            .store
            .load(&kind.aggregate_type, &rows.table, &ids)
            .await?;
        let heads = heads.into_iter().zip(loaded);
        let unfit = heads.filter(|(head, loaded)| !agrees(rows, loaded, head.version));
        meet_all(
            kind,
            unfit.map(|(head, _)| head.aggregate_id).collect(),
            walked,
        )
        .await?;
    }
}

/// Whether row and log are, by the track, as they were when they last agreed.
fn agrees<A: Aggregate>(rows: &Rows<A>, loaded: &LoadedRow, log: Version) -> bool {
    let (Some(track), Ok(made)) = (&loaded.track, rows.made(loaded)) else {
        return false;
    };
    let is_another = track
        .marks
        .as_ref()
        .is_some_and(|it| it.is_of_another(&made));
    !is_another && is_noted(track, loaded.row.as_ref(), log)
}

/// Meets them, up to the first at which the store fails.
async fn meet_all<A: Aggregate>(
    kind: &Kind<A>,
    ids: Vec<AggregateId>,
    walked: &mut Walked,
) -> Result<(), RecoveryError> {
    let meetings = stream::iter(ids).map(|id| async move {
        let stream = kind.stream(&id);
        let met = load(kind, &stream, None).await.map(|_| ());
        (stream, met)
    });
    let mut meetings = meetings.buffer_unordered(MEETING_AT_ONCE);
    while let Some((stream, met)) = meetings.next().await {
        match met {
            Ok(()) => walked.met += 1,
            Err(RecoveryError::RowContended { .. }) => walked.contended += 1,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::warn!(%stream, error = error_chain(&error), "a row does not fit its log");
                walked.failed += 1;
            }
        }
    }
    Ok(())
}
