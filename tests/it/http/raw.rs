//! Requests byte by byte: those that no client library would send.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Reply;

/// Sends these bytes and reads the one answer; none where the server hangs up without one.
///
/// The head must ask for `Connection: close`.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read all.
    stream.write_all(request).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    Some(Reply::new(status, headers, body.to_owned()))
}

/// A `POST` of a JSON body with these header lines and an announced length.
pub(super) fn post(path: &[u8], header_lines: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    let parts: [&[u8]; 9] = [
        b"POST ",
        path,
        b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n",
        b"Content-Type: application/json\r\n",
        length.as_bytes(),
        header_lines,
        b"\r\n",
        body,
        b"",
    ];
    parts.concat()
}
