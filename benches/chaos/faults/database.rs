//! Faults of the database, its disk, and those who use it beside us.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection, Executor, PgConnection,
    postgres::PgConnectOptions,
};
use tokio::time::sleep;

use super::{Fault, Over};
use crate::{
    strace::{self, Strace},
    support::postgres::Cluster,
    world::World,
};

/// How long a database that recovers may refuse.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);
const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where backend_type = 'client backend' and pid <> pg_backend_pid()";

pub(super) async fn make(fault: Fault, world: &World, random: &mut StdRng) -> Option<Over> {
    let since = match fault {
        Fault::StopDatabase => {
            world.place.with_cluster(Cluster::stop_immediate).await;
            sleep(Duration::from_millis(random.random_range(0..1500))).await;
            world.place.with_cluster(Cluster::start_again).await;
            world.history.now()
        }
        Fault::KillBackend => {
            let since = world.history.now();
            let pid = world.place.with_cluster(Cluster::pid).await?;
            let backends = backends(pid);
            let backend = *backends.choose(random)?;
            kill(Pid::from_raw(backend.cast_signed()), Signal::SIGKILL).ok()?;
            since
        }
        Fault::TerminateBackends => {
            world.place.cluster.as_ref()?;
            let mut connection = connected(&world.place.url).await;
            let ended = connection.execute(TERMINATE).await;
            ended.expect("a superuser may end backends");
            connection.close().await.ok();
            world.history.now()
        }
        Fault::DiskFull => {
            let disk = world.place.disk.as_ref().ok()?;
            disk.fill();
            sleep(Duration::from_millis(random.random_range(500..4000))).await;
            let since = world.history.now();
            disk.empty();
            since
        }
        Fault::FlushError => {
            let hold = Duration::from_millis(random.random_range(50..600));
            flushes(world, "error=EIO", hold).await?
        }
        Fault::SlowFlush => {
            let micros = random.random_range(20_000..400_000);
            let hold = Duration::from_millis(random.random_range(500..3000));
            flushes(world, &format!("delay_enter={micros}"), hold).await?
        }
        _ => foreign_transaction(world, random).await,
    };
    Some(Over { since, node: None })
}

/// A connection of somebody else's. After the last fault PostgreSQL may still be recovering, though
/// a command has succeeded since: it was answered before the server noticed what was done to it.
async fn connected(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL of ours");
    let began = Instant::now();
    loop {
        match options.connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(
                began.elapsed() < CONNECT_LIMIT,
                "the database comes back: {error}"
            ),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Lets every flush of the database meet something for a while. Nothing where none was met.
async fn flushes(world: &World, what: &str, hold: Duration) -> Option<u64> {
    let pids = if world.is_sqlite() {
        vec![world.nodes[0].pid()?]
    } else {
        let pid = world.place.with_cluster(Cluster::pid).await?;
        let mut pids = strace::children(pid);
        pids.push(pid);
        pids
    };
    let output = world.nodes[0].directory().join("flushes");
    let inject = format!("inject=fsync,fdatasync:{what}");
    let arguments = ["-e", "trace=fsync,fdatasync", "-e", &inject];
    let strace = Strace::attach(&pids, &arguments, &output).await;
    sleep(hold).await;
    strace.detach().await;
    let since = world.history.now();
    let met = strace::count(&output, "(INJECTED)") + strace::count(&output, "(DELAYED)");
    (met > 0).then_some(since)
}

/// Those of them that serve a client: PostgreSQL writes into their titles what they do.
fn backends(postmaster: u32) -> Vec<u32> {
    let serves = |process: &u32| {
        let place = Path::new("/proc").join(process.to_string());
        let title = fs::read_to_string(place.join("cmdline"));
        title.is_ok_and(|title| title.contains("127.0.0.1("))
    };
    let mut found = strace::children(postmaster);
    found.retain(serves);
    found
}

/// Somebody writes into the log, holds its locks, and then takes it all back.
async fn foreign_transaction(world: &World, random: &mut StdRng) -> u64 {
    let hold = Duration::from_millis(random.random_range(500..7000));
    let url = &world.place.url;
    if world.is_sqlite() {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().expect("a URL of ours");
        let mut connection = options.connect().await.expect("SQLite's file opens");
        let begin = "pragma busy_timeout = 20000; begin immediate; \
                     update domain_events set position = position + 1000000 where version = 1";
        hold_and_roll_back(&mut connection, begin, hold).await;
        connection.close().await.ok();
    } else {
        let mut connection = connected(url).await;
        let begin = "begin; update log_head set position = position + 1000; \
                     delete from domain_events where version = 1";
        hold_and_roll_back(&mut connection, begin, hold).await;
        connection.close().await.ok();
    }
    world.history.now()
}

async fn hold_and_roll_back<C>(connection: &mut C, statements: &str, hold: Duration)
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c>,
{
    // Where it meets a lock itself, it holds what it has got.
    let taken = connection
        .execute(AssertSqlSafe(statements.to_owned()))
        .await;
    sleep(hold).await;
    let undone = connection.execute("rollback").await;
    assert!(
        taken.is_err() || undone.is_ok(),
        "what is begun can be undone"
    );
}
