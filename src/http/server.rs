//! The server itself: listening, TLS, and connections that are let go when they stall.
//!
//! It is actix-web's `HttpServer` without its listener: that one bounds only how long the first
//! head of a connection may take, so whoever sends one good request and then a byte a second holds
//! the connection for ever (decision 45).

mod connection;
mod pace;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Response, Server},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(super) use pace::{Pace, Working};

use super::{headers, limits::EdgeMeters, refusals::Refusals, tls::Tls};
use crate::settings::HttpSettings;
use connection::{Connection, Timed};

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Listener {
    settings: HttpSettings,
    tls: Option<Tls>,
    meters: Arc<EdgeMeters>,
    shutdown_timeout: Duration,
}

/// A server that listens and is not served yet, and where it does.
pub struct Listening {
    /// To be awaited; connections are taken from then on.
    pub server: Server,
    /// The address, with the port that was taken.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

/// How long connections may live on, and what is counted of them.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    head_timeout: Duration,
    keep_alive: Duration,
    write_timeout: Duration,
    meters: Arc<EdgeMeters>,
}

impl Listener {
    /// Serves plain HTTP, or HTTPS with `tls`.
    #[must_use]
    pub fn new(settings: HttpSettings, tls: Option<Tls>, meters: Arc<EdgeMeters>) -> Self {
        Self {
            settings,
            tls,
            meters,
            shutdown_timeout: Duration::from_secs(1),
        }
    }

    /// How long open connections are waited for once the server stops; whole seconds, default 1.
    #[must_use]
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Listens, with `workers` threads that serve apps of the factory.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub fn listen<F, I, S, B>(
        &self,
        bind: SocketAddr,
        workers: usize,
        factory: F,
    ) -> io::Result<Listening>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let socket = socket(bind, self.settings.backlog)?;
        let address = socket.local_addr()?;
        // actix counts the connections of each worker.
        let each = self.settings.max_connections.div_ceil(workers.max(1));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut builder = Server::build()
            .workers(workers)
            .max_concurrent_connections(each)
            .backlog(self.settings.backlog)
            .disable_signals()
            .shutdown_timeout(self.shutdown_timeout.as_secs());
        let stopping = builder.graceful_shutdown_signal();
        let this = self.clone();
        builder = builder.listen(format!("dormouse-{address}"), socket, move || {
            let app = factory().into_factory().map_err(|error| {
                let mut answer = error.into().error_response();
                headers::add(answer.headers_mut(), "");
                answer
            });
            let stopping = stopping.clone();
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(KeepAlive::Timeout(this.settings.keep_alive))
                .client_request_timeout(this.settings.head_timeout)
                .client_disconnect_timeout(this.settings.close_timeout)
                // A client that has ended its side has gone: nobody waits for half of a connection.
                .h1_allow_half_closed(false)
                .local_addr(address)
                .on_connect_ext(|io: &Refusals<Connection>, data| {
                    data.insert(io.get_ref().pace());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            let opening = this.opening();
            fn_service(move |stream| opening.clone().open(stream))
                .map_err(|error: io::Error| {
                    // A client that does not speak TLS is none of our errors.
                    tracing::debug!(%error, "a connection did not come about");
                })
                .and_then(http.map_err(|_| ()))
        })?;
        Ok(Listening {
            server: builder.run(),
            address,
            scheme,
        })
    }

    fn opening(&self) -> Opening {
        Opening {
            acceptor: self.tls.as_ref().map(Tls::acceptor),
            bounds: Bounds {
                head_timeout: self.settings.head_timeout,
                keep_alive: self.settings.keep_alive,
                write_timeout: self.settings.write_timeout,
                meters: Arc::clone(&self.meters),
            },
        }
    }
}

/// What a new connection needs.
#[derive(Clone)]
struct Opening {
    acceptor: Option<TlsAcceptor>,
    bounds: Bounds,
}

impl Opening {
    async fn open(
        self,
        stream: TcpStream,
    ) -> io::Result<(Refusals<Connection>, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        // An event of a stream must not wait until the client has acknowledged the one before.
        stream.set_nodelay(true)?;
        let head_timeout = self.bounds.head_timeout;
        let timed = Timed::new(stream, self.bounds);
        let Some(acceptor) = self.acceptor else {
            return Ok((Refusals::new(Connection::Plain(timed)), peer));
        };
        let accepted = tokio::time::timeout(head_timeout, acceptor.accept(timed)).await;
        let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let connection = Connection::Tls(Box::new(stream));
        // The handshake was no head; actix waits for the first one.
        connection.pace().idle(tokio::time::Instant::now());
        Ok((Refusals::new(connection), peer))
    }
}

fn socket(bind: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = match bind {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that is started again need not wait until its old connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(backlog)?.into_std()
}
