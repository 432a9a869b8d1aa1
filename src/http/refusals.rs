//! Requests that are no HTTP, or whose head is too large or too slow: actix-http refuses them before any route
//! is known, with an empty answer. Here that answer becomes a problem like every other.
//!
//! actix-http leaves no choice of it (3.20, `h1/dispatcher.rs`), so it is replaced where it is written. No answer
//! of ours is taken for it: a problem always has a body, and JSON has no line ends of HTTP in it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::http::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    headers,
    problem::{Code, Problem},
};

const HEAD_BEGINS: &[u8] = b"HTTP/1.1 ";
const HEAD_ENDS: &[u8] = b"\r\n\r\n";
const EMPTY: &str = "\r\ncontent-length: 0\r\n";

/// A connection on which no refusal is empty.
pub(super) struct Refusals<Io> {
    io: Io,
    /// The answer that is written in the place of the empty one, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl<Io> Refusals<Io> {
    pub(super) const fn new(io: Io) -> Self {
        Self { io, instead: None }
    }

    /// The connection below.
    pub(super) const fn get_ref(&self) -> &Io {
        &self.io
    }
}

/// The empty refusal that a buffer ends with: where it begins, and what is to be written for it.
fn empty_refusal(buffer: &[u8]) -> Option<(usize, Vec<u8>)> {
    let fields = buffer.strip_suffix(HEAD_ENDS)?;
    let begins = |window: &[u8]| window == HEAD_BEGINS;
    let at = fields.windows(HEAD_BEGINS.len()).rposition(begins)?;
    let head = std::str::from_utf8(&buffer[at..]).ok()?;
    let status = head.get(HEAD_BEGINS.len()..)?.get(..3)?;
    let problem = match status {
        "400" => Problem::new(Code::InvalidRequest, "this is not a request of HTTP"),
        "408" => Problem::new(
            Code::RequestTimeout,
            "the head of the request came too slowly",
        ),
        "431" => Problem::new(Code::HeadTooLarge, "the head of the request is too large"),
        _ => return None,
    };
    // An end of a head before its end is a body after it.
    let (before, after) = head.split_once(EMPTY)?;
    if before.contains("\r\n\r\n") || after.trim_end_matches("\r\n").contains("\r\n\r\n") {
        return None;
    }
    let body = problem.body().to_string();
    let length = body.len();
    let mut fields = HeaderMap::new();
    headers::add(&mut fields, "");
    let mut answer = format!(
        "{before}\r\ncontent-length: {length}\r\ncontent-type: application/problem+json\r\n\
         cache-control: no-store\r\n"
    );
    for (name, value) in &fields {
        let value = value.to_str().unwrap_or_default();
        for part in [name.as_str(), ": ", value, "\r\n"] {
            answer.push_str(part);
        }
    }
    answer.push_str(after);
    answer.push_str(&body);
    Some((at, answer.into_bytes()))
}

impl<Io: AsyncWrite + Unpin> Refusals<Io> {
    fn poll_instead(&mut self, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, written)) = &mut self.instead {
            if *written == answer.len() {
                self.instead = None;
                break;
            }
            let now = ready!(Pin::new(&mut self.io).poll_write(ctx, &answer[*written..]))?;
            if now == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += now;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Refusals<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some((at, answer)) = empty_refusal(buffer) else {
            return Pin::new(&mut self.io).poll_write(ctx, buffer);
        };
        if at > 0 {
            // What came before it goes first, as it is.
            return Pin::new(&mut self.io).poll_write(ctx, &buffer[..at]);
        }
        // Asked again for the same buffer, it goes on where it was.
        self.instead.get_or_insert((answer, 0));
        ready!(self.poll_instead(ctx))?;
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(ctx)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Refusals<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(ctx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\
                           date: Thu, 26 Nov 2026 20:32:29 GMT\r\n\r\n";

    /// What the client reads of what is written, where the connection takes a few bytes at a time.
    async fn read_of(written: &str, at_once: usize) -> String {
        let (near, mut far) = duplex(at_once);
        let mut near = Refusals::new(near);
        let text = written.to_owned();
        let writing = tokio::spawn(async move {
            near.write_all(text.as_bytes()).await.unwrap();
            near.shutdown().await.unwrap();
        });
        let mut read = String::new();
        far.read_to_string(&mut read).await.unwrap();
        writing.await.unwrap();
        read
    }

    #[tokio::test]
    async fn an_empty_refusal_becomes_a_problem() {
        for at_once in [1, 7, 4096] {
            let read = read_of(REFUSAL, at_once).await;

            let (head, body) = read.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], "invalid-request");
            assert_eq!(body["status"], 400);
            assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
            assert!(
                head.contains("\r\nconnection: close\r\ndate: Thu"),
                "{head}"
            );
            assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"));
            let length = format!("\r\ncontent-length: {}\r\n", body.to_string().len());
            assert!(head.contains(&length), "{head}");
        }
    }

    #[tokio::test]
    async fn what_is_answered_before_it_stays_as_it_is() {
        let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        for at_once in [1, 7, 4096] {
            let read = read_of(&format!("{before}{REFUSAL}"), at_once).await;

            let rest = read.strip_prefix(before).unwrap();
            assert!(
                rest.starts_with("HTTP/1.1 400 ") && rest.ends_with('}'),
                "{rest}"
            );
        }
    }

    #[tokio::test]
    async fn whatever_else_is_written_is_let_through() {
        for written in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            // The answer to a HEAD.
            "HTTP/1.1 404 Not Found\r\ncontent-length: 139\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            // The end of a stream, in which someone quotes.
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 400\n\r\n0\r\n\r\n",
            "data: HTTP/1.1 400 Bad Request\\r\\ncontent-length: 0\\r\\n\r\n\r\n",
        ] {
            assert_eq!(read_of(written, 16).await, written);
        }
    }
}
