//! A proxy in front of PostgreSQL that makes the faults of a network.
//!
//! It understands enough of the protocol to do the most valuable one: forward an append, let it
//! commit, and cut its client off instead of handing the answer on.

mod link;
mod wire;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What happens to the bytes of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    #[default]
    Pass,
    /// Each piece arrives so much later, either way.
    Latency(Duration),
    /// What clients send goes nowhere, and nobody is told.
    SwallowRequests,
    /// What the server answers goes nowhere, and nobody is told.
    SwallowAnswers,
    /// The server's side is gone; clients are not told, and hear nothing any more.
    HalfOpen,
    /// New connections are refused; those that are open go on.
    Refuse,
}

/// How the client of the next append is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The append is committed, and its answer is not handed on.
    Answer,
    /// The append never reaches the server.
    Request,
    /// The append is on its way to the server when its client is cut off.
    Blind,
    /// The client is cut off, and the append reaches the server some time after.
    Late(Duration),
}

/// A proxy in front of one server.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What links look at.
#[derive(Debug)]
struct Control {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Grows when every link is to be reset.
    resets: watch::Sender<u64>,
    cuts: Mutex<Vec<Cut>>,
    cut: AtomicUsize,
    appends: AtomicU64,
    links: Mutex<HashMap<u64, JoinHandle<()>>>,
}

impl Control {
    /// Takes the cut that is due, if it is of a kind that `wanted` takes.
    fn take_cut(&self, wanted: impl Fn(Cut) -> bool) -> Option<Cut> {
        let mut cuts = lock(&self.cuts);
        let cut = *cuts.first()?;
        if !wanted(cut) {
            return None;
        }
        cuts.remove(0);
        self.cut.fetch_add(1, Ordering::SeqCst);
        Some(cut)
    }
}

impl Proxy {
    pub(crate) async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let control = Arc::new(Control {
            upstream,
            mode: watch::Sender::new(Mode::Pass),
            resets: watch::Sender::new(0),
            cuts: Mutex::default(),
            cut: AtomicUsize::new(0),
            appends: AtomicU64::new(0),
            links: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&control)));
        Self {
            address,
            control,
            accepting: Mutex::new(Some(accepting)),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn set(&self, mode: Mode) {
        self.control.mode.send_replace(mode);
        let accepting = lock(&self.accepting).take();
        if mode == Mode::Refuse {
            if let Some(accepting) = accepting {
                accepting.abort();
                accepting.await.ok();
            }
            return;
        }
        let accepting = if let Some(accepting) = accepting {
            accepting
        } else {
            let listener = TcpListener::bind(self.address).await;
            let listener = listener.expect("its port is still its own");
            tokio::spawn(accept(listener, Arc::clone(&self.control)))
        };
        *lock(&self.accepting) = Some(accepting);
    }

    /// Resets every connection, as a firewall that lost its state does.
    pub(crate) fn reset_all(&self) {
        self.control.resets.send_modify(|resets| *resets += 1);
    }

    /// The next append meets this.
    pub(crate) fn cut_next(&self, cut: Cut) {
        lock(&self.control.cuts).push(cut);
    }

    /// Gives up cuts that no append has met.
    pub(crate) fn forget_cuts(&self) {
        lock(&self.control.cuts).clear();
    }

    /// How many cuts were made.
    pub(crate) fn cuts(&self) -> usize {
        self.control.cut.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
        for (_, link) in lock(&self.control.links).drain() {
            link.abort();
        }
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    for number in 0_u64.. {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        // Where the server is not there, its client is told so by the end of the connection.
        let Ok(server) = TcpStream::connect(control.upstream).await else {
            client.set_zero_linger().ok();
            continue;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let link = tokio::spawn(link::run(client, server, Arc::clone(&control)));
        let mut links = lock(&control.links);
        links.retain(|_, link| !link.is_finished());
        // A listener that was bound again begins to count anew; nothing but the drop needs the key.
        let key = number | (control.appends.fetch_add(1, Ordering::Relaxed) << 32);
        links.insert(key, link);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
