//! The load bench: how many commands a second, and how long each waits for its answer.
//!
//! It compares the stores with each other, and `spread` (many aggregates) with `hot` (one). Every
//! answer is checked, and so is the log at the end: a fast wrong answer is no figure.

mod account;
mod caller;
mod check;
mod compare;
mod plan;
mod report;
mod run;
mod table;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, ValueEnum, builder::RangedU64ValueParser};
use dormouse::{
    settings::{Mode, Settings, StoreUrl},
    store,
};
use tempfile::TempDir;

use plan::{Extras, Plan, Workload};
use report::Figures;

const ABOUT: &str = "\
Puts load on an embedded runtime, checks every answer and the log, and prints what it measured.

spread  many aggregates, a create and some updates each, in an order that mixes aggregates
hot     one aggregate that all callers update

Accounts are kept in events, in rows of a table that the bench makes (state-only), or in both.
Where several modes are given, every round runs each of them, in the other order in every second
round, and at the end each is held against the first, round by round.

The load is a closed loop: each caller sends its next command when the last is answered. So
throughput is that of `--callers` waiting clients, and a stall is seen by one command of each
caller only: the percentiles hide the tail that clients with a schedule of their own would see.";

const EXAMPLES: &str = "\
Examples:
  cargo bench --bench load
  cargo bench --bench load -- --store postgres://app@localhost/app --callers 256 --json
  cargo bench --bench load -- --store memory:// --workload hot --keys
  cargo bench --bench load -- --mode event-sourced,dual-write --rounds 5

A log that holds events already will do: ids carry a prefix of the run's own.

Exit codes:
  0  every answer was right
  1  a command failed, or an answer or the log was wrong; stderr says what
  2  bad usage";

#[derive(Debug, Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    /// `sqlite://FILE`, `postgres://…` or `memory://`; without it, a temporary SQLite file.
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// What to run.
    #[arg(long, value_enum, default_value = "all")]
    workload: Wanted,
    /// How accounts are kept; several, with commas, are measured beside each other on one store.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "event-sourced"
    )]
    mode: Vec<Kept>,
    /// How often all is run: 1 to 1000.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Callers at a time: 1 to 100000.
    #[arg(long, default_value = "64", value_parser = number(1, 100_000))]
    callers: usize,
    /// Aggregates of `spread`: 1 to 10000000.
    #[arg(long, default_value = "10000", value_parser = number(1, 10_000_000))]
    aggregates: usize,
    /// Updates of each aggregate of `spread`, after its create: 0 to 1000000.
    #[arg(long, default_value = "4", value_parser = number(0, 1_000_000))]
    updates: usize,
    /// Updates of the one aggregate of `hot`: 1 to 100000000.
    #[arg(long, default_value = "50000", value_parser = number(1, 100_000_000))]
    hot_updates: usize,
    #[command(flatten)]
    extras: Extras,
    /// Threads for the callers: 1 to 1024; the runtime has threads of its own beside them.
    #[arg(long, default_value = "1", value_parser = number(1, 1024))]
    threads: usize,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Cargo passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    Spread,
    Hot,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    EventSourced,
    DualWrite,
    StateOnly,
}

impl From<Kept> for Mode {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::EventSourced => Self::EventSourced,
            Kept::DualWrite => Self::DualWrite,
            Kept::StateOnly => Self::StateOnly,
        }
    }
}

fn number(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

fn main() -> ExitCode {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // `cargo test` runs benches too, with arguments that are for tests: then a glance must do.
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    let outcome = if has("--bench") || has("--help") {
        bench(&Options::parse())
    } else {
        smoke()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", dormouse::domain::error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Both workloads on memory, 200 commands in each mode: enough to see that they run.
fn smoke() -> Result<(), Box<dyn Error>> {
    let options = Options::try_parse_from([
        "load",
        "--store=memory://",
        "--callers=8",
        "--aggregates=20",
        "--hot-updates=100",
        "--mode=event-sourced,dual-write,state-only",
        "--rounds=2",
    ])?;
    let figures = for_each(&options, |_| Ok(()))?;
    let commands: u64 = figures.iter().map(Figures::commands).sum();
    let compared = compare::comparisons(&figures, &options.modes()).len();
    if (figures.len(), compared) != (12, 4) {
        return Err(format!("{} runs and {compared} comparisons", figures.len()).into());
    }
    println!("load: {commands} commands on memory, all answered right; `cargo bench` measures");
    Ok(())
}

fn bench(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut head = (!options.json).then(Figures::head);
    let figures = for_each(options, |figures| {
        if let Some(head) = head.take() {
            say(&head)?;
        }
        say(&if options.json {
            serde_json::to_string(figures)?
        } else {
            figures.row()
        })
    })?;
    for comparison in compare::comparisons(&figures, &options.modes()) {
        say(&if options.json {
            serde_json::to_string(&comparison)?
        } else {
            comparison.to_string()
        })?;
    }
    Ok(())
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}

/// Runs the wanted workloads, each on a runtime of its own, and hands on and gives their figures.
fn for_each(
    options: &Options,
    mut with: impl FnMut(&Figures) -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Figures>, Box<dyn Error>> {
    let callers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads)
        .enable_all()
        .build()?;
    let (url, _temporary) = url(options.store.clone())?;
    let mut settings = Settings::default();
    settings.store.url = url;
    callers.block_on(async {
        let store = store::open(&settings.store).await?;
        table::make(&settings.store.url).await?;
        let mut all = Vec::new();
        for plan in (1..=options.rounds).flat_map(|round| plans(options, round)) {
            let measured = run::run(&store, &settings, plan, options.extras).await?;
            let figures = Figures::new(&measured, settings.store.url.kind());
            with(&figures)?;
            all.push(figures);
        }
        store.close().await;
        Ok(all)
    })
}

impl Options {
    /// The wanted modes, each once, in the order in which they are named.
    fn modes(&self) -> Vec<Mode> {
        let mut modes = Vec::new();
        for mode in self.mode.iter().map(|kept| Mode::from(*kept)) {
            if !modes.contains(&mode) {
                modes.push(mode);
            }
        }
        modes
    }
}

/// What is run in one round. What runs later finds more in the store, so the modes take turns.
fn plans(options: &Options, round: u32) -> Vec<Plan> {
    let mut modes = options.modes();
    if round.is_multiple_of(2) {
        modes.reverse();
    }
    let plans = modes
        .into_iter()
        .flat_map(|mode| plans_in(options, mode, round));
    plans.collect()
}

fn plans_in(options: &Options, mode: Mode, round: u32) -> Vec<Plan> {
    let spread = Plan {
        workload: Workload::Spread,
        round,
        mode,
        callers: options.callers,
        aggregates: options.aggregates,
        updates: options.updates,
    };
    let hot = Plan {
        workload: Workload::Hot,
        round,
        mode,
        callers: options.callers,
        aggregates: 1,
        updates: options.hot_updates,
    };
    match options.workload {
        Wanted::Spread => vec![spread],
        Wanted::Hot => vec![hot],
        Wanted::All => vec![spread, hot],
    }
}

/// The store's URL; the directory of a temporary one lives as long as it is held.
fn url(wanted: Option<StoreUrl>) -> Result<(StoreUrl, Option<TempDir>), Box<dyn Error>> {
    if let Some(url) = wanted {
        return Ok((url, None));
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("load.db");
    let url: StoreUrl = format!("sqlite://{}", file.display()).parse()?;
    Ok((url, Some(directory)))
}
