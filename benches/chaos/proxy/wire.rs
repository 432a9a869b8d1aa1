//! As much of PostgreSQL's protocol (its manual, chapter 55) as it takes to see a commit pass.

use std::collections::HashSet;

/// What an append's statement has in it.
const APPEND: &[u8] = b"insert into domain_events";

/// Messages that come in pieces, handed on whole.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
}

/// One whole message.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Its first byte; zero for those without a type, which only open a connection.
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

impl Frames {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message. Without `typed` it is one that opens a connection.
    pub(super) fn next(&mut self, typed: bool) -> Option<Frame> {
        let head = usize::from(typed);
        let length: [u8; 4] = self.buffer.get(head..head + 4)?.try_into().ok()?;
        let end = head + usize::try_from(u32::from_be_bytes(length)).ok()?;
        if self.buffer.len() < end {
            return None;
        }
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let kind = if typed { bytes[0] } else { 0 };
        Some(Frame { kind, bytes })
    }
}

impl Frame {
    /// Whether it asks for encryption, which is answered by one byte: the startup message follows.
    pub(super) fn asks_for_encryption(&self) -> bool {
        // SSLRequest and GSSENCRequest.
        let codes = [80_877_103_u32, 80_877_104].map(u32::to_be_bytes);
        self.kind == 0 && codes.iter().any(|code| self.bytes.get(4..8) == Some(code))
    }

    /// The server is done with what it was sent.
    pub(super) fn is_ready(&self) -> bool {
        self.kind == b'Z'
    }

    /// The server is done with what it was sent, and in no transaction: what was written is
    /// committed, unless an error came before.
    pub(super) fn is_idle(&self) -> bool {
        self.kind == b'Z' && self.bytes.last() == Some(&b'I')
    }

    pub(super) fn is_error(&self) -> bool {
        self.kind == b'E'
    }

    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

/// What a client is about, by its messages.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Prepared statements that append.
    appends: HashSet<Vec<u8>>,
    bound: bool,
}

impl Client {
    /// Whether this message carries an append out.
    pub(super) fn appends(&mut self, frame: &Frame) -> bool {
        match frame.kind {
            b'P' => {
                let name = text(frame.body());
                if contains(frame.body(), APPEND) {
                    self.appends.insert(name.to_vec());
                } else {
                    self.appends.remove(name);
                }
                false
            }
            b'B' => {
                let portal = text(frame.body());
                let statement = text(&frame.body()[portal.len() + 1..]);
                self.bound = self.appends.contains(statement);
                false
            }
            b'E' => self.bound,
            b'Q' => contains(frame.body(), APPEND),
            _ => false,
        }
    }
}

/// The bytes before the first zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
