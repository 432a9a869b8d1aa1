//! The chaos run: callers at work, one fault after another, a quiet end, and the judge.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::{
    after,
    caller::{Callers, Hot},
    check,
    directory::{self, Directory},
    faults::Fault,
    history::Line,
    legacy::Legacy,
    place::{Place, Wanted},
    record::Record,
    rows,
    subscribers::Subscribers,
    support::postgres::Cluster,
    world::World,
};

/// A fault after which no command succeeds for so long is a finding.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at the database.
const WATCH: Duration = Duration::from_millis(100);
/// Without a fault, at the end.
const QUIET: Duration = Duration::from_secs(2);

/// How much of what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) store: Wanted,
    pub(crate) nodes: usize,
    pub(crate) callers: u32,
    pub(crate) hot: Hot,
    pub(crate) seed: u64,
    /// The faults that are drawn from.
    pub(crate) faults: Vec<Fault>,
    pub(crate) until: Until,
    pub(crate) history: PathBuf,
    /// Another binary than the one beside this bench.
    pub(crate) server: Option<PathBuf>,
    /// Whether every fault is told on stderr as it is made.
    pub(crate) loud: bool,
}

/// When a run has had enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    Faults(usize),
}

/// Runs a plan, and gives what came of it.
pub(crate) async fn run(plan: &Plan) -> Record {
    let place = Place::open(&plan.store, plan.faults.contains(&Fault::DiskFull)).await;
    let world = Arc::new(World::new(place, plan).await);
    world.history.write(&Line::Run {
        run: world.run,
        seed: plan.seed,
        what: format!("{plan:?}"),
        rows: world.has_rows,
    });
    let mut record = Record::default();
    let faults = possible(plan, &world, &mut record);
    if world.has_rows {
        rows::create(&world.place).await;
    }
    world.start().await;
    directory::create_users(&world).await;
    let callers = Callers::start(&world, plan);
    let subscribers = Subscribers::start(&world, plan.seed);
    let legacy = Legacy::start(&world, plan.seed);
    let directory = Directory::start(&world, plan.seed);
    rage(plan, &world, &faults, &mut record).await;
    sleep(QUIET).await;
    let surprises = tokio::select! {
        surprises = callers.stop(RECOVERY_LIMIT) => surprises,
        () = watch(&world) => unreachable!("it watches for ever"),
    };
    if surprises.unended > 0 {
        let unended = surprises.unended;
        let finding = format!("{unended} callers never learnt what became of a command");
        record.findings.push(finding);
    }
    let surprises = surprises.answers;
    if surprises > 0 {
        let finding = format!("{surprises} answers that no client should get");
        record.findings.push(finding);
    }
    record.outside = legacy.stop(&world).await;
    if record.outside == Some(0) {
        let finding = "the program beside the servers could write nothing";
        record.findings.push(finding.to_owned());
    }
    record.rebuilds = directory.stop().await;
    let unread = directory::read_at_last(&world, RECOVERY_LIMIT).await;
    record.findings.extend(unread);
    let behind = subscribers.catch_up(&world, RECOVERY_LIMIT).await;
    record.findings.extend(behind);
    end(&world, &mut record).await;
    judge("at the end", &world, &plan.history, &mut record).await;
    world.start().await;
    if directory::rebuild(&world, &["--wait"]).await {
        record.rebuilds += 1;
    } else {
        let finding = "the directory cannot be built anew though all is well";
        record.findings.push(finding.to_owned());
    }
    after::look_again(&world, &plan.history).await;
    let unread = directory::read_at_last(&world, RECOVERY_LIMIT).await;
    record.findings.extend(unread);
    end(&world, &mut record).await;
    judge("after a restart", &world, &plan.history, &mut record).await;
    record
}

fn possible(plan: &Plan, world: &World, record: &mut Record) -> Vec<Fault> {
    let mut faults = Vec::new();
    for fault in &plan.faults {
        match fault.possible(world) {
            Ok(()) => faults.push(*fault),
            Err(reason) => record.not_run(*fault, reason),
        }
    }
    faults
}

/// One fault after another, as the seed draws them; each is over when a command succeeds again.
async fn rage(plan: &Plan, world: &World, faults: &[Fault], record: &mut Record) {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let began = Instant::now();
    let enough = |record: &Record| match plan.until {
        Until::Elapsed(limit) => began.elapsed() >= limit,
        Until::Faults(count) => record.count() >= count,
    };
    if faults.is_empty() {
        return;
    }
    while !enough(record) {
        let fault = draw(faults, &mut random);
        world.note_fault(&fault.name());
        let made = fault.make(world, &mut random).await;
        world.note_fault(&format!("{} is over", fault.name()));
        let Some(over) = made else {
            record.missed(fault);
            continue;
        };
        let recovery = world.recovery(over.node, over.since);
        let recovered = tokio::select! {
            recovered = timeout(RECOVERY_LIMIT, recovery) => recovered,
            () = watch(world) => unreachable!("it watches for ever"),
        };
        let Ok(Ok(took)) = recovered else {
            let logs: Vec<String> = world
                .nodes
                .iter()
                .map(|node| last_lines(&node.log()))
                .collect();
            let finding = format!(
                "nothing succeeds after {}:\n{}",
                fault.name(),
                logs.join("\n")
            );
            record.findings.push(finding);
            return;
        };
        if plan.loud {
            let (name, count) = (fault.name(), record.count() + 1);
            let acknowledged = world.acknowledgements();
            let took_ms = took / 1_000_000;
            eprintln!("{count:>6} {name:<20} {took_ms:>6} ms, {acknowledged} acknowledged");
        }
        record.made(fault, took);
        revive(world, fault, record).await;
        sleep(Duration::from_millis(random.random_range(10..150))).await;
    }
}

/// Starts a database that gave up, as whoever runs one does: PostgreSQL ends where it cannot recover.
async fn watch(world: &World) {
    loop {
        sleep(WATCH).await;
        let ours = world.place.cluster.is_some();
        if ours && world.place.with_cluster(Cluster::pid).await.is_none() {
            world.place.with_cluster(Cluster::start_again).await;
        }
    }
}

fn draw(faults: &[Fault], random: &mut StdRng) -> Fault {
    let total: u32 = faults.iter().map(|fault| fault.weight()).sum();
    let mut drawn = random.random_range(0..total);
    for fault in faults {
        match drawn.checked_sub(fault.weight()) {
            Some(rest) => drawn = rest,
            None => return *fault,
        }
    }
    faults[0]
}

/// A node that ended though nobody ended it is a finding.
async fn revive(world: &World, after: Fault, record: &mut Record) {
    for (number, node) in world.nodes.iter().enumerate() {
        if let Some(status) = node.ended() {
            let log = last_lines(&node.log());
            let name = after.name();
            record.findings.push(format!(
                "node {number} ended ({status}) after {name}:\n{log}"
            ));
            node.kill().await;
            node.start().await;
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Asks all nodes to end: each must have answered what it took.
async fn end(world: &World, record: &mut Record) {
    for node in &world.nodes {
        let status = node.terminate().await;
        if status.and_then(|status| status.code()) != Some(0) {
            let log = last_lines(&node.log());
            record.findings.push(format!("a node ended badly:\n{log}"));
        }
    }
}

async fn judge(when: &str, world: &World, history: &Path, record: &mut Record) {
    let store = world.place.store().await;
    let verdict = check::check(history, &*store).await;
    store.close().await;
    record.verdicts.push((when.to_owned(), verdict));
}
