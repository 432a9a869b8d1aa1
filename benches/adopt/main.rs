//! The adoption bench: how fast rows get their first event, and are held against their events, and
//! how fast the log of another system comes in.
//!
//! It makes the tables of an existing system in the store's database, fills them, and runs what
//! `dormouse adopt`, `dormouse verify` and `dormouse import` run. Every sum is checked: a row that
//! is left out is no figure.

mod import;
mod memory;
mod table;

use std::{
    error::Error,
    num::NonZeroUsize,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use clap::{Parser, builder::RangedU64ValueParser};
use dormouse::{
    adoption::{AdoptOptions, Adoption, VerifyOptions},
    iam,
    settings::{Settings, StoreUrl},
    store,
};
use serde_json::json;
use tempfile::TempDir;

const ABOUT: &str = "\
Fills sys_user and sys_user_role, adopts the rows and verifies them, imports events of another
system, and prints what it measured.

adopt   each row gets its first event, its claims and its track, in batches of one transaction
again   a second run, which finds nothing left to do
verify  each row is compared with the fold of its events, one page for each core at once
import  the program `dormouse import` checks a file of events, ten of each aggregate, and stores them";

const EXAMPLES: &str = "\
Examples:
  cargo bench --bench adopt
  cargo bench --bench adopt -- --store postgres://app@localhost/app --rows 1000000 --json

The database must have neither dormouse's tables nor sys_user: both are made.

Exit codes:
  0  every row was adopted and agrees
  1  something failed, or a sum was wrong; stderr says what
  2  bad usage";

#[derive(Debug, Parser)]
#[command(name = "adopt", bin_name = "cargo bench --bench adopt --", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    /// `sqlite://FILE` or `postgres://…`; without it, a temporary SQLite file.
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Rows: 1 to 10000000.
    #[arg(long, default_value = "100000", value_parser = number(1, 10_000_000))]
    rows: u64,
    /// Events to import: 0 to 10000000.
    #[arg(long, default_value = "100000", value_parser = number(0, 10_000_000))]
    events: u64,
    /// Rows in a batch: 1 to 10000.
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Pages verified at once [default: one for each core].
    #[arg(long)]
    parallel: Option<NonZeroUsize>,
    /// Print one JSON object a line instead of words.
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
    let options = if has("--bench") || has("--help") {
        Options::parse()
    } else {
        Options::parse_from(["adopt", "--rows", "100", "--events", "100"])
    };
    let outcome = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(bench(&options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", dormouse::domain::error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> Result<(), Box<dyn Error>> {
    let scratch = TempDir::new()?;
    let file = scratch.path().join("adopt.db");
    let mut settings = Settings::default();
    settings.store.url = match &options.store {
        Some(url) => url.clone(),
        None => format!("sqlite://{}", file.display()).parse()?,
    };
    let store = store::open(&settings.store).await?;
    table::fill(&settings.store.url, options.rows).await?;
    let builder = Adoption::builder(Arc::clone(&store)).settings(settings.clone());
    let adoption = iam::adoption(builder).build()?;
    measure(options, &settings, &adoption).await?;
    let before = store.last_position().await?;
    store.close().await;
    measure_import(options, &settings, &scratch.path().join("events.jsonl"))?;
    let store = store::open(&settings.store).await?;
    let imported = store.last_position().await?.get() - before.get();
    store.close().await;
    if imported != options.events {
        return Err(format!("import: {imported} of {} events", options.events).into());
    }
    Ok(())
}

fn measure_import(
    options: &Options,
    settings: &Settings,
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    if options.events == 0 {
        return Ok(());
    }
    import::write(file, options.events)?;
    let (took, peak) = import::run(file, &settings.store.url)?;
    figure(options, settings, ("import", options.events), took, peak);
    Ok(())
}

async fn measure(
    options: &Options,
    settings: &Settings,
    adoption: &Adoption,
) -> Result<(), Box<dyn Error>> {
    let tell = |measured: &str, took: Duration, from_here: bool| {
        let peak = memory::peak_mib().filter(|_| from_here);
        figure(options, settings, (measured, options.rows), took, peak);
    };
    let adopting = AdoptOptions {
        batch: options.batch,
        dry_run: false,
    };
    for (measured, adopts) in [("adopt", options.rows), ("again", 0)] {
        let from_here = memory::forget_peak();
        let started = Instant::now();
        let done = adoption.adopt("User", adopting, |_| {}).await?;
        tell(measured, started.elapsed(), from_here);
        if (done.adopted, done.refused) != (adopts, 0) {
            return Err(format!("{measured}: {done:?}").into());
        }
    }
    table::settle(&settings.store.url).await?;
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let verifying = VerifyOptions {
        parallel: options.parallel.unwrap_or(cores).get(),
        ..VerifyOptions::default()
    };
    let from_here = memory::forget_peak();
    let started = Instant::now();
    let done = adoption.verify("User", verifying, |_| {}).await?;
    tell("verify", started.elapsed(), from_here);
    if (done.compared, done.drifted) != (options.rows, 0) {
        return Err(format!("verify: {done:?}").into());
    }
    Ok(())
}

fn figure(
    options: &Options,
    settings: &Settings,
    (measured, count): (&str, u64),
    took: Duration,
    peak: Option<u64>,
) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let per_second = (f64::from(count) / took.as_secs_f64()).round();
    let what = if measured == "import" {
        "events"
    } else {
        "rows"
    };
    let store = format!("{:?}", settings.store.url.kind()).to_lowercase();
    if options.json {
        let line = json!({
            "bench": "adopt", "store": store, "measured": measured, (what): count,
            "batch": options.batch, "seconds": took.as_secs_f64(), "per_second": per_second,
            "peak_mib": peak,
        });
        println!("{line}");
        return;
    }
    let peak = peak.map_or_else(String::new, |peak| format!(", {peak} MiB at most"));
    println!(
        "{measured} of {count} {what} on {store}: {:.2} s, {per_second:.0} {what}/s{peak}",
        took.as_secs_f64()
    );
}
