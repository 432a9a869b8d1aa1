//! A real process: a municipality's permit cases, replayed through an embedded runtime.
//!
//! Every line of the file is a command to the case it belongs to. When all are answered, the
//! program stops the runtime and closes the store, opens and starts both again, and compares
//! every case with what it was before.

mod activity;
mod case;
mod file;
mod node;
mod replay;
mod report;

use std::{
    collections::BTreeSet,
    error::Error,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, builder::RangedU64ValueParser};
use dormouse::{
    cli::HistoryCommand,
    domain::AggregateId,
    settings::{Settings, StoreKind, StoreSettings, StoreUrl},
};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use file::Step;
use node::Node;
use replay::replay;

const EXAMPLES: &str = "\
Examples:
  cargo run --release --example permits
  cargo run --release --example permits -- --store sqlite://permits.db --case case-891
  cargo run --release --example permits -- events query --store sqlite://permits.db --id case-891

Run it twice on the same store: the second run has no effect, because each line of the file is
sent under an idempotency key of its own.

Exit codes:
  0  every step was taken, and every case is after the restart as it was before
  1  it failed, or a case differs; stderr says which
  2  bad usage";

/// Replays a real municipality's permit process, restarts, and compares every case.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Options {
    /// Keep the events at `sqlite://FILE` or `postgres://…`; without it, in a temporary SQLite file.
    #[arg(long, value_name = "URL", global = true)]
    store: Option<StoreUrl>,
    /// Take the steps from this CSV file instead of the one beside the example.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send with this many callers at once, each waiting for its answer: 1 to 1000.
    #[arg(long, default_value = "32", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    callers: usize,
    /// Print the history of this case; without it, of the one with the most steps.
    #[arg(long, value_name = "CASE")]
    case: Option<AggregateId>,
    /// Read what an earlier run left in the store, instead of replaying the file.
    #[command(subcommand)]
    read: Option<HistoryCommand>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    if let Some(command) = options.read {
        let url = options.store.ok_or("name the store to read with --store")?;
        command.run(&settings_of(url), node::register, &[]).await?;
        return Ok(());
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/permits.csv");
    let steps = file::read(&options.file.unwrap_or(beside))?;
    let ids: BTreeSet<AggregateId> = steps.iter().map(|step| step.case_id.clone()).collect();
    let ids: Vec<AggregateId> = ids.into_iter().collect();
    let shown = shown(&steps, &ids, options.case)?;
    let (settings, _temporary) = settings(options.store)?;

    let node = Node::start(&settings).await?;
    say(&format!("{:<10}{}\n", "store", settings.store.url))?;
    let progress = progress(steps.len())?;
    let replayed = replay(&node.cases, steps, options.callers, &progress).await;
    progress.finish_and_clear();
    let replayed = replayed?;
    let before = node.states(&ids, options.callers).await?;
    node.stop().await?;

    let node = Node::start(&settings).await?;
    let after = node.states(&ids, options.callers).await?;
    let log = node.log().await?;
    let history = node.history(&shown).await?;
    node.stop().await?;

    say(&report::figures(&replayed, options.callers, &after, &log))?;
    say(&report::recovered(&before, &after)?)?;
    if let Some(at) = after.get(&shown) {
        say(&format!("\n{}", report::history(&shown, at, &history)))?;
    }
    Ok(())
}

/// Prints text; a reader who has seen enough, such as `head`, is no failure.
fn say(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The case whose history is printed.
fn shown(
    steps: &[Step],
    ids: &[AggregateId],
    wanted: Option<AggregateId>,
) -> Result<AggregateId, Box<dyn Error>> {
    if let Some(wanted) = wanted {
        return match ids.binary_search(&wanted) {
            Ok(_) => Ok(wanted),
            Err(_) => Err(format!("the file has no case {wanted}").into()),
        };
    }
    let mut counts = vec![0_usize; ids.len()];
    for step in steps {
        if let Ok(index) = ids.binary_search(&step.case_id) {
            counts[index] += 1;
        }
    }
    let longest = ids.iter().zip(counts).max_by_key(|(_, count)| *count);
    let (longest, _) = longest.ok_or("the file has no case")?;
    Ok(longest.clone())
}

/// The settings for a store; the directory of a temporary one lives as long as it is held.
fn settings(url: Option<StoreUrl>) -> Result<(Settings, Option<TempDir>), Box<dyn Error>> {
    let (url, temporary) = match url {
        Some(url) if url.kind() == StoreKind::Memory => {
            return Err("memory:// forgets everything at the restart; name another store".into());
        }
        Some(url) => (url, None),
        None => {
            let directory = tempfile::tempdir()?;
            let file = directory.path().join("permits.db");
            (
                format!("sqlite://{}", file.display()).parse()?,
                Some(directory),
            )
        }
    };
    Ok((settings_of(url), temporary))
}

fn settings_of(url: StoreUrl) -> Settings {
    Settings {
        store: StoreSettings {
            url,
            ..StoreSettings::default()
        },
        ..Settings::default()
    }
}

/// A bar on stderr; nothing where stderr is no terminal.
fn progress(steps: usize) -> Result<ProgressBar, Box<dyn Error>> {
    let style = "{bar:40} {human_pos} of {human_len} steps, {per_sec}, {eta} left";
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}
