//! A program beside the servers that knows nothing of them: in its own transactions it changes rows of
//! the state table and inserts the events that tell so, without a position.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Client;
use serde_json::json;
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{task::JoinHandle, time::sleep};
use ulid::Ulid;

use crate::{
    after,
    caller::WARM,
    check::{ROLE, shown},
    history::{Hear, Heard, Line, Send, Token},
    world::World,
};

/// Behind the numbers of all callers.
const NUMBER: u64 = 1 << 20;
const PAUSE: Duration = Duration::from_millis(25);

const NEWEST: &str = "select version, occurred_at::text from domain_events where aggregate_type = $1 \
    and aggregate_id = $2 order by version desc limit 1";
const WRITE_ROW: &str = "update sys_role set description = $2, updated_at = now(), \
    updated_by = 'legacy' where id = $1";
// Its clock may be behind that of a node, and time does not go back within an aggregate.
const INSERT: &str = "insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, \
    event_data, occurred_at, created_by, correlation_id) values ($1, $2, $3, $4, 'RoleUpdatedEvent', \
    $5::jsonb, greatest(now(), $6::timestamptz), 'legacy', $7)";

/// The program at work.
#[derive(Debug)]
pub(crate) struct Legacy {
    ended: Arc<AtomicBool>,
    task: Option<JoinHandle<Program>>,
}

impl Legacy {
    /// Starts it, where there is a PostgreSQL whose rows are ours.
    pub(crate) fn start(world: &Arc<World>, seed: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let program = Program {
            world: Arc::clone(world),
            random: StdRng::seed_from_u64(seed ^ 0x1e9a_c700),
            ended: Arc::clone(&ended),
            sent: 0,
            committed: 0,
            connection: None,
            written: BTreeSet::new(),
        };
        let wanted = world.has_rows && !world.is_sqlite();
        let task = wanted.then(|| tokio::spawn(program.run()));
        Self { ended, task }
    }

    /// Lets it end, and has servers meet what it has written; gives how often that was, where it was
    /// started at all.
    pub(crate) async fn stop(mut self, world: &World) -> Option<u64> {
        self.ended.store(true, Ordering::Relaxed);
        let program = self.task.take()?.await.expect("it ends by itself");
        let client = Client::builder().no_proxy().build().expect("a client");
        for (choice, id) in (0..).zip(program.written) {
            after::meet(world, &client, choice, &id).await;
        }
        Some(program.committed)
    }
}

#[derive(Debug)]
struct Program {
    world: Arc<World>,
    random: StdRng,
    ended: Arc<AtomicBool>,
    sent: u64,
    committed: u64,
    connection: Option<PgConnection>,
    written: BTreeSet<String>,
}

/// What became of a transaction.
enum Done {
    Committed {
        version: i64,
        event: Ulid,
    },
    /// Certainly nothing is stored.
    Undone,
    Unknown,
}

impl Program {
    async fn run(mut self) -> Self {
        while !self.ended.load(Ordering::Relaxed) {
            sleep(PAUSE * self.random.random_range(1..4)).await;
            let Some(connection) = self.connect().await else {
                continue;
            };
            self.sent += 1;
            let token: Token = NUMBER << 40 | self.sent;
            let id = format!("warm-{}", self.random.random_range(0..WARM));
            self.world.history.write(&Line::Send(Send {
                at: self.world.history.now(),
                token,
                id: id.clone(),
                command: "legacy".to_owned(),
                keyed: false,
                expects: None,
                node: 0,
            }));
            let hold = Duration::from_millis(self.random.random_range(0..40));
            let (connection, done) = self.write(connection, token, &id, hold).await;
            self.connection = connection;
            let what = match done {
                Done::Committed { version, event } => {
                    self.committed += 1;
                    self.written.insert(id);
                    Heard::Done {
                        version: version.unsigned_abs(),
                        // It gets one later.
                        position: 0,
                        event: event.to_string(),
                        replayed: false,
                    }
                }
                Done::Undone => Heard::Refused("rolled-back".to_owned()),
                Done::Unknown => {
                    self.written.insert(id);
                    Heard::Unknown("no-answer".to_owned())
                }
            };
            self.world.history.write(&Line::Hear(Hear {
                at: self.world.history.now(),
                token,
                what,
            }));
        }
        self
    }

    async fn connect(&mut self) -> Option<PgConnection> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        let options: PgConnectOptions = self.world.place.url.parse().expect("a URL of ours");
        let options = options.options([("statement_timeout", "3s")]);
        options.connect().await.ok()
    }

    /// One transaction; the connection comes back where it is good still.
    async fn write(
        &self,
        mut connection: PgConnection,
        token: Token,
        id: &str,
        hold: Duration,
    ) -> (Option<PgConnection>, Done) {
        let event = Ulid::generate();
        let prepared = self.prepare(&mut connection, token, id, event, hold).await;
        let Ok(Some(version)) = prepared else {
            let undone = sqlx::query("rollback").execute(&mut connection).await;
            return (undone.is_ok().then_some(connection), Done::Undone);
        };
        match sqlx::query("commit").execute(&mut connection).await {
            Ok(_) => (Some(connection), Done::Committed { version, event }),
            Err(_) => (None, Done::Unknown),
        }
    }

    /// Writes the row and the event; nothing where there is no such role.
    async fn prepare(
        &self,
        connection: &mut PgConnection,
        token: Token,
        id: &str,
        event: Ulid,
        hold: Duration,
    ) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query("begin").execute(&mut *connection).await?;
        let newest = sqlx::query_as::<_, (i64, String)>(NEWEST)
            .bind(ROLE)
            .bind(id);
        let Some((version, occurred_at)) = newest.fetch_optional(&mut *connection).await? else {
            return Ok(None);
        };
        let row = sqlx::query(WRITE_ROW).bind(id).bind(shown(token));
        if row.execute(&mut *connection).await?.rows_affected() != 1 {
            return Ok(None);
        }
        let correlation = u128::from(self.world.run) << 64 | u128::from(token);
        let insert = sqlx::query(INSERT)
            .bind(event.to_string())
            .bind(ROLE)
            .bind(id)
            .bind(version + 1)
            .bind(json!({"description": shown(token)}).to_string())
            .bind(occurred_at)
            .bind(Ulid::from(correlation).to_string());
        insert.execute(&mut *connection).await?;
        sleep(hold).await;
        Ok(Some(version + 1))
    }
}
