//! What those who used a system write down: what they sent, and what they heard of it, in order.

use std::sync::Arc;

use crate::domain::{EventId, IdempotencyKey, Position, StreamId, Version};

/// A text that only one command sends, with all its retries, and that each of its events carries:
/// so its effect can be found in the log.
pub type Token = Arc<str>;

/// One try of a command, or one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call(usize);

impl Call {
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

/// What was written down, in the order in which it happened.
///
/// The order is the only clock: what was answered before something else was sent happened before
/// it. Whoever writes down late makes the check weaker, never wrong; so note the sending first
/// and send then, and note the answer once it is there. `S` is the state as a reader sees it.
#[derive(Debug, Clone)]
pub struct History<S> {
    pub(super) sent: Vec<Sent>,
    pub(super) records: Vec<Record<S>>,
}

impl<S> Default for History<S> {
    fn default() -> Self {
        Self {
            sent: Vec::new(),
            records: Vec::new(),
        }
    }
}

/// A command, as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its own text: no other command has it.
    pub token: Token,
    /// The key under which it is sent, and sent again.
    pub key: Option<IdempotencyKey>,
    /// How many events it stores if it stores any, where its sender knows.
    pub events: Option<u32>,
}

/// What was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) stream: StreamId,
    /// Absent of a read.
    pub(super) command: Option<Command>,
}

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum Record<S> {
    Sent(Call),
    Answered(Call, Told<S>),
    Refused(Call, Refusal<S>),
    Unknown(Call),
    ReadAnswered(Call, Seen<S>),
    ReadFailed(Call),
}

/// A state that somebody was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<S> {
    /// Its version; zero where the aggregate was said not to exist.
    pub version: Version,
    /// The state itself, where it was shown: it must be the fold of the events up to the version.
    pub state: Option<S>,
}

/// What the sender of a command heard of its success.
#[derive(Debug, Clone)]
pub struct Told<S> {
    /// The aggregate's version after the command, and the state its reply shows.
    pub seen: Seen<S>,
    /// The position of its last event, where the answer tells it.
    pub position: Option<Position>,
    /// How many events it stored.
    pub events: u32,
    /// The ids of its events, where the answer tells them.
    pub ids: Vec<EventId>,
    /// Whether it is said to be the answer of an earlier try.
    pub replayed: bool,
}

/// Why nothing was stored: by this try, not by others of the same command.
#[derive(Debug, Clone)]
pub enum Refusal<S> {
    /// The command was decided, and the answer is no; with the state that was looked at, where the
    /// answer tells it. Under its key no command that has succeeded may hear this.
    Decided(Option<Seen<S>>),
    /// It was not decided, or could not be stored: overload, an outage, a lost race.
    NotServed,
}

impl<S> History<S> {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A command is about to be sent. A retry is another call with the same command; without a key
    /// a command is sent once.
    pub fn sent(&mut self, stream: StreamId, command: Command) -> Call {
        self.begin(stream, Some(command))
    }

    /// The command succeeded.
    pub fn answered(&mut self, call: Call, told: Told<S>) {
        self.records.push(Record::Answered(call, told));
    }

    /// The caller was told that nothing was stored.
    pub fn refused(&mut self, call: Call, refusal: Refusal<S>) {
        self.records.push(Record::Refused(call, refusal));
    }

    /// The caller was told that nobody knows, or heard nothing. A call that is never ended is the
    /// same.
    pub fn unknown(&mut self, call: Call) {
        self.records.push(Record::Unknown(call));
    }

    /// A read is about to be sent.
    pub fn read_sent(&mut self, stream: StreamId) -> Call {
        self.begin(stream, None)
    }

    /// The read was answered.
    pub fn read_answered(&mut self, call: Call, seen: Seen<S>) {
        self.records.push(Record::ReadAnswered(call, seen));
    }

    /// The read was not answered.
    pub fn read_failed(&mut self, call: Call) {
        self.records.push(Record::ReadFailed(call));
    }

    /// How many commands were told to have succeeded, each try counted.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let answered = |record: &&Record<S>| matches!(record, Record::Answered(..));
        self.records.iter().filter(answered).count()
    }

    /// How many records it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing has happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The stream and key of each keyed command, once for each try.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&StreamId, &IdempotencyKey)> {
        self.sent.iter().filter_map(|sent| {
            let key = sent.command.as_ref()?.key.as_ref()?;
            Some((&sent.stream, key))
        })
    }

    fn begin(&mut self, stream: StreamId, command: Option<Command>) -> Call {
        let call = Call(self.sent.len());
        self.sent.push(Sent { stream, command });
        self.records.push(Record::Sent(call));
        call
    }
}
