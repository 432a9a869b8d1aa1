//! Claims whose holder's row was written by somebody else: it may hold them no longer.

use super::{
    Rows,
    fitting::Met,
    load::{Holders, Meeting, write},
};
use crate::{
    domain::{Aggregate, AggregateId, Claim, error_chain},
    runtime::{RecoveryError, journal::Fate, kind::Kind},
};

/// Looks at the holder of a claim that a command lost to, before that is decided again. Where that
/// fails, the command loses to it again.
pub(in crate::runtime) async fn look_at_holder<A: Aggregate>(
    kind: &Kind<A>,
    holder: &AggregateId,
    claim: &Claim,
) {
    let Some(rows) = kind.rows() else {
        return;
    };
    if let Err(error) = free_if_unheld(kind, rows, holder, claim).await {
        tracing::warn!(%holder, error = error_chain(&error), "the holder of a claim cannot be looked at");
    }
}

/// Meets the holder of a claim, so that the log and its claims are what its row says, and frees the
/// claim where its state does not hold it: whether it is free by now.
///
/// No actor is woken for it. An actor that waits for another's may be waited for by that one; and
/// what is stored here expects version and row, so a live actor only meets it as a conflict.
pub(super) async fn free_if_unheld<A: Aggregate>(
    kind: &Kind<A>,
    rows: &Rows<A>,
    holder: &AggregateId,
    claim: &Claim,
) -> Result<bool, RecoveryError> {
    let stream = kind.stream(holder);
    let meeting = Meeting::new(kind, rows, &stream, Holders::Believed);
    let settled = match Box::pin(meeting.meet(None)).await {
        Ok(settled) => settled,
        Err(error) if error.is_retryable() => return Err(error),
        // Whoever mends that row frees the claim with it.
        Err(_) => return Ok(false),
    };
    if settled.state.state.claims().contains(claim) {
        return Ok(false);
    }
    let found = kind.node.store.claim_holder(&stream.aggregate_type, claim);
    let found = found.await.map_err(|source| RecoveryError::Store {
        stream: stream.clone(),
        source: std::sync::Arc::new(source),
    })?;
    if found.as_ref() != Some(holder) {
        return Ok(true);
    }
    let met = Met {
        kind,
        rows,
        stream: &stream,
        loaded: &settled.loaded,
        log: &settled.log,
    };
    let fate = write(kind, met.freeing(claim)).await;
    Ok(matches!(fate, Fate::Committed { .. }))
}
