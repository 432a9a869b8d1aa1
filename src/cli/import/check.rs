//! The first reading: everything that can be wrong is told, before anything is written.
//!
//! Of each aggregate two versions are kept, of each event its id: about 100 bytes an aggregate of
//! one event, however long the events are.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io,
    num::NonZero,
    pin::pin,
    sync::Arc,
    thread::available_parallelism,
};

use futures_util::{
    TryStreamExt as _,
    stream::{self, Stream, StreamExt as _},
};
use tokio::task::spawn_blocking;

use super::source::Source;
use crate::{
    cli::{
        CliError,
        portable::{self, BadLine, Incoming},
    },
    domain::{EventId, Position, StreamId, Version},
    runtime::Runtime,
    store::{EventStore, RecoveryRequest},
};

/// So many mistakes are told one by one.
const MAX_TOLD: u64 = 100;
/// Streams looked up in one call.
const LOOKUP: usize = 500;

/// Bytes of the input that are taken apart together, and how many such pages at once at most: so much
/// of it is in memory, and a line more of each.
const PAGE_BYTES: usize = 512 * 1024;
const MOST_PAGES: usize = 8;

/// A line, by its number, taken apart.
type Taken = (u64, Result<Incoming, BadLine>);

/// The input as it was found: nothing is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) events: u64,
    pub(super) streams: Streams,
    /// Whether an aggregate is of a type that is registered.
    pub(super) has_known: bool,
    /// The end of the log before anything was imported.
    pub(super) before: Position,
}

/// The streams of the input, each known by a hash of 128 bits with keys that nobody can foresee.
#[derive(Debug, Default)]
pub(super) struct Streams {
    keys: [RandomState; 2],
    next: HashMap<u128, Version>,
}

impl Streams {
    pub(super) fn key(&self, stream: &StreamId) -> u128 {
        let [high, low] = &self.keys;
        (u128::from(high.hash_one(stream)) << 64) | u128::from(low.hash_one(stream))
    }

    pub(super) fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether a stream is met for the first time since the input was checked.
    pub(super) fn meet(&mut self, stream: &StreamId) -> bool {
        self.next.remove(&self.key(stream)).is_some()
    }
}

/// The first event of a stream in the input, which must fit what is stored.
struct First {
    line: u64,
    stream: StreamId,
    version: Version,
    id: EventId,
}

struct Checker<'a> {
    store: &'a Arc<dyn EventStore>,
    runtime: &'a Runtime,
    allow_redacted: bool,
    streams: Streams,
    has_known: bool,
    ids: HashSet<u128>,
    firsts: Vec<First>,
    mistakes: u64,
    before: Position,
}

/// Reads the whole input, and tells on stderr what is wrong with it.
pub(super) async fn check(
    source: &Source,
    store: &Arc<dyn EventStore>,
    runtime: &Runtime,
    allow_redacted: bool,
) -> Result<Checked, CliError> {
    let mut checker = Checker {
        store,
        runtime,
        allow_redacted,
        streams: Streams::default(),
        has_known: false,
        ids: HashSet::new(),
        firsts: Vec::new(),
        mistakes: 0,
        before: store.last_position().await?,
    };
    let mut events = 0;
    let mut pages = pin!(pages(source)?);
    while let Some(page) = pages.try_next().await? {
        for (number, read) in page {
            events += 1;
            if let Err(mistake) = read.and_then(|event| checker.check(number, &event)) {
                checker.tell(number, &mistake);
            }
            if checker.firsts.len() >= LOOKUP {
                checker.look_up().await?;
            }
        }
    }
    checker.look_up().await?;
    if checker.mistakes > 0 {
        return Err(CliError::ImportRefused(checker.mistakes));
    }
    Ok(Checked {
        events,
        streams: checker.streams,
        has_known: checker.has_known,
        before: checker.before,
    })
}

/// The input in its order, taken apart on all cores.
fn pages(source: &Source) -> io::Result<impl Stream<Item = io::Result<Vec<Taken>>>> {
    let lines = source.lines()?;
    let pages = stream::try_unfold(lines, async |mut lines| {
        let page = lines.page(PAGE_BYTES)?;
        Ok((!page.is_empty()).then_some((page, lines)))
    });
    let cores = available_parallelism().map_or(1, NonZero::get);
    Ok(pages.map(taken).buffered(cores.min(MOST_PAGES)))
}

async fn taken(page: io::Result<Vec<(u64, String)>>) -> io::Result<Vec<Taken>> {
    let page = page?;
    let taking = move || {
        let lines = page.into_iter();
        lines
            .map(|(number, line)| (number, portable::read(&line)))
            .collect()
    };
    spawn_blocking(taking).await.map_err(io::Error::other)
}

impl Checker<'_> {
    fn check(&mut self, line: u64, event: &Incoming) -> Result<(), BadLine> {
        let commit = &event.commit;
        let (stream, version) = (&commit.stream, commit.version_after());
        let id = commit.events[0].id;
        if event.redacted && !self.allow_redacted {
            return Err(bad(
                "redacted",
                "its secrets were left out: users would have no password. Export again with \
                 --include-secrets, or take it as it is with --allow-redacted",
            ));
        }
        if !self.ids.insert(id.0.0) {
            return Err(bad("id", format!("{id} comes twice")));
        }
        let key = self.streams.key(stream);
        let expected = self.streams.next.insert(key, version.next());
        match expected {
            Some(expected) if expected != version => Err(bad(
                "version",
                format!("{stream} has version {version} where {expected} belongs"),
            )),
            Some(_) => Ok(()),
            None => {
                self.has_known |= self.runtime.knows(stream.aggregate_type.as_str());
                self.firsts.push(First {
                    line,
                    stream: stream.clone(),
                    version,
                    id,
                });
                Ok(())
            }
        }
    }

    /// Compares the first events of streams with what is stored of them.
    async fn look_up(&mut self) -> Result<(), CliError> {
        let firsts = std::mem::take(&mut self.firsts);
        if self.before == Position::ZERO {
            for first in firsts.iter().filter(|first| first.version.get() > 1) {
                self.tell_missing(first, Version::ZERO);
            }
            return Ok(());
        }
        let requests = firsts.iter().map(|first| RecoveryRequest {
            stream: first.stream.clone(),
            fingerprint: None,
            after: Version::new(first.version.get() - 1),
        });
        let found = if firsts.is_empty() {
            Vec::new()
        } else {
            self.store.recover(requests.collect(), 1).await?
        };
        for (first, found) in firsts.iter().zip(found) {
            match found.events.first() {
                Some(event) if event.id == first.id => {}
                Some(_) => {
                    let (stream, version) = (&first.stream, first.version);
                    let problem =
                        format!("another event is stored as version {version} of {stream}");
                    self.tell(first.line, &bad("version", problem));
                }
                None if first.version.get() > 1 => {
                    let current = self.store.current_version(&first.stream).await?;
                    if current.next() != first.version {
                        self.tell_missing(first, current);
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    fn tell_missing(&mut self, first: &First, current: Version) {
        let (stream, version) = (&first.stream, first.version);
        let problem = format!("{stream} begins with version {version}, and {current} is stored");
        self.tell(first.line, &bad("version", problem));
    }

    fn tell(&mut self, line: u64, mistake: &BadLine) {
        self.mistakes += 1;
        if self.mistakes <= MAX_TOLD {
            eprintln!("line {line}: {mistake}");
        }
    }
}

fn bad(field: &str, problem: impl Into<String>) -> BadLine {
    BadLine {
        field: field.to_owned(),
        problem: problem.into(),
    }
}
