//! A connection of a client that costs as little as can be: it shares the machine with the server.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Failed;

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and gives the body of its answer, which must be a 200 or 201.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<&[u8], Failed> {
        self.stream.write_all(request).await?;
        self.bytes.clear();
        let (body, end) = loop {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err("the server has closed a connection that was asked".into());
            }
            if let Some((body, length)) = head(&self.bytes)? {
                break (body, body + length);
            }
        };
        while self.bytes.len() < end {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err("the server has closed a connection within an answer".into());
            }
        }
        if self.bytes.starts_with(b"HTTP/1.1 200 ") || self.bytes.starts_with(b"HTTP/1.1 201 ") {
            return Ok(&self.bytes[body..end]);
        }
        Err(String::from_utf8_lossy(&self.bytes).into_owned().into())
    }
}

/// Where the body of an answer begins and how long it is, once its head is there.
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failed> {
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let length = length.ok_or("an answer does not say how long it is")?;
    Ok(Some((end + 4, length.trim().parse()?)))
}
