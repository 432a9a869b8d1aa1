//! Runs a workload on a runtime of its own and measures it.

use std::{error::Error, sync::Arc, time::Duration};

use dormouse::{
    domain::AggregateId,
    runtime::{Aggregates, Runtime},
    settings::{AggregateSettings, Mode, Reconcile, Settings},
    store::EventStore,
};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{task::JoinSet, time::Instant};
use ulid::Ulid;

use super::{
    account::{Account, OpenAccount, RenameAccount},
    caller::{Caller, CallerError, Seen, no_latencies},
    check,
    plan::{Extras, Plan, Workload},
};

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) plan: Plan,
    pub(crate) took: Duration,
    pub(crate) latencies: Histogram<u64>,
}

/// Starts a runtime on the store, puts the load on it, stops it, and checks the log.
///
/// # Errors
/// A command failed, an answer was wrong, or the log is not what was answered.
pub(crate) async fn run(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    plan: Plan,
    extras: Extras,
) -> Result<Measured, Box<dyn Error>> {
    let start = store.last_position().await?;
    let runtime = start_runtime(store, settings, &plan).await?;
    let accounts = runtime
        .aggregates::<Account>()
        .ok_or("the runtime does not know accounts")?;
    let ids: Arc<[AggregateId]> = plan
        .ids(&format!("{}-{}", Ulid::generate(), plan.workload.name()))?
        .into();
    let progress = progress(&plan)?;
    let outcome = drive(&accounts, &ids, plan, extras, &progress).await;
    progress.finish_and_clear();
    let (measured, versions) = outcome?;
    let ended = runtime.shutdown().await;
    if ended.unanswered > 0 {
        return Err(format!("{} commands were left unanswered", ended.unanswered).into());
    }
    check::log(store.as_ref(), start, &plan, &ids).await?;
    if plan.mode != Mode::EventSourced {
        check::rows(store.as_ref(), &plan, &ids).await?;
    }
    if plan.workload == Workload::Hot {
        check::versions(versions)?;
    }
    Ok(measured)
}

async fn start_runtime(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    plan: &Plan,
) -> Result<Runtime, Box<dyn Error>> {
    let mut settings = settings.clone();
    // A closed loop has one command of each caller at most: none is refused as overload.
    settings.runtime.max_in_flight = settings.runtime.max_in_flight.max(plan.callers);
    let usual = AggregateSettings {
        mode: plan.mode,
        // The rows of earlier runs are not to be given events beside this one.
        reconcile: Reconcile::Off,
        ..AggregateSettings::default()
    };
    let mailbox = usual.mailbox.max(plan.callers);
    let runtime = Runtime::builder(Arc::clone(store))
        .settings(settings)
        .aggregate::<Account>(|account| {
            account
                .command::<OpenAccount>("open")
                .command::<RenameAccount>("rename")
                .state_row()
                .settings(AggregateSettings { mailbox, ..usual })
        });
    Ok(runtime.start().await?)
}

async fn drive(
    accounts: &Aggregates<Account>,
    ids: &Arc<[AggregateId]>,
    plan: Plan,
    extras: Extras,
    progress: &ProgressBar,
) -> Result<(Measured, Vec<u64>), Box<dyn Error>> {
    let caller = |number| Caller {
        number,
        accounts: accounts.clone(),
        ids: Arc::clone(ids),
        workload: plan.workload,
        mode: plan.mode,
        extras,
        progress: progress.clone(),
    };
    if plan.workload == Workload::Hot {
        caller(0).create(0).await?;
    }
    let begun = Instant::now();
    let mut running: JoinSet<Result<Seen, CallerError>> = JoinSet::new();
    for number in 0..plan.callers {
        running.spawn(caller(number).run(plan.share(number)));
    }
    let mut latencies = no_latencies()?;
    let mut versions = Vec::new();
    while let Some(seen) = running.join_next().await {
        let seen = seen??;
        latencies.add(&seen.latencies)?;
        versions.extend(seen.versions);
    }
    let measured = Measured {
        plan,
        took: begun.elapsed(),
        latencies,
    };
    Ok((measured, versions))
}

/// A bar on stderr; nothing where stderr is no terminal.
fn progress(plan: &Plan) -> Result<ProgressBar, Box<dyn Error>> {
    let style = "{prefix} {bar:40} {human_pos} of {human_len} commands, {per_sec}, {eta} left";
    let bar = ProgressBar::new(plan.commands() as u64).with_prefix(plan.workload.name());
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}
