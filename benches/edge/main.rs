//! The edge bench: what it costs to know who asks, and what a crowd of connections that are idle or slow
//! does to the clients that work.
//!
//! `auth` compares the rate of one server that asks nobody who it is with two that do, by API keys and by
//! JWTs. `crowd` compares the latencies of the same clients without the crowd and beside it. Every round
//! measures all sides one after another, so that a machine that becomes slower does so for all of them.

mod auth;
mod crowd;
mod load;
#[allow(
    dead_code,
    clippy::expect_used,
    reason = "it is the chaos bench's: that one uses more of it, and nothing fails without a word"
)]
#[path = "../chaos/node.rs"]
mod node;
mod report;
mod servers;
#[allow(clippy::expect_used, reason = "it is the tests'")]
mod support;
mod wire;

use std::{error::Error, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum, builder::RangedU64ValueParser};

const ABOUT: &str = "\
Starts the real server on temporary SQLite files and asks it over loopback; every answer is checked.

auth   the rate of a closed loop: no authentication, API keys, JWTs
crowd  the latencies of a fixed schedule, alone and beside idle and slow connections; a request that
       is sent late, since the one before it was answered late, counts from when it was due

Clients and server share the machine, so rates are no server's best; the ratios are what is measured.";

const EXAMPLES: &str = "\
Examples:
  cargo bench --bench edge
  cargo bench --bench edge -- --what auth --seconds 8 --rounds 7 --json
  cargo bench --bench edge -- --what crowd --idle 2000 --slow 200

Beside 2,000 connections a process needs as many descriptors: `ulimit -n 8192` where that is less.

Exit codes:
  0  every answer was right
  1  an answer was wrong, or a crowd was not there; stderr says what
  2  bad usage";

/// Why a figure is none.
type Failed = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "edge", bin_name = "cargo bench --bench edge --", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    /// What to measure.
    #[arg(long, value_enum, default_value = "all")]
    what: What,
    /// What clients ask for.
    #[arg(long, value_enum, default_value = "all")]
    work: Wanted,
    /// Connections of the clients that work: 1 to 10000.
    #[arg(long, default_value = "64", value_parser = number(1, 10_000))]
    connections: usize,
    /// Seconds of each measurement: 1 to 3600.
    #[arg(long, default_value = "5", value_parser = number(1, 3600))]
    seconds: usize,
    /// How often each is measured: 1 to 100.
    #[arg(long, default_value = "5", value_parser = number(1, 100))]
    rounds: usize,
    /// Requests a second beside a crowd: 1 to 1000000.
    #[arg(long, default_value = "1000", value_parser = number(1, 1_000_000))]
    rate: usize,
    /// Idle connections of the crowd: 0 to 100000.
    #[arg(long, default_value = "2000", value_parser = number(0, 100_000))]
    idle: usize,
    /// Connections of the crowd that send a byte a second, of a head or of a body: 0 to 100000.
    #[arg(long, default_value = "200", value_parser = number(0, 100_000))]
    slow: usize,
    /// Print one JSON object a line instead of tables.
    #[arg(long)]
    json: bool,
    /// Cargo passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Auth,
    Crowd,
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    Read,
    Update,
    All,
}

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Work {
    /// The state of an aggregate that is live: the cheapest request, so that what comes on top shows most.
    Read,
    /// A command that stores an event.
    Update,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
        }
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
struct Amount {
    connections: usize,
    time: Duration,
    rounds: usize,
}

/// Who is there beside the clients that work.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    idle: usize,
    slow: usize,
}

fn number(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

fn main() -> ExitCode {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    // `cargo test` runs benches too, with arguments that are for tests: then a glance must do.
    let glance = ["edge", "--connections=4", "--seconds=1", "--rounds=1"];
    let small = ["--rate=200", "--idle=40", "--slow=10", "--work=read"];
    let options = if has("--bench") || has("--help") {
        Options::parse()
    } else {
        Options::parse_from(glance.iter().chain(&small))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(measure(&options)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", dormouse::domain::error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<(), Failed> {
    let amount = Amount {
        connections: options.connections,
        time: Duration::from_secs(options.seconds as u64),
        rounds: options.rounds,
    };
    let works: &[Work] = match options.work {
        Wanted::Read => &[Work::Read],
        Wanted::Update => &[Work::Update],
        Wanted::All => &[Work::Read, Work::Update],
    };
    if options.what != What::Crowd {
        report::auth(&auth::measure(works, amount).await?, options.json)?;
    }
    if options.what != What::Auth {
        let crowd = Crowd {
            idle: options.idle,
            slow: options.slow,
        };
        let figures = crowd::measure(works, amount, options.rate, crowd).await?;
        report::crowd(&figures, crowd, options.json)?;
    }
    Ok(())
}
