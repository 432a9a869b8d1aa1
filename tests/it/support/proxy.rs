//! A proxy that can lose answers: it cuts its clients off while their backends work on.

use std::{
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    task::{AbortHandle, JoinHandle},
};

/// A TCP proxy in front of the server of a URL.
pub(crate) struct Proxy {
    pub(crate) url: String,
    links: Arc<Mutex<Vec<Link>>>,
    losses: Arc<Losses>,
    accepting: JoinHandle<()>,
}

/// Answers of appends that are to be lost, and those that were.
#[derive(Default)]
struct Losses {
    due: AtomicUsize,
    done: AtomicUsize,
    /// Whether answers disappear.
    swallow: AtomicBool,
}

impl Losses {
    fn take(&self) -> bool {
        let due = self
            .due
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |due| due.checked_sub(1));
        if due.is_ok() {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        due.is_ok()
    }
}

/// One connection: what copies its bytes each way.
struct Link {
    requests: AbortHandle,
    answers: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(url: &str) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), url).await
    }

    /// The same, at this address.
    pub(crate) async fn at(address: SocketAddr, url: &str) -> Self {
        let (_, after) = url.split_once('@').unwrap();
        let (server, _) = after.split_once('/').unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let links = Arc::new(Mutex::new(Vec::new()));
        let losses = Arc::new(Losses::default());
        let accepting = accept(
            listener,
            server.to_owned(),
            Arc::clone(&links),
            Arc::clone(&losses),
        );
        let accepting = tokio::spawn(accepting);
        Self {
            url: url.replacen(server, &address.to_string(), 1),
            links,
            losses,
            accepting,
        }
    }

    /// The next appends are done, and their clients are cut off instead of hearing so.
    pub(crate) fn lose_answers_of_appends(&self, count: usize) {
        self.losses.due.fetch_add(count, Ordering::SeqCst);
    }

    pub(crate) fn answers_lost(&self) -> usize {
        self.losses.done.load(Ordering::SeqCst)
    }

    /// From now on answers disappear, and nobody is told; or they do no more.
    pub(crate) fn swallow_answers(&self, swallow: bool) {
        self.losses.swallow.store(swallow, Ordering::SeqCst);
    }

    /// Cuts all clients off. Their backends hear nothing of it and work on.
    pub(crate) fn cut(&self) {
        for link in mem::take(&mut *self.links.lock().unwrap()) {
            link.answers.abort();
            link.requests.abort();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    links: Arc<Mutex<Vec<Link>>>,
    losses: Arc<Losses>,
) {
    // The server's sides outlive their links, so that no backend sees the end of its client.
    let mut kept: Vec<Arc<TcpStream>> = Vec::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let upstream = TcpStream::connect(&server).await.unwrap();
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let upstream = Arc::new(upstream);
        kept.push(Arc::clone(&upstream));
        let (from_client, to_client) = client.into_split();
        let appends = Arc::new(AtomicBool::new(false));
        let answering = Arc::clone(&upstream);
        let lost = {
            let (appends, losses) = (Arc::clone(&appends), Arc::clone(&losses));
            move |answer: &[u8]| {
                appends.load(Ordering::SeqCst) && is_complete(answer) && losses.take()
            }
        };
        let swallowing = Arc::clone(&losses);
        let swallowed = move || swallowing.swallow.load(Ordering::SeqCst);
        let answers =
            tokio::spawn(async move { answer(&answering, to_client, lost, swallowed).await });
        let requests = tokio::spawn(async move {
            let mut from_client = from_client;
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = io::AsyncReadExt::read(&mut from_client, &mut buffer).await
            {
                if contains(&buffer[..length], b"insert into domain_events") {
                    appends.store(true, Ordering::SeqCst);
                }
                write_all(&upstream, &buffer[..length]).await;
            }
        });
        links.lock().unwrap().push(Link {
            requests: requests.abort_handle(),
            answers,
        });
    }
}

/// Whether a statement was carried out: `CommandComplete`, by a tag that counts rows (PostgreSQL's
/// manual, 54.7). It is sent together with `ReadyForQuery`, after the commit.
fn is_complete(answer: &[u8]) -> bool {
    contains(answer, b"SELECT 1\0")
        || contains(answer, b"INSERT 0 ")
        || contains(answer, b"UPDATE 1\0")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn answer(
    upstream: &TcpStream,
    mut to_client: OwnedWriteHalf,
    lost: impl Fn(&[u8]) -> bool,
    swallowed: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while upstream.readable().await.is_ok() {
        match upstream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) if swallowed() => {}
            Ok(length) if lost(&buffer[..length]) => return,
            Ok(length) => {
                let written = io::AsyncWriteExt::write_all(&mut to_client, &buffer[..length]);
                if written.await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn write_all(upstream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() && upstream.writable().await.is_ok() {
        match upstream.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
