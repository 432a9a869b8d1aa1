//! Hints between the programs on one database: NOTIFY after an append, LISTEN where one follows.
//!
//! A NOTIFY inside the append's transaction would make all commits of the database wait for one
//! lock (PostgreSQL takes it from the notification to the end of the commit). So it is a
//! statement of its own on a connection of its own, sent after the append, by nobody who is waited
//! for; one is under way at most, and the next tells of all that came meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Error,
    postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::errors::is_unsupported;
use crate::{
    domain::Position,
    store::{Commit, Hints, Verdict, hints::last_stored},
};

const CHANNEL: &str = "dormouse_log";
const NOTIFY: &str = "select pg_notify('dormouse_log', $1)";
/// A notification takes a transaction id, so it would wait for the disk; and it may be lost.
const NOT_DURABLE: &str = "set synchronous_commit = off";

/// The pause after a notification: what is appended meanwhile is told with the next.
const NOTIFY_PAUSE: Duration = Duration::from_millis(10);
/// The first pause after a failure; the others are twice the one before.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How a store tells of appends and hears of those of others.
pub(super) struct Announcements {
    pub(super) hints: Hints,
    options: PgConnectOptions,
    connect_timeout: Duration,
    /// False where nobody is to be told, or where the server cannot tell anyone.
    enabled: AtomicBool,
    /// The last position that is to be told of.
    last: AtomicU64,
    sending: AtomicBool,
    listening: AtomicBool,
    sender: Mutex<Option<PgConnection>>,
    closed: watch::Sender<bool>,
}

impl Announcements {
    pub(super) fn new(options: PgConnectOptions, connect_timeout: Duration, enabled: bool) -> Self {
        Self {
            hints: Hints::default(),
            options,
            connect_timeout,
            enabled: AtomicBool::new(enabled),
            last: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            sender: Mutex::new(None),
            closed: watch::Sender::new(false),
        }
    }

    /// Tells of what was stored of a batch. It waits for nothing.
    pub(super) fn appended(self: &Arc<Self>, batch: &[Commit], verdicts: &[Verdict]) {
        if let Some(last) = last_stored(batch, verdicts) {
            self.numbered(last);
        }
    }

    /// Tells that the log has grown up to this position. It waits for nothing.
    pub(super) fn numbered(self: &Arc<Self>, last: Position) {
        self.hints.tell(last);
        self.last.fetch_max(last.get(), Ordering::SeqCst);
        if self.is_enabled() && !self.sending.swap(true, Ordering::SeqCst) {
            tokio::spawn(send(Mark::taken(self, |this| &this.sending)));
        }
    }

    /// Hears of appends, those of other programs included.
    pub(super) fn watch(self: &Arc<Self>) -> watch::Receiver<Position> {
        let heard = self.hints.watch();
        if self.is_enabled() && !self.listening.swap(true, Ordering::SeqCst) {
            tokio::spawn(listen(Mark::taken(self, |this| &this.listening)));
        }
        heard
    }

    pub(super) async fn close(&self) {
        self.closed.send_replace(true);
        if let Some(connection) = self.sender.lock().await.take() {
            // Only politeness towards the server is lost where this fails or takes long.
            let _ = timeout(self.connect_timeout, connection.close()).await;
        }
    }

    fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::SeqCst) && !*self.closed.borrow()
    }

    async fn until_closed(&self) {
        // The sender is in `self`, so the channel cannot close.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    async fn notify(&self, position: u64) -> Result<(), Error> {
        let mut slot = self.sender.lock().await;
        let notifying = async {
            let mut connection = if let Some(connection) = slot.take() {
                connection
            } else {
                let mut fresh = self.options.connect().await?;
                sqlx::query(NOT_DURABLE).execute(&mut fresh).await?;
                fresh
            };
            let notify = sqlx::query(NOTIFY).bind(position.to_string());
            notify.execute(&mut connection).await?;
            Ok(connection)
        };
        let notified = timeout(self.connect_timeout, notifying).await;
        *slot = Some(notified.unwrap_or(Err(Error::PoolTimedOut))?);
        Ok(())
    }

    /// Where the server knows no notifications, polling is all there is.
    fn give_up_if_unsupported(&self, error: &Error) {
        if is_unsupported(error) && self.enabled.swap(false, Ordering::SeqCst) {
            warn!(%error, "the database has no LISTEN and NOTIFY; readers poll");
        }
    }
}

/// The mark of a task of which there is one at most. However the task ends, the mark is given
/// back, so another may begin.
struct Mark {
    of: Arc<Announcements>,
    flag: fn(&Announcements) -> &AtomicBool,
    held: bool,
}

impl Mark {
    fn taken(of: &Arc<Announcements>, flag: fn(&Announcements) -> &AtomicBool) -> Self {
        Self {
            of: Arc::clone(of),
            flag,
            held: true,
        }
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.held) {
            (self.flag)(&self.of).store(false, Ordering::SeqCst);
        }
    }

    /// Whether there was no other task meanwhile, so that this one may go on.
    fn take_again(&mut self) -> bool {
        self.held = !(self.flag)(&self.of).swap(true, Ordering::SeqCst);
        self.held
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Notifies until there is nothing new to tell.
async fn send(mut mark: Mark) {
    let this = Arc::clone(&mark.of);
    let (mut told, mut pause) = (0, RETRY_MIN);
    while this.is_enabled() {
        let last = this.last.load(Ordering::SeqCst);
        if last == told {
            mark.give_back();
            // An append just before that line has found this task at work.
            if this.last.load(Ordering::SeqCst) == told || !mark.take_again() {
                return;
            }
            continue;
        }
        let wait = match this.notify(last).await {
            Ok(()) => {
                (told, pause) = (last, RETRY_MIN);
                NOTIFY_PAUSE
            }
            Err(error) => {
                debug!(%error, "other servers were not told of an append; they poll");
                this.give_up_if_unsupported(&error);
                let now = pause;
                pause = (pause * 2).min(RETRY_MAX);
                now
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = this.until_closed() => {}
        }
    }
}

/// Listens as long as someone hears it.
async fn listen(mut mark: Mark) {
    let this = Arc::clone(&mark.of);
    let mut pause = RETRY_MIN;
    while this.is_enabled() {
        if !this.hints.are_heard() {
            mark.give_back();
            // Someone who came just before that line has found this task at work.
            if !this.hints.are_heard() || !mark.take_again() {
                return;
            }
        }
        let ended = tokio::select! {
            ended = hear(&this, &mut pause) => ended,
            () = this.hints.until_unheard() => continue,
            () = this.until_closed() => return,
        };
        if let Err(error) = ended {
            debug!(%error, "other servers are not heard; their events are found by polling");
            this.give_up_if_unsupported(&error);
        }
        let wait = pause;
        pause = (pause * 2).min(RETRY_MAX);
        tokio::select! {
            () = sleep(wait) => {}
            () = this.until_closed() => {}
        }
    }
}

/// Hears notifications until the connection breaks.
async fn hear(this: &Announcements, pause: &mut Duration) -> Result<(), Error> {
    // The listener wants a pool; one connection is all that it takes from it.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(this.connect_timeout)
        .connect_lazy_with(this.options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    *pause = RETRY_MIN;
    // What was told before it listened is lost.
    this.hints.look_again();
    while let Some(notification) = listener.try_recv().await? {
        // Anybody may notify: what is no position is passed over.
        if let Ok(position) = notification.payload().parse() {
            this.hints.tell(Position::new(position));
        }
    }
    Ok(())
}
