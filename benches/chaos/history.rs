//! What callers sent and heard, on disk: one JSON object a line.
//!
//! A line is handed to the operating system before the next thing happens: a command is written
//! down before it is sent. So a harness that crashes loses nothing, and the file can be checked
//! against the database by another process, at any time.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// A command's identity: it is the lower half of its correlation id, and its key where it has one.
pub(crate) type Token = u64;

/// Nanoseconds since the harness began.
pub(crate) type Nanos = u64;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The first: what this run is.
    Run {
        run: u64,
        seed: u64,
        what: String,
        /// Whether roles have rows beside their events.
        #[serde(default)]
        rows: bool,
    },
    /// A try of a command is about to be sent.
    Send(Send),
    /// What was heard of it.
    Hear(Hear),
    /// A read that was answered.
    Read(Read),
    /// A subscriber begins to follow the log.
    Follow(Follow),
    /// A subscriber took an event for new.
    Saw(Saw),
    /// A subscriber has had the time to see all that is stored.
    Complete { subscriber: String },
    /// The directory of users was read.
    Listing(Listing),
    /// A fault was made.
    Fault { at: Nanos, fault: String },
}

/// Who follows what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Follow {
    pub(crate) subscriber: String,
    /// Of which aggregate; of all where there is none.
    pub(crate) id: Option<String>,
}

/// What a subscriber took for new.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saw {
    pub(crate) subscriber: String,
    pub(crate) position: u64,
    pub(crate) event: String,
}

/// A try of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Send {
    pub(crate) at: Nanos,
    pub(crate) token: Token,
    pub(crate) id: String,
    pub(crate) command: String,
    pub(crate) keyed: bool,
    /// The version of `If-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expects: Option<u64>,
    pub(crate) node: usize,
}

/// What a caller heard of a try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hear {
    pub(crate) at: Nanos,
    pub(crate) token: Token,
    pub(crate) what: Heard,
}

/// An answer, as far as it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Heard {
    /// It is done.
    Done {
        version: u64,
        position: u64,
        event: String,
        replayed: bool,
    },
    /// Certainly nothing was stored, by this code.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// A read of an aggregate's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) sent: Nanos,
    pub(crate) at: Nanos,
    pub(crate) id: String,
    /// Zero where the aggregate was not found.
    pub(crate) version: u64,
    /// The token that the state shows, where it shows one.
    pub(crate) shows: Option<Token>,
    pub(crate) node: usize,
}

/// The directory of users, as of a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) sent: Nanos,
    pub(crate) at: Nanos,
    pub(crate) position: u64,
    pub(crate) users: Vec<Entry>,
}

/// A user in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) version: u64,
    /// The token that the nick name shows.
    pub(crate) shows: Option<Token>,
}

/// The history being written.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    file: Mutex<File>,
}

impl History {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            began: Instant::now(),
            file: Mutex::new(File::create(path)?),
        })
    }

    /// The time that lines carry.
    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).expect("fewer than 584 years")
    }

    /// Writes a line; it is the operating system's when this returns.
    pub(crate) fn write(&self, line: &Line) {
        let mut text = serde_json::to_vec(line).expect("a line is JSON");
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&text).expect("the history is written");
    }
}

/// Reads a history line by line. A last line that was cut off half way is passed over.
pub(crate) fn read(path: &Path) -> std::io::Result<impl Iterator<Item = Line>> {
    let lines = BufReader::with_capacity(1 << 20, File::open(path)?).lines();
    Ok(lines.map_while(Result::ok).map_while(|line| {
        let parsed = serde_json::from_str(&line);
        parsed.ok()
    }))
}
