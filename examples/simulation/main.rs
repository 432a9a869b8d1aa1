//! The simulation: the real runtime on one thread, in a time of its own, over a store in which
//! everything goes wrong that can, all of it drawn from a seed.
//!
//! `cargo run --release --example simulation -- --seeds 10000` runs seeds 0 to 9999;
//! `… -- --seed 17` runs one and tells everything that happened. The sizes of the tests grow with
//! `DORMOUSE_SIMULATION_SEEDS`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a simulation stops at the first surprise in itself"
)]

mod blows;
mod client;
mod drawing;
mod followers;
mod judging;
mod lies;
mod node;
mod outsiders;
mod plan;
mod row;
mod sending;
mod shrink;
mod stutter;
mod tally;
#[cfg(test)]
mod tests;
mod world;
mod wrong;

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use lies::Lie;
use plan::Plan;

/// Tries to make dormouse lose, invent, reorder or hide an event.
#[derive(Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed alone, and tell everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads that run seeds, each its own; one for each core where it is not said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Put a store that lies under it, to see it found.
    #[arg(long, value_enum)]
    lie: Option<Lie>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        return tell(seed, options.lie);
    }
    let began = Instant::now();
    let run = Run {
        next: AtomicU64::new(options.from),
        end: options.from + options.seeds,
        acknowledged: AtomicU64::new(0),
        events: AtomicU64::new(0),
        failed: Mutex::default(),
    };
    let jobs = options.jobs.unwrap_or_else(|| {
        let cores = std::thread::available_parallelism();
        cores.map_or(1, std::num::NonZero::get)
    });
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| run.work(options.lie));
        }
    });
    // The lowest of those that are known, so that it is the same with any number of threads.
    let failed = run.failed.into_inner().expect("no thread panics");
    if let Some(seed) = failed.into_iter().min() {
        eprintln!("{}", shrink::report(seed, options.lie));
        return ExitCode::FAILURE;
    }
    println!(
        "{} seeds from {}: nothing found; {} answers, {} events, {:.1?}",
        options.seeds,
        options.from,
        run.acknowledged.into_inner(),
        run.events.into_inner(),
        began.elapsed()
    );
    ExitCode::SUCCESS
}

/// Seeds that threads take one after the other, until one fails.
struct Run {
    next: AtomicU64,
    end: u64,
    acknowledged: AtomicU64,
    events: AtomicU64,
    failed: Mutex<Vec<u64>>,
}

impl Run {
    fn work(&self, lie: Option<Lie>) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                return;
            }
            let outcome = world::run(&Plan::draw(seed), lie);
            let count = |one: &AtomicU64, more: usize| {
                one.fetch_add(more as u64, Ordering::Relaxed);
            };
            count(&self.acknowledged, outcome.acknowledged);
            count(&self.events, outcome.events);
            if !outcome.findings.is_empty() {
                self.failed.lock().expect("no thread panics").push(seed);
                self.next.store(self.end, Ordering::Relaxed);
            }
        }
    }
}

fn tell(seed: u64, lie: Option<Lie>) -> ExitCode {
    let plan = Plan::draw(seed);
    let outcome = world::run(&plan, lie);
    println!("{plan}\n{}", outcome.trace.join("\n"));
    if outcome.findings.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", shrink::report(seed, lie));
    ExitCode::FAILURE
}
