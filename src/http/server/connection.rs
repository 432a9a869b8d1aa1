//! A connection that ends by itself when its client stalls in a head or takes nothing of an answer.
//!
//! One timer a connection and kind, armed at most once in the time it measures: a busy connection
//! pays for a look at the clock, not for timers.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;

use super::{Bounds, Pace};

/// A client's connection, encrypted or not.
pub(super) enum Connection {
    Plain(Timed),
    Tls(Box<TlsStream<Timed>>),
}

impl Connection {
    /// What its requests tell it.
    pub(super) fn pace(&self) -> Rc<Pace> {
        let timed = match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => stream.get_ref().0,
        };
        Rc::clone(&timed.pace)
    }
}

/// The bytes of a connection, and the time they may take.
pub(super) struct Timed {
    stream: TcpStream,
    bounds: Bounds,
    pace: Rc<Pace>,
    head_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, bounds: Bounds) -> Self {
        bounds.meters.connection_opened();
        Self {
            stream,
            pace: Rc::new(Pace::new(bounds.head_timeout, bounds.keep_alive)),
            bounds,
            head_timer: None,
            write_timer: None,
        }
    }

    /// Whether the next request should have begun. If not, this is asked again in time.
    fn is_late(&mut self, ctx: &mut Context<'_>) -> bool {
        while let Some(deadline) = self.pace.deadline() {
            let timer = self
                .head_timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // One that ends early is set again then; one that ends late would be too late.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(ctx).is_pending() {
                return false;
            }
            if Instant::now() >= deadline {
                return true;
            }
            self.head_timer = None;
        }
        false
    }

    /// Whether the client has taken nothing for too long.
    fn writing_stalls(&mut self, ctx: &mut Context<'_>) -> bool {
        let timeout = self.bounds.write_timeout;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + timeout)));
        timer.as_mut().poll(ctx).is_ready()
    }

    fn written<T>(
        &mut self,
        ctx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        if self.writing_stalls(ctx) {
            self.bounds.meters.write_timed_out();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.bounds.meters.connection_closed();
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(ctx, buffer) {
            Poll::Ready(read) => {
                if buffer.filled().len() > before {
                    self.pace.bytes_came(Instant::now);
                }
                Poll::Ready(read)
            }
            Poll::Pending if self.is_late(ctx) => {
                self.bounds.meters.head_timed_out();
                // The end of what the client sends: what it began is not answered.
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(ctx, bytes);
        self.written(ctx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(ctx, parts);
        self.written(ctx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(ctx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(ctx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(ctx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(ctx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(ctx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(ctx),
        }
    }
}
