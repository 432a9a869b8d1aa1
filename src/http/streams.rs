//! `GET /v1/events/stream`: the log as server-sent events (WHATWG HTML, section 9.2).
//!
//! Each stream is a task that takes pages from a subscription and puts texts into a channel with
//! room for one; the response takes them out. So a client that does not read holds two texts and
//! a page, and nobody waits for it. The task ends with its client, with the server, when the client
//! takes nothing for too long, and when nothing that is meant can come any more.

mod slots;
mod text;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    web::{Bytes, Data},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, error, info, warn};

use self::slots::{Slot, Slots};
use super::{
    Guard,
    auth::{caller, principal},
    event_filter::event_filter,
    problem::{Code, Problem},
    request::{header, number},
};
use crate::{
    auth::Principal,
    domain::{Clock, Position, SystemClock},
    projection::{EventPage, Reading, Subscription, SubscriptionError, Subscriptions},
    settings::StreamSettings,
    store::{EventFilter, EventStore, LogQuery, Order},
};

/// The most events in one page of a stream: what a client that does not read can hold.
const PAGE: u32 = 256;
/// The pause between two tries to learn where the log ends.
const RETRY: Duration = Duration::from_secs(1);
/// How long after its time an event may still come: it is decided first and stored then, and the
/// clocks of servers differ.
const LATE: TimeDelta = TimeDelta::seconds(10);
/// The longest wait for a time at once.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);
/// The shortest.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// The streams that an app serves; put it into the app's data. Clones are the same.
#[derive(Debug, Clone)]
pub struct EventStreams {
    store: Arc<dyn EventStore>,
    subscriptions: Subscriptions,
    settings: StreamSettings,
    slots: Slots,
    clock: Arc<dyn Clock>,
}

impl EventStreams {
    /// Streams of a store's events, through its subscriptions.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        subscriptions: Subscriptions,
        settings: StreamSettings,
    ) -> Self {
        Self {
            store,
            subscriptions,
            slots: Slots::new(settings.max_open, settings.max_per_caller),
            settings,
            clock: Arc::new(SystemClock),
        }
    }

    /// How many streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.slots.taken()
    }

    /// What the streams and all others read through.
    #[must_use]
    pub const fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Ends all streams, at once and in good order. Those that are asked for later are refused.
    pub fn close(&self) {
        self.slots.close();
        self.subscriptions.close();
    }

    /// Whether nothing that is meant can come any more: its last time is over, and all is read.
    async fn is_over(&self, asked: &Asked) -> Result<bool, Problem> {
        let now = self.clock.now();
        if asked.filter.to.is_none_or(|to| now - to <= LATE) {
            return Ok(false);
        }
        let query = LogQuery {
            filter: asked.filter.clone(),
            order: Order::Ascending,
            after: Some(asked.after),
            limit: 1,
        };
        Ok(self.store.query_log(&query).await?.events.is_empty())
    }

    fn subscribe(&self, asked: Asked) -> Subscription {
        let reading = Reading {
            page: PAGE.min(self.settings.page),
            page_bytes: self.settings.client_bytes,
            ahead: false,
        };
        self.subscriptions
            .subscribe_with(asked.filter, asked.after, reading)
    }
}

/// What a stream was asked for.
#[derive(Debug, Clone)]
struct Asked {
    filter: EventFilter,
    after: Position,
}

/// `GET /v1/events/stream`
pub(super) async fn stream(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Some(streams) = request.app_data::<Data<EventStreams>>() else {
        return Err(Problem::new(Code::NotFound, "there are no streams here"));
    };
    let asked = asked(&request)?;
    let slot = streams.slots.take(caller(&request))?;
    let last = streams.store.last_position().await?;
    if asked.after > last {
        // A log that was restored to an earlier time takes positions a second time: to wait for
        // the one that is asked for would be to hide all before it.
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("position {} is beyond the log's end, {last}", asked.after),
        ));
    }
    if streams.is_over(&asked).await? {
        // It also keeps an `EventSource` from coming back for ever.
        return Ok(HttpResponse::NoContent()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish());
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would gather events until its buffer is full.
        .insert_header(("X-Accel-Buffering", "no"))
        .force_close();
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let (sender, receiver) = mpsc::channel(1);
    let feed = Feed {
        to: asked.filter.to,
        streams: (***streams).clone(),
        subscription: streams.subscribe(asked),
        sender,
        known: request
            .app_data::<Data<Guard>>()
            .cloned()
            .zip(principal(&request)),
        _slot: slot,
    };
    actix_web::rt::spawn(feed.run());
    let texts = stream::unfold(receiver, |mut receiver| async {
        let text = receiver.recv().await?;
        Some((Ok::<Bytes, Problem>(text), receiver))
    });
    Ok(response.streaming(texts))
}

fn asked(request: &HttpRequest) -> Result<Asked, Problem> {
    let (filter, query) = event_filter(request, &["after"])?;
    let most = i64::MAX.cast_unsigned();
    let after = number(&query, "after", 0..=most, 0)?;
    // A client that comes back repeats the query it began with: its header is newer.
    let after = match header(request.headers(), "Last-Event-ID")? {
        None | Some("") => after,
        Some(id) => {
            let plain = id.bytes().all(|byte| byte.is_ascii_digit());
            let id = id.parse().ok().filter(|id| plain && *id <= most);
            id.ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    "the header Last-Event-ID must be a position of the log",
                )
            })?
        }
    };
    Ok(Asked {
        filter,
        after: Position::new(after),
    })
}

/// Why a stream ends before its client does.
enum End {
    /// Nothing that is meant can come any more.
    Over,
    /// The client took nothing for too long.
    Stalled,
    Failed(SubscriptionError),
}

/// One open stream.
struct Feed {
    streams: EventStreams,
    subscription: Subscription,
    /// The last time that is meant.
    to: Option<DateTime<Utc>>,
    sender: mpsc::Sender<Bytes>,
    /// Whose it is, where that had to be known, and who knows when it is not known any more.
    known: Option<(Data<Guard>, Principal)>,
    /// Given back with the rest.
    _slot: Slot,
}

impl Feed {
    async fn run(mut self) {
        let sender = self.sender.clone();
        let subscriptions = self.streams.subscriptions.clone();
        let unknown = until_unknown(self.known.take());
        tokio::select! {
            end = self.feed() => match end {
                End::Over => debug!("a stream is over: nothing more can come"),
                End::Stalled => warn!("a stream ended: its client took nothing for too long"),
                End::Failed(error) => error!(%error, "a stream ended"),
            },
            () = sender.closed() => debug!("a stream's client went away"),
            () = unknown => info!("a stream ended: its client's token is not valid any more"),
            () = subscriptions.closed() => debug!("a stream ended with the server"),
        }
    }

    async fn feed(&mut self) -> End {
        let heartbeat = self.streams.settings.heartbeat;
        let mut silent_since = Instant::now();
        // Where the log ended once the last time that is meant was over.
        let mut last = None;
        // In a task of its own, which ends with this: what stands still while a page is sent would
        // keep the connection that it was given.
        let mut over = JoinSet::new();
        over.spawn(log_end_after(self.streams.clone(), self.to));
        loop {
            if last.is_some_and(|last| self.subscription.position() >= last) {
                return End::Over;
            }
            let sent = tokio::select! {
                page = self.subscription.next_page() => match page {
                    Ok(page) => self.send_page(&page).await,
                    Err(error) => return End::Failed(error),
                },
                Some(Ok(position)) = over.join_next() => {
                    last = Some(position);
                    Ok(false)
                }
                () = sleep_until(silent_since + heartbeat) => self.send(text::comment()).await,
            };
            match sent {
                Ok(true) => silent_since = Instant::now(),
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    /// Sends the events of a page, if there are any, in texts of about the size that is allowed.
    async fn send_page(&self, page: &EventPage) -> Result<bool, End> {
        let mut gathered = Vec::new();
        for event in page.iter() {
            text::write(event, &mut gathered);
            if gathered.len() >= self.streams.settings.client_bytes {
                self.send(std::mem::take(&mut gathered)).await?;
            }
        }
        if gathered.is_empty() {
            return Ok(!page.is_empty());
        }
        self.send(gathered).await
    }

    async fn send(&self, text: Vec<u8>) -> Result<bool, End> {
        let limit = self.streams.settings.stall_timeout;
        match timeout(limit, self.sender.send(text.into())).await {
            // A client that went away is noticed elsewhere.
            Ok(_) => Ok(true),
            Err(_) => Err(End::Stalled),
        }
    }
}

/// A stream that is open must not outlive what it was opened with.
async fn until_unknown(known: Option<(Data<Guard>, Principal)>) {
    match known {
        Some((guard, principal)) => guard.until_unknown(&principal).await,
        None => std::future::pending().await,
    }
}

/// Waits until a time is over, and then tells where the log ends.
async fn log_end_after(streams: EventStreams, to: Option<DateTime<Utc>>) -> Position {
    let Some(to) = to else {
        return std::future::pending().await;
    };
    loop {
        let left = LATE - (streams.clock.now() - to);
        // A time that is over is none that is left.
        let Ok(left) = left.to_std() else { break };
        sleep(left.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)).await;
    }
    loop {
        match streams.store.last_position().await {
            Ok(last) => return last,
            Err(error) => debug!(%error, "the log's end is not known yet"),
        }
        sleep(RETRY).await;
    }
}
