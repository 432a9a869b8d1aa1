//! A client of server-sent events, as strict as the contract.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream.
pub(crate) struct Sse {
    pub(crate) response: Response,
    unread: Vec<u8>,
    /// There is no end of a message before this.
    searched: usize,
}

/// What a stream says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Event { id: u64, kind: String, data: Value },
    Comment,
}

impl Sse {
    /// Asks for a stream; the answer may be something else.
    pub(crate) async fn request(url: &str, last_event_id: Option<u64>) -> Response {
        let client = Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(url);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id.to_string());
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn open(url: &str, last_event_id: Option<u64>) -> Self {
        let response = Self::request(url, last_event_id).await;
        let status = response.status();
        assert_eq!(status, 200, "{}", response.text().await.unwrap());
        Self::of(response)
    }

    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            unread: Vec::new(),
            searched: 0,
        }
    }

    /// The next message; nothing once the stream has ended, in good order or not.
    ///
    /// Dropped at its await it loses nothing.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            let unsearched = &self.unread[self.searched..];
            let end = unsearched.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end.map(|end| self.searched + end) {
                self.searched = 0;
                let text: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(parse(std::str::from_utf8(&text[..end]).unwrap()));
            }
            // The last byte may be the first of an end.
            self.searched = self.unread.len().saturating_sub(1);
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("a message or the end in time") {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next event, comments passed over: its position, its type and itself.
    pub(crate) async fn event(&mut self) -> Option<(u64, String, Value)> {
        loop {
            match self.message().await? {
                Message::Event { id, kind, data } => return Some((id, kind, data)),
                Message::Comment => {}
            }
        }
    }

    /// The positions of the next events.
    pub(crate) async fn positions(&mut self, count: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < count {
            positions.push(self.event().await.expect("the stream goes on").0);
        }
        positions
    }
}

fn parse(text: &str) -> Message {
    let lines: Vec<&str> = text.split('\n').collect();
    if lines.iter().all(|line| line.starts_with(':')) {
        return Message::Comment;
    }
    let field = |index: usize, name: &str| {
        let line: &str = lines[index];
        line.strip_prefix(name)
            .unwrap_or_else(|| panic!("{name} in {text}"))
    };
    assert_eq!(lines.len(), 3, "{text}");
    let data: Value = serde_json::from_str(field(2, "data: ")).unwrap();
    let id = field(0, "id: ").parse().unwrap();
    assert_eq!(data["position"], id);
    let kind = field(1, "event: ").to_owned();
    assert_eq!(data["event_type"], kind);
    Message::Event { id, kind, data }
}
