//! The order of durability: no success is told before a flush that came after its command.
//!
//! strace on the server, and on PostgreSQL, writes down what they receive, flush and send. The
//! check must find nothing where commits are flushed, and must find something where they are not.

mod trace;
mod unflushed;

use std::path::Path;

use dormouse::{
    settings::{StoreSettings, Writers},
    store::sqlite::{Flush, SqliteOptions},
};
use reqwest::Client;
use serde_json::json;

use crate::{
    node::{Node, Setup},
    place::{Kind, Place, Wanted},
    strace::{self, Strace},
    support::postgres::Cluster,
};

pub(crate) use trace::Found;
pub(crate) use unflushed::serve as serve_unflushed;

const CALLERS: usize = 6;

/// One way to run a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sqlite,
    /// Every eighth flush fails with EIO.
    SqliteFailing,
    /// `synchronous = NORMAL`.
    SqliteUnflushed,
    Postgres,
    /// `fsync = off`.
    PostgresUnflushed,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Sqlite,
        Self::SqliteFailing,
        Self::SqliteUnflushed,
        Self::Postgres,
        Self::PostgresUnflushed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::SqliteFailing => "sqlite, flushes fail",
            Self::SqliteUnflushed => "sqlite, synchronous=NORMAL",
            Self::Postgres => "postgres",
            Self::PostgresUnflushed => "postgres, fsync=off",
        }
    }

    /// Whether answers must be found that came too early.
    const fn must_fail(self) -> bool {
        matches!(self, Self::SqliteUnflushed | Self::PostgresUnflushed)
    }
}

/// Runs all ways, each with so many commands a caller, and tells whether each went as it must.
pub(crate) async fn prove(commands: usize, server: Option<&Path>) -> bool {
    if let Err(reason) = strace::available() {
        println!("NOT RUN: the order of durability: {reason}");
        return true;
    }
    println!(
        "{:<28} {:>8} {:>8} {:>7} {:>10}",
        "order of durability", "answers", "flushes", "failed", "too early"
    );
    let mut good = true;
    for way in Way::ALL {
        let found = run(way, commands, server).await;
        println!(
            "{:<28} {:>8} {:>8} {:>7} {:>10}",
            way.name(),
            found.answers,
            found.flushes,
            found.failed,
            found.too_early
        );
        let seen = found.answers >= commands;
        let as_it_must = (found.too_early > 0) == way.must_fail();
        let failed = way != Way::SqliteFailing || found.failed > 0;
        if !(seen && as_it_must && failed) {
            println!("  VIOLATION: that is not as it must be");
            good = false;
        }
    }
    good
}

async fn run(way: Way, commands: usize, server: Option<&Path>) -> Found {
    let place = match way {
        Way::Postgres | Way::PostgresUnflushed => {
            let no_disk = Err("not asked for".to_owned());
            Place::postgres(no_disk, way == Way::Postgres).await
        }
        _ => Place::open(&Wanted::Throwaway(Kind::Sqlite), false).await,
    };
    let node = Node::new(setup(way, &place, server));
    node.start().await;
    let address = node.address().expect("it was started");
    let base = format!("http://{address}/v1/aggregates/Role");
    // A connection each, so that a connection has one command at a time.
    let clients: Vec<Client> = (0..CALLERS)
        .map(|_| Client::builder().no_proxy().build().expect("a client"))
        .collect();
    for (number, client) in clients.iter().enumerate() {
        let body = json!({"code": format!("c{number}"), "name": "a role"});
        let url = format!("{base}/r{number}/commands/create");
        let made = client.post(url).json(&body).send().await;
        assert_eq!(made.expect("an answer").status(), 201);
    }
    let output = node.directory().join("trace");
    let strace = attach(way, &node, &place, &output).await;
    let callers = clients.into_iter().enumerate().map(|(number, client)| {
        let url = format!("{base}/r{number}/commands/update");
        tokio::spawn(async move {
            for nth in 0..commands {
                let body = json!({"description": format!("{number}-{nth}")});
                // Under failing flushes some are refused.
                client.post(&url).json(&body).send().await.ok();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller ends");
    }
    strace.detach().await;
    node.kill().await;
    let trace = std::fs::read_to_string(&output).expect("strace wrote its output");
    trace::judge(&trace, |path| match place.kind {
        Kind::Sqlite => path.ends_with("dormouse.db-wal"),
        Kind::Postgres => path.contains("/pg_wal/"),
    })
}

fn setup(way: Way, place: &Place, server: Option<&Path>) -> Setup {
    let settings = vec![("DORMOUSE__STORE__URL".to_owned(), place.url.clone())];
    let mut setup = Setup::serve(server, settings);
    if way == Way::SqliteUnflushed {
        let this = std::env::current_exe().expect("this program has a path");
        let arguments = ["--bench", "serve-unflushed", "--store", &place.url];
        setup.program = vec![this.display().to_string()];
        setup.program.extend(arguments.map(str::to_owned));
    }
    setup
}

async fn attach(way: Way, node: &Node, place: &Place, output: &Path) -> Strace {
    let mut pids = vec![node.pid().expect("it runs")];
    if place.cluster.is_some() {
        let postmaster = place.with_cluster(Cluster::pid).await.expect("it runs");
        pids.push(postmaster);
        pids.extend(strace::children(postmaster));
    }
    let mut arguments = vec!["-yy", "-s", "16", "-e", trace::CALLS];
    if way == Way::SqliteFailing {
        arguments.extend(["-e", "inject=fsync,fdatasync:error=EIO:when=8+8"]);
    }
    Strace::attach(&pids, &arguments, output).await
}

/// How the server that does not flush opens its store.
fn unflushed_options(settings: &StoreSettings) -> SqliteOptions {
    SqliteOptions {
        readers: settings.pool,
        exclusive: settings.writers() == Writers::Exclusive,
        flush: Flush::Later,
        ..SqliteOptions::default()
    }
}
