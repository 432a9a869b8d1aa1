//! A place, the servers on it, the network between them, and who waits for an answer.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::RngExt as _;
use tokio::sync::oneshot;

use crate::{
    chaos::Plan,
    faults::Fault,
    history::{History, Line, Nanos},
    node::{Node, Setup},
    place::{Kind, Place, Wanted},
    proxy::Proxy,
};

/// What makes a node give way soon, so that many faults fit into an hour. Each limit is of another
/// length, so that a stall tells by its own which one ended it.
const PATIENCE: [(&str, &str); 10] = [
    ("DORMOUSE__STORE__CONNECT_TIMEOUT", "1s"),
    ("DORMOUSE__STORE__STATEMENT_TIMEOUT", "3s"),
    ("DORMOUSE__STORE__POOL", "4"),
    ("DORMOUSE__HTTP__WORKERS", "2"),
    // Aggregates fall asleep and wake all the while, and take snapshots.
    ("DORMOUSE__AGGREGATES__Role__IDLE_TIMEOUT", "2s"),
    ("DORMOUSE__AGGREGATES__Role__SNAPSHOT_EVERY", "20"),
    ("DORMOUSE__AGGREGATES__User__IDLE_TIMEOUT", "2s"),
    // A node may be paused for longer.
    ("DORMOUSE__PROJECTIONS__LEASE", "2s"),
    ("DORMOUSE__PROJECTIONS__KEEP_REPLACED", "1s"),
    ("DORMOUSE__PROJECTIONS__BATCH_TIMEOUT", "4s"),
];
const ROWS: [(&str, &str); 2] = [
    ("DORMOUSE__AGGREGATES__Role__MODE", "dual-write"),
    ("DORMOUSE__AGGREGATES__Role__RECONCILE", "off"),
];

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// One in front of the database for each node, where there is a network at all.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) place: Place,
    pub(crate) history: History,
    pub(crate) run: u64,
    /// Whether roles have rows beside their events: where the database is ours.
    pub(crate) has_rows: bool,
    waiting: Mutex<Vec<Waiting>>,
    acknowledged: AtomicU64,
}

/// Who waits for the next acknowledged command.
#[derive(Debug)]
struct Waiting {
    node: Option<usize>,
    since: Nanos,
    told: oneshot::Sender<Nanos>,
}

impl World {
    pub(crate) async fn new(place: Place, plan: &Plan) -> Self {
        let clock = plan.faults.contains(&Fault::ClockJump);
        let history = History::create(&plan.history).expect("the history's file can be written");
        let mut proxies = Vec::new();
        if let Some(address) = place.address() {
            for _ in 0..plan.nodes {
                proxies.push(Proxy::before(address).await);
            }
        }
        let has_rows = matches!(plan.store, Wanted::Throwaway(_));
        let library = clock.then(faketime).flatten();
        let nodes = (0..plan.nodes).map(|number| {
            let url = match proxies.get(number) {
                Some(proxy) => place.url_through(proxy.address()),
                None => place.url.clone(),
            };
            let mut settings = vec![("DORMOUSE__STORE__URL", url.as_str())];
            settings.extend(PATIENCE);
            if has_rows {
                settings.extend(ROWS);
            }
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let mut setup = Setup::serve(
                plan.server.as_deref(),
                settings.into_iter().map(owned).collect(),
            );
            setup.clock.clone_from(&library);
            Node::new(setup)
        });
        Self {
            nodes: nodes.collect(),
            proxies,
            place,
            history,
            run: rand::rng().random(),
            has_rows,
            waiting: Mutex::default(),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Starts every node that does not run.
    pub(crate) async fn start(&self) {
        for node in &self.nodes {
            if node.pid().is_none() {
                node.start().await;
            }
        }
    }

    /// Where a caller may send to: any node that listens, as far as is known.
    pub(crate) fn any_address(&self, choice: u32) -> Option<(usize, SocketAddr)> {
        let addresses = self.nodes.iter().map(Node::address).enumerate();
        let known: Vec<_> = addresses
            .filter_map(|(number, address)| Some((number, address?)))
            .collect();
        let index = usize::try_from(choice).ok()?.checked_rem(known.len())?;
        known.get(index).copied()
    }

    /// A command was acknowledged by a node.
    pub(crate) fn acknowledged(&self, node: usize, sent: Nanos, at: Nanos) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = |waiting: &mut Waiting| {
            sent >= waiting.since && waiting.node.is_none_or(|wanted| wanted == node)
        };
        for waiting in waiting.extract_if(.., heard) {
            waiting.told.send(at - waiting.since).ok();
        }
    }

    pub(crate) fn acknowledgements(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How long it takes from `since` until a command that was sent after it is acknowledged, by
    /// one node or by any.
    pub(crate) fn recovery(&self, node: Option<usize>, since: Nanos) -> oneshot::Receiver<Nanos> {
        let (told, hears) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Waiting { node, since, told });
        hears
    }

    pub(crate) fn note_fault(&self, fault: &str) {
        self.history.write(&Line::Fault {
            at: self.history.now(),
            fault: fault.to_owned(),
        });
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.place.kind == Kind::Sqlite
    }
}

/// Where libfaketime is: Debian's places, then Homebrew's.
pub(crate) fn faketime() -> Option<std::path::PathBuf> {
    const PLACES: [&str; 4] = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib64/faketime/libfaketimeMT.so.1",
        "/usr/local/lib/faketime/libfaketimeMT.so.1",
    ];
    PLACES
        .iter()
        .map(Into::into)
        .find(|place: &std::path::PathBuf| place.is_file())
}
