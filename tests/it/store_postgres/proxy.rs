//! A proxy that can lose answers: it cuts its clients off while their backends work on.

use std::{mem, sync::Arc, sync::Mutex};

use tokio::{
    io,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    task::{AbortHandle, JoinHandle},
};

/// A TCP proxy in front of the server of a URL.
pub(super) struct Proxy {
    pub(super) url: String,
    links: Arc<Mutex<Vec<Link>>>,
    accepting: JoinHandle<()>,
}

/// One connection: what copies its bytes each way.
struct Link {
    requests: AbortHandle,
    answers: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn before(url: &str) -> Self {
        let (before, after) = url.split_once('@').unwrap();
        let (server, database) = after.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let links = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, server.to_owned(), Arc::clone(&links)));
        Self {
            url: format!("{before}@127.0.0.1:{port}/{database}"),
            links,
            accepting,
        }
    }

    /// Cuts all clients off. Their backends hear nothing of it and work on.
    pub(super) fn cut(&self) {
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

async fn accept(listener: TcpListener, server: String, links: Arc<Mutex<Vec<Link>>>) {
    // The server's sides outlive their links, so that no backend sees the end of its client.
    let mut kept: Vec<Arc<TcpStream>> = Vec::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let upstream = TcpStream::connect(&server).await.unwrap();
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let upstream = Arc::new(upstream);
        kept.push(Arc::clone(&upstream));
        let (from_client, to_client) = client.into_split();
        let answering = Arc::clone(&upstream);
        let answers = tokio::spawn(async move { answer(&answering, to_client).await });
        let requests = tokio::spawn(async move {
            let mut from_client = from_client;
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = io::AsyncReadExt::read(&mut from_client, &mut buffer).await
            {
                write_all(&upstream, &buffer[..length]).await;
            }
        });
        links.lock().unwrap().push(Link {
            requests: requests.abort_handle(),
            answers,
        });
    }
}

async fn answer(upstream: &TcpStream, mut to_client: OwnedWriteHalf) {
    let mut buffer = vec![0; 64 * 1024];
    while upstream.readable().await.is_ok() {
        match upstream.try_read(&mut buffer) {
            Ok(0) => return,
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
