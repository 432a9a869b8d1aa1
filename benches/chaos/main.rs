//! The chaos bench: real servers, real databases and real faults, and a judge over all of it.
//!
//! It tries to make dormouse lose, invent, double, reorder or hide an event. What callers heard is
//! on disk, outside the system; afterwards the judge holds it against the database.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a harness stops at the first thing that goes wrong with itself; faults come in groups"
)]

mod after;
mod caller;
mod chaos;
mod check;
mod directory;
mod faults;
mod flushes;
mod history;
mod legacy;
mod node;
mod overload;
mod place;
mod proxy;
mod record;
mod rows;
mod strace;
mod subscribers;
mod support;
mod tmpfs;
mod world;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use caller::Hot;
use chaos::{Plan, Until};
use faults::Fault;
use place::{Kind, Wanted};

const ABOUT: &str = "\
Tries to make dormouse lose, invent, double, reorder or hide an event.

It starts real servers on a real database, lets 64 callers work over HTTP, makes one fault after
another as the seed draws them, and then holds all that callers were told against the database,
twice: at the end, and after a restart.";

const EXAMPLES: &str = "\
Examples:
  cargo bench --bench chaos -- run --store postgres --minutes 10 --nodes 3 --seed 1
  cargo bench --bench chaos -- run --store sqlite --minutes 10 --seed 1
  cargo bench --bench chaos -- run --store postgres --only kill-node,stop-database --faults 100
  cargo bench --bench chaos -- check --history chaos.jsonl --store postgres://localhost/app

Some faults need root (disk-full mounts a small file system), strace (flush-error, slow-flush) or
libfaketime (clock-jump): where one cannot be made it is told as NOT RUN, never as passed.

Exit codes:
  0  every promise was kept
  1  one was not; stdout says which
  2  bad usage";

#[derive(Debug, Parser)]
#[command(name = "chaos", bin_name = "cargo bench --bench chaos --", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    proof: Proof,
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Cargo passes it to every bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Proof {
    /// Callers at work, and one fault after another.
    Run(RunOptions),
    /// The order of durability: no success is told before its flush.
    Flushes {
        /// Commands of each of six callers.
        #[arg(long, default_value = "300")]
        commands: usize,
        /// Another binary of the server than the one built with this bench.
        #[arg(long, value_name = "FILE")]
        server: Option<PathBuf>,
    },
    /// Ten times the callers that a node takes.
    Overload {
        /// How long, on either store.
        #[arg(long, default_value = "60")]
        seconds: u64,
        /// Another binary of the server than the one built with this bench.
        #[arg(long, value_name = "FILE")]
        server: Option<PathBuf>,
    },
    /// A server that answers before it flushes, for the proof that this is found.
    #[command(hide = true)]
    ServeUnflushed {
        #[arg(long)]
        store: String,
        #[arg(long)]
        bind: SocketAddr,
    },
    /// Hold a history against a database once more.
    Check {
        /// What callers heard.
        #[arg(long, value_name = "FILE", default_value = "chaos.jsonl")]
        history: PathBuf,
        /// The database, that no server uses at the time.
        #[arg(long, value_name = "URL")]
        store: Wanted,
    },
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    /// `sqlite` or `postgres` for a throwaway one, or a URL.
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    store: Wanted,
    /// How long faults are made.
    #[arg(long, default_value = "10")]
    minutes: f64,
    /// Make so many faults instead, however long that takes.
    #[arg(long, conflicts_with = "minutes")]
    faults: Option<usize>,
    /// What the schedule and the commands are drawn from; without it, a number of chance.
    #[arg(long)]
    seed: Option<u64>,
    /// Servers on one PostgreSQL database; on SQLite there is one.
    #[arg(long, default_value = "3")]
    nodes: usize,
    /// Callers at a time.
    #[arg(long, default_value = "64")]
    callers: u32,
    /// What many callers work on at a time.
    #[arg(long, value_enum, default_value = "users")]
    hot: Hot,
    /// Only these faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Where what callers hear is written down.
    #[arg(long, value_name = "FILE", default_value = "chaos.jsonl")]
    history: PathBuf,
    /// Another binary of the server than the one built with this bench.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    if has("serve-unflushed")
        && let Proof::ServeUnflushed { store, bind } = Options::parse().proof
    {
        flushes::serve_unflushed(&store, bind);
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tried = check::trials().await;
        let tried = tried.expect("the judge is fit to judge");
        eprintln!("the judge saw {tried} of {tried} histories that are wrong on purpose");
        // `cargo test` runs benches too, with arguments that are for tests.
        if has("--bench") || has("--help") {
            prove(Options::parse()).await
        } else {
            smoke().await
        }
    })
}

async fn prove(options: Options) -> ExitCode {
    match options.proof {
        Proof::Run(run) => {
            let plan = plan(run);
            eprintln!("seed {}", plan.seed);
            let record = chaos::run(&plan).await;
            if options.json {
                println!("{}", record.json());
            } else {
                print!("{record}");
            }
            code(record.is_good())
        }
        Proof::Flushes { commands, server } => {
            code(flushes::prove(commands, server.as_deref()).await)
        }
        Proof::Overload { seconds, server } => {
            let duration = Duration::from_secs(seconds);
            code(overload::prove(duration, server.as_deref()).await)
        }
        Proof::ServeUnflushed { .. } => unreachable!("it was served before"),
        Proof::Check { history, store } => {
            let place = place::Place::open(&store, false).await;
            let store = place.store().await;
            let verdict = check::check(&history, &*store).await;
            println!("{verdict:#?}");
            code(verdict.violations == 0)
        }
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn plan(run: RunOptions) -> Plan {
    let faults = if run.only.is_empty() {
        Fault::ALL.to_vec()
    } else {
        run.only
    };
    let sqlite = matches!(&run.store, Wanted::Throwaway(Kind::Sqlite))
        || matches!(&run.store, Wanted::Url(url) if url.starts_with("sqlite"));
    Plan {
        nodes: if sqlite { 1 } else { run.nodes.max(1) },
        store: run.store,
        callers: run.callers,
        hot: run.hot,
        seed: run.seed.unwrap_or_else(rand::random),
        faults,
        until: match run.faults {
            Some(count) => Until::Faults(count),
            None => Until::Elapsed(Duration::from_secs_f64(run.minutes * 60.0)),
        },
        history: run.history,
        server: run.server,
        loud: true,
    }
}

/// A small dose on either store, for `cargo test`: how much, `DORMOUSE_TEST_SCALE` says, and from
/// which seed, `DORMOUSE_TEST_SEED`. With `DORMOUSE_CHAOS_MINUTES` it is so many minutes of faults
/// instead, over both stores.
async fn smoke() -> ExitCode {
    let number = |name: &str| {
        let set = std::env::var(name).ok()?;
        Some(set.parse::<u64>().expect("a whole number"))
    };
    let minutes = std::env::var("DORMOUSE_CHAOS_MINUTES").ok();
    let minutes = minutes.map(|minutes| minutes.parse::<f64>().expect("a number"));
    let scale = number("DORMOUSE_TEST_SCALE").unwrap_or(1);
    let seed = number("DORMOUSE_TEST_SEED").unwrap_or_else(rand::random);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut good = true;
    for (kind, nodes, faults) in [(Kind::Sqlite, 1, 8), (Kind::Postgres, 2, 12)] {
        let count = faults * usize::try_from(scale).expect("it fits");
        let until = match minutes {
            Some(minutes) => Until::Elapsed(Duration::from_secs_f64(minutes * 30.0)),
            None => Until::Faults(count),
        };
        println!("chaos on {kind:?}; DORMOUSE_TEST_SEED={seed} draws the same schedule again");
        let plan = Plan {
            store: Wanted::Throwaway(kind),
            nodes,
            callers: 16,
            hot: Hot::Users,
            seed,
            faults: Fault::ALL.to_vec(),
            until,
            history: directory.path().join("history.jsonl"),
            server: None,
            loud: false,
        };
        let record = chaos::run(&plan).await;
        println!("{record}");
        good &= record.is_good();
    }
    if minutes.is_none() {
        good &= flushes::prove(20, None).await;
        good &= overload::prove(Duration::from_secs(2 * scale), None).await;
    }
    code(good)
}
