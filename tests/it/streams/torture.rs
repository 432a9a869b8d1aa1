//! Writers that conflict, fail and come again; subscribers that stop and resume anywhere.
//!
//! `DORMOUSE_TEST_SEED` repeats the decisions of a run (not the timing of its threads), and
//! `DORMOUSE_TEST_SCALE` makes it longer.

use std::{sync::Arc, time::Duration};

use dormouse::{
    domain::Position,
    projection::{Subscription, Subscriptions},
    settings::StreamSettings,
    store::{AppendError, Commit, EventFilter, EventStore, RecordedEvent, Verdict},
    testing::{Fault, FaultyStore, Operation},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{commit, open, stream};
use crate::support::{Backend, checker, seed, server::Server, sse::Sse};

const WRITERS: u64 = 8;
/// Fewer than writers, so that they meet.
const STREAMS: u64 = 5;
const BATCHES: u32 = 60;
const TYPES: [&str; 3] = ["CommonEvent", "OtherEvent", "RareEvent"];
const PATIENCE: Duration = Duration::from_mins(2);

/// Positions and ids, in the order in which they were seen.
type Seen = Vec<(u64, String)>;

/// What a subscriber follows, and through what.
#[derive(Clone)]
enum Source {
    /// In this process.
    Here(Subscriptions),
    /// The server's address.
    Server(String),
}

/// Who follows what.
#[derive(Clone)]
struct Subscriber {
    source: Source,
    /// One event type, or all.
    only: Option<&'static str>,
}

/// An open subscription of either kind.
enum Open {
    Here(Subscription, Seen),
    Server(Box<Sse>),
}

impl Subscriber {
    fn means(&self, event: &RecordedEvent) -> bool {
        self.only.is_none_or(|only| only == event.event_type)
    }

    async fn open(&self, after: u64) -> Open {
        match &self.source {
            Source::Here(subscriptions) => {
                let filter = EventFilter {
                    event_types: self.only.iter().map(|only| (*only).to_owned()).collect(),
                    ..EventFilter::default()
                };
                let opened = subscriptions.subscribe(filter, Position::new(after));
                Open::Here(opened, Vec::new())
            }
            Source::Server(url) => {
                let filter = self.only.map(|only| format!("?event_type={only}"));
                let url = format!("{url}/v1/events/stream{}", filter.unwrap_or_default());
                Open::Server(Box::new(Sse::open(&url, Some(after)).await))
            }
        }
    }

    /// Follows the log in pieces of random length, until the last event is there.
    async fn follow(self, seed: u64, mut last: watch::Receiver<Option<u64>>) -> Seen {
        let mut random = StdRng::seed_from_u64(seed);
        let mut found: Seen = Vec::new();
        let is_done = |found: &Seen, last: Option<u64>| {
            let position = found.last().map_or(0, |(position, _)| *position);
            last.is_some_and(|last| position >= last)
        };
        while !is_done(&found, *last.borrow_and_update()) {
            let after = found.last().map_or(0, |(position, _)| *position);
            let mut opened = self.open(after).await;
            let patience = Duration::from_millis(random.random_range(1..150));
            for _ in 0..random.random_range(1..120) {
                if is_done(&found, *last.borrow_and_update()) {
                    break;
                }
                let next = timeout(patience, opened.next());
                tokio::select! {
                    next = next => match next {
                        Ok(next) => found.push(next),
                        // It is left in the middle of a wait.
                        Err(_) => break,
                    },
                    _ = last.changed() => {}
                }
            }
            drop(opened);
            sleep(Duration::from_millis(random.random_range(0..40))).await;
        }
        found
    }
}

impl Open {
    async fn next(&mut self) -> (u64, String) {
        match self {
            Self::Here(subscription, unread) => {
                while unread.is_empty() {
                    let page = subscription.next_page().await.unwrap();
                    unread.extend(page.iter().map(known_by));
                }
                unread.remove(0)
            }
            Self::Server(stream) => {
                let (position, _, event) = stream.event().await.expect("the stream goes on");
                (position, event["id"].as_str().unwrap().to_owned())
            }
        }
    }
}

fn known_by(event: &RecordedEvent) -> (u64, String) {
    (event.position.get(), event.id.to_string())
}

/// One writer: batches of commits, some of which lose, on streams that others write to.
async fn write(store: FaultyStore, seed: u64, batches: u32) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let mut lost = 0;
    for _ in 0..batches {
        sleep(Duration::from_millis(random.random_range(0..30))).await;
        match random.random_range(0..12) {
            0 => store.inject_next(Operation::Append, Fault::Fail),
            1 => store.inject_next(Operation::Append, Fault::LoseAnswer),
            2 => store.inject_next(Operation::Append, Fault::LoseCall),
            3 => store.inject_next(Operation::ReadLog, Fault::Fail),
            4 => store.inject_next(Operation::QueryLog, Fault::LoseAnswer),
            5 => store.inject_next(Operation::LastPosition, Fault::Fail),
            _ => {}
        }
        let batch = batch(&store, &mut random).await;
        lost += append_until_known(&store, &batch).await;
    }
    lost
}

async fn batch(store: &FaultyStore, random: &mut StdRng) -> Arc<[Commit]> {
    let mut commits = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let id = format!("s{}", random.random_range(0..STREAMS));
        let version = store.current_version(&stream(&id)).await.unwrap();
        // Now and then it expects what never was, so that it loses in any case.
        let ahead = u64::from(random.random_range(0..8) == 0) * 1000;
        let kind = match random.random_range(0..100) {
            0..3 => 2,
            3..40 => 1,
            _ => 0,
        };
        let events = random.random_range(1..6);
        commits.push(commit(&id, version.get() + ahead, TYPES[kind], events));
    }
    commits.into()
}

/// How many commits lost, or were never stored.
async fn append_until_known(store: &FaultyStore, batch: &Arc<[Commit]>) -> usize {
    loop {
        match store.append(Arc::clone(batch)).await {
            Ok(verdicts) => {
                let lost = |verdict: &&Verdict| matches!(verdict, Verdict::Lost(_));
                return verdicts.iter().filter(lost).count();
            }
            Err(AppendError::OutcomeUnknown(_)) => {}
            Err(_) => return batch.len(),
        }
    }
}

fn scale() -> u32 {
    let scale = std::env::var("DORMOUSE_TEST_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().expect("a whole number"))
}

async fn each_subscriber_sees_each_event_once_in_order(backend: Backend) {
    let seed = seed();
    let url = backend.store_url();
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__STORE__WRITERS", "shared"),
        ("DORMOUSE__STREAMS__TAIL_EVENTS", "50"),
        ("DORMOUSE__STREAMS__PAGE", "30"),
    ];
    let mut server = Server::start(&settings).await;
    let store = FaultyStore::new(open(&url).await);
    // So small that slow ones fall out of it all the time.
    let small = StreamSettings {
        tail_events: 40,
        page: 25,
        retry_max: Duration::from_millis(100),
        ..StreamSettings::default()
    };
    let here = Source::Here(Subscriptions::new(Arc::new(store.clone()), small));
    let there = Source::Server(server.url());
    let subscribers = [
        (&here, None),
        (&here, Some("RareEvent")),
        (&there, None),
        (&there, Some("OtherEvent")),
    ]
    .map(|(source, only)| Subscriber {
        source: source.clone(),
        only,
    });

    let mut following = Vec::new();
    for (number, subscriber) in (1..).zip(&subscribers) {
        let (tell, last) = watch::channel(None);
        let task = tokio::spawn(subscriber.clone().follow(seed ^ (number << 32), last));
        following.push((tell, task));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(store.clone(), seed ^ writer, BATCHES * scale()));
    }
    let lost: usize = timeout(PATIENCE * scale(), writers.join_all())
        .await
        .expect("the writers end")
        .into_iter()
        .sum();

    store.heal();
    let log = checker::read(&store).await;
    assert!(lost > 50 && log.events().len() > 500, "{lost} lost");
    for (subscriber, (tell, task)) in subscribers.iter().zip(following) {
        let expected: Seen = log
            .events()
            .iter()
            .filter(|event| subscriber.means(event))
            .map(known_by)
            .collect();
        assert!(expected.len() > 5);
        tell.send_replace(expected.last().map(|(position, _)| *position));
        let found = timeout(PATIENCE, task).await.expect("it sees the last");
        let found = found.unwrap();
        let wrong = found
            .iter()
            .zip(&expected)
            .position(|(found, is)| found != is);
        assert_eq!(wrong, None, "{:?}", subscriber.only);
        assert_eq!(found.len(), expected.len(), "{:?}", subscriber.only);
    }
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_each_subscriber_sees_each_event_once_in_order() {
    each_subscriber_sees_each_event_once_in_order(Backend::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_each_subscriber_sees_each_event_once_in_order() {
    each_subscriber_sees_each_event_once_in_order(Backend::sqlite()).await;
}
