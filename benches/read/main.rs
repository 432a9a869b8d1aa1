//! The read bench: how fast a log is read, as a whole and by questions.
//!
//! It fills a store, then measures each way of reading it alone: nothing is written meanwhile.
//! Every answer is checked: a page that misses an event is no figure.

mod ledger;
mod log;
mod measure;
mod report;
mod rows;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, builder::RangedU64ValueParser};
use dormouse::settings::{Settings, StoreUrl};
use tempfile::TempDir;

use report::Figure;

const ABOUT: &str = "\
Fills a log, then reads it, and prints what it measured.

subscription  the whole log through a subscription, in pages, one after another
projection    the whole log into a read model with one row for each event
audit         a page of 100 events found by each filter, the newest first and the oldest first
time travel   the state of one aggregate of many events at versions drawn at random";

const EXAMPLES: &str = "\
Examples:
  cargo bench --bench read
  cargo bench --bench read -- --store postgres://app@localhost/app --json
  cargo bench --bench read -- --events 100000 --store sqlite://read.db

The store should be new: what it holds already is read too. On PostgreSQL the log is vacuumed once
it is filled, as autovacuum does within minutes: it is what summarises new pages for the index of times.

Exit codes:
  0  every answer was right
  1  something failed, or an answer was wrong; stderr says what
  2  bad usage";

#[derive(Debug, Parser)]
#[command(name = "read", bin_name = "cargo bench --bench read --", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    /// `sqlite://FILE` or `postgres://…`; without it, a temporary SQLite file.
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Events in the log: 1000 to 100000000.
    #[arg(long, default_value = "1000000", value_parser = number(1000, 100_000_000))]
    events: u64,
    /// Events of the aggregate whose past states are read: 100 to 1000000.
    #[arg(long, default_value = "10000", value_parser = number(100, 1_000_000))]
    history: u64,
    /// How often each question is asked: 1 to 100000.
    #[arg(long, default_value = "200", value_parser = number(1, 100_000))]
    asked: u64,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Cargo passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn number(least: u64, most: u64) -> RangedU64ValueParser<u64> {
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

/// Everything once, on a small log: enough to see that it runs and answers right.
fn smoke() -> Result<(), Box<dyn Error>> {
    let options = Options::try_parse_from(["read", "--events=2000", "--history=300", "--asked=2"])?;
    let mut figures = 0;
    run(&options, |_| {
        figures += 1;
        Ok(())
    })?;
    println!(
        "read: {figures} ways to read 2000 events, all answered right; `cargo bench` measures"
    );
    Ok(())
}

fn bench(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut head = (!options.json).then(Figure::head);
    run(options, |figure| {
        let mut out = io::stdout().lock();
        if let Some(head) = head.take() {
            writeln!(out, "{head}")?;
        }
        let line = if options.json {
            serde_json::to_string(figure)?
        } else {
            figure.row()
        };
        Ok(writeln!(out, "{line}")?)
    })
}

/// Fills the store, reads it in each way and hands on the figures.
fn run(
    options: &Options,
    mut with: impl FnMut(&Figure) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (url, _temporary) = url(options.store.clone())?;
    let mut settings = Settings::default();
    settings.store.url = url;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let store = dormouse::store::open(&settings.store).await?;
        let kind = settings.store.url.kind();
        let filled = log::fill(&*store, options.events).await?;
        log::settle(&settings.store.url).await?;
        with(&measure::subscription(&store, &settings, kind, options.events).await?)?;
        with(&measure::projection(&store, &settings, kind).await?)?;
        for question in log::questions(&filled)? {
            with(&measure::audit(&*store, kind, &question, options.asked).await?)?;
        }
        with(&measure::time_travel(&store, &settings, options.history, options.asked).await?)?;
        store.close().await;
        Ok(())
    })
}

/// The store's URL; the directory of a temporary one lives as long as it is held.
fn url(wanted: Option<StoreUrl>) -> Result<(StoreUrl, Option<TempDir>), Box<dyn Error>> {
    if let Some(url) = wanted {
        return Ok((url, None));
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("read.db");
    let url: StoreUrl = format!("sqlite://{}", file.display()).parse()?;
    Ok((url, Some(directory)))
}
