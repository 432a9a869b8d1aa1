//! Sends the steps: many callers at once, each case's steps by one of them in the file's order.

use std::{collections::HashMap, time::Duration};

use dormouse::{
    domain::{AggregateId, IdempotencyKey},
    runtime::{Aggregates, Answer, CommandError, CommandOptions},
};
use indicatif::ProgressBar;
use tokio::{task::JoinSet, time::Instant};

use super::{
    activity::Activity,
    case::{PermitCase, ReceiveApplication, TakeStep},
    file::Step,
};

/// What the replay of a file did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replayed {
    /// Steps whose event was stored.
    pub(crate) stored: usize,
    /// Steps that an earlier run had stored: answered from their receipts.
    pub(crate) known: usize,
    pub(crate) took: Duration,
}

/// A step that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, {case_id}, `{activity}`: not taken")]
pub(crate) struct NotTaken {
    line: u64,
    case_id: AggregateId,
    activity: Activity,
    #[source]
    source: CommandError,
}

/// Why a replay stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error("a caller panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Sends every step and waits for every answer.
///
/// # Errors
/// [`ReplayError`] for the first step that is not taken; the other callers then stop.
pub(crate) async fn replay(
    cases: &Aggregates<PermitCase>,
    steps: Vec<Step>,
    callers: usize,
    progress: &ProgressBar,
) -> Result<Replayed, ReplayError> {
    let begun = Instant::now();
    let mut running: JoinSet<Result<Replayed, NotTaken>> = JoinSet::new();
    for share in shares(steps, callers) {
        let cases = cases.clone();
        let progress = progress.clone();
        running.spawn(async move { call(&cases, share, &progress).await });
    }
    let mut all = Replayed {
        stored: 0,
        known: 0,
        took: Duration::ZERO,
    };
    while let Some(one) = running.join_next().await {
        let one = one??;
        all.stored += one.stored;
        all.known += one.known;
    }
    all.took = begun.elapsed();
    Ok(all)
}

/// Deals the cases out to the callers in the order of their first steps; a share keeps the
/// file's order, so a caller works on many cases at a time, as the people did.
fn shares(steps: Vec<Step>, callers: usize) -> Vec<Vec<Step>> {
    let mut shares = vec![Vec::new(); callers];
    let mut owners: HashMap<AggregateId, usize> = HashMap::new();
    for step in steps {
        let next = owners.len() % callers;
        let owner = *owners.entry(step.case_id.clone()).or_insert(next);
        shares[owner].push(step);
    }
    shares
}

async fn call(
    cases: &Aggregates<PermitCase>,
    share: Vec<Step>,
    progress: &ProgressBar,
) -> Result<Replayed, NotTaken> {
    let mut replayed = Replayed {
        stored: 0,
        known: 0,
        took: Duration::ZERO,
    };
    for step in share {
        let (line, case_id, activity) = (step.line, step.case_id.clone(), step.activity);
        let answer = take(cases, step).await.map_err(|source| NotTaken {
            line,
            case_id,
            activity,
            source,
        })?;
        if answer.replayed {
            replayed.known += 1;
        } else {
            replayed.stored += 1;
        }
        progress.inc(1);
    }
    Ok(replayed)
}

async fn take(cases: &Aggregates<PermitCase>, step: Step) -> Result<Answer<()>, CommandError> {
    let key = IdempotencyKey::parse(&format!("permits-line-{}", step.line))
        .map_err(|error| CommandError::Invalid(error.to_string()))?;
    let options = CommandOptions {
        key: Some(key),
        created_by: Some(step.resource),
        occurred_at: Some(step.at),
        ..CommandOptions::default()
    };
    if step.activity == Activity::ConfirmReceipt {
        let command = ReceiveApplication {
            group: step.group,
            department: step.department,
            channel: step.channel,
            at: step.at,
        };
        return cases.execute(&step.case_id, command, options).await;
    }
    let command = TakeStep {
        activity: step.activity,
        group: step.group,
        department: step.department,
        at: step.at,
    };
    cases.execute(&step.case_id, command, options).await
}
