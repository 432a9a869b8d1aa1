//! `dormouse replay`: aggregates are folded again from their events, and their snapshots with them.

use std::{
    io::Write as _, num::NonZeroUsize, process::ExitCode, sync::Arc, thread::available_parallelism,
};

use clap::Args;
use dormouse::{
    domain::{Position, error_chain},
    iam::{self, PasswordHasher},
    runtime::{ReplayOptions, ReplayedAggregate, Runtime, StateError},
    settings::Settings,
    store,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tracing::error;

use crate::{run::to_its_end, serve::password_settings};

/// The exit code for snapshots that differed.
const DIFFERENCES: u8 = 3;

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every snapshot agrees with its events
  1  it failed, or an aggregate cannot be folded; the log on stderr says why
  2  bad usage or settings; nothing was started
  3  snapshots differed from their events; they are replaced";

const BAR: &str = "{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left";

/// What is replayed.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Aggregates of this type.
    #[arg(long = "type", value_name = "TYPE")]
    aggregate_type: String,
    /// Only aggregates with an event at this position of the log or after it.
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// So many aggregates at once [default: one for each core].
    #[arg(long, value_name = "COUNT")]
    parallel: Option<NonZeroUsize>,
    /// Print lines of JSON: one for each aggregate with a difference or a failure, then the sums.
    #[arg(long)]
    json: bool,
}

/// The sums of a replay.
#[derive(Debug, Default)]
struct Sums {
    aggregates: u64,
    passed_over: u64,
    events: u64,
    agreed: u64,
    differed: u64,
    added: u64,
    failed: u64,
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &ReplayArguments, mut settings: Settings) -> ExitCode {
    // Whoever replays does not mean to migrate.
    settings.store.migrate = false;
    match to_its_end(replay(arguments, &settings)) {
        Ok(Ok(sums)) if sums.failed > 0 => ExitCode::FAILURE,
        Ok(Ok(sums)) if sums.differed > 0 => ExitCode::from(DIFFERENCES),
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            error!("{}", error_chain(&*error));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

async fn replay(
    arguments: &ReplayArguments,
    settings: &Settings,
) -> Result<Sums, Box<dyn std::error::Error>> {
    let store = store::open(&settings.store).await?;
    let hasher = PasswordHasher::new(password_settings(&settings.iam))?;
    let builder = Runtime::builder(Arc::clone(&store)).settings(settings.clone());
    let runtime = iam::register(builder, &hasher).start().await?;
    let sums = refold(arguments, &runtime).await;
    runtime.shutdown().await;
    store.close().await;
    let sums = sums?;
    tell_sums(&sums, arguments.json);
    Ok(sums)
}

async fn refold(arguments: &ReplayArguments, runtime: &Runtime) -> Result<Sums, StateError> {
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = ReplayOptions {
        from: arguments.from.map(Position::new),
        parallel: arguments.parallel.unwrap_or(cores).get(),
    };
    let (_, events) = runtime.extent(&arguments.aggregate_type).await?;
    // Draws on stderr, and only where that is a terminal.
    let bar = ProgressBar::new(events);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    let mut sums = Sums::default();
    let replayed = runtime.replay(&arguments.aggregate_type, options, |replayed| {
        bar.inc(replayed.version.get());
        bar.suspend(|| tell(&replayed, arguments.json));
        sums.add(&replayed);
    });
    replayed.await?;
    bar.finish_and_clear();
    Ok(sums)
}

impl Sums {
    fn add(&mut self, replayed: &ReplayedAggregate) {
        match &replayed.outcome {
            Err(_) => self.failed += 1,
            Ok(refolded) if refolded.passed_over => self.passed_over += 1,
            Ok(refolded) => {
                self.aggregates += 1;
                self.events += replayed.version.get();
                self.agreed += refolded.agreed;
                self.differed += refolded.differences.len() as u64;
                self.added += refolded.added;
            }
        }
    }
}

/// Tells of an aggregate where there is something to tell.
fn tell(replayed: &ReplayedAggregate, json: bool) {
    let stream = &replayed.stream;
    match &replayed.outcome {
        Err(error) => {
            let error = error_chain(error);
            if json {
                let (kind, id) = (&stream.aggregate_type, &stream.aggregate_id);
                let line = json!({"aggregate_type": kind, "aggregate_id": id, "error": error});
                say(&line.to_string());
            } else {
                say(&format!("{stream} cannot be folded: {error}"));
            }
        }
        Ok(refolded) if refolded.differences.is_empty() => {}
        Ok(refolded) if json => {
            let line = json!({
                "aggregate_type": stream.aggregate_type, "aggregate_id": stream.aggregate_id,
                "differences": refolded.differences,
            });
            say(&line.to_string());
        }
        Ok(refolded) => {
            for version in &refolded.differences {
                say(&format!(
                    "{stream}: the snapshot at version {version} differed from the events and is \
                     replaced"
                ));
            }
        }
    }
}

fn tell_sums(sums: &Sums, json: bool) {
    if json {
        let line = json!({
            "aggregates": sums.aggregates, "passed_over": sums.passed_over,
            "events": sums.events, "snapshots_agreed": sums.agreed,
            "snapshots_replaced": sums.differed, "snapshots_added": sums.added,
            "failed": sums.failed,
        });
        say(&line.to_string());
        return;
    }
    say(&format!(
        "{} aggregates with {} events folded, {} passed over, {} failed; of their snapshots {} \
         agree, {} differed and are replaced, {} were missing and are written",
        sums.aggregates,
        sums.events,
        sums.passed_over,
        sums.failed,
        sums.agreed,
        sums.differed,
        sums.added
    ));
}

/// A line on stdout. Whoever reads it may have seen enough; the replay goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
