//! `dormouse import`, killed in the middle again and again: what stands is a beginning of the input.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use ulid::Ulid;

use super::{events, write};
use crate::support::{
    Backend, backends,
    command::{kill_once, run},
    database::Database,
    scratch, seed,
};

const USERS: u64 = 1200;
/// Aggregates of a type that the binary does not know.
const THINGS: u64 = 400;
/// Events of each aggregate.
const ROUNDS: u64 = 3;
const BATCH: &str = "50";
/// How often it is begun to be killed while it stores events; some may come to their end before.
const TRIES: u32 = 7;
const KILLS: u32 = 5;
/// The most events that are stored between two kills.
const STRIDE: i64 = 600;
/// How often it is begun to be killed while it takes unique values.
const CLAIM_TRIES: u32 = 3;

/// The events of all, in an order that mixes aggregates.
fn input() -> Vec<Value> {
    let mut events = Vec::new();
    for round in 1..=ROUNDS {
        for number in 0..USERS + THINGS {
            let id = Ulid::from_parts(round * 1_000_000 + number, 7);
            let (aggregate_type, event_type, data) = match (number < USERS, round) {
                (false, _) => ("Unheard", "HappenedEvent", json!({"round": round})),
                (true, 1) => ("User", "UserCreatedEvent", user(number)),
                (true, _) => (
                    "User",
                    "UserUpdatedEvent",
                    json!({"nick_name": format!("Nick {round}")}),
                ),
            };
            events.push(json!({
                "id": id, "aggregate_id": format!("a{number}"), "aggregate_type": aggregate_type,
                "event_type": event_type, "event_data": data, "version": round,
                "schema_version": 1, "occurred_at": "2011-11-01T08:30:00.000001Z",
                "created_by": null, "correlation_id": id, "causation_id": null,
            }));
        }
    }
    events
}

fn user(number: u64) -> Value {
    json!({
        "username": format!("name{number}"), "password_hash": {"$secret": "$2a$10$x"},
        "domain": "d", "nick_name": "Nick", "email": null, "phone_number": null, "avatar": null,
        "status": "ENABLED",
    })
}

/// A database that a file enters.
struct Entry {
    url: String,
    database: Database,
    file: String,
    input: Vec<Value>,
    _kept: (Backend, TempDir),
}

impl Entry {
    async fn of(backend: Backend) -> Self {
        let (directory, input) = (scratch(), input());
        let lines: Vec<String> = input.iter().map(Value::to_string).collect();
        let url = backend.store_url();
        run(&url, &["migrate"]).prints(0);
        Self {
            database: Database::open(&url).await,
            url,
            file: write(directory.path(), &lines.join("\n")),
            input,
            _kept: (backend, directory),
        }
    }

    /// Imports and is killed once a number that grows has grown so far; false where it came to its
    /// end before.
    async fn import_and_kill(&mut self, number: &str, wanted: i64, pause: Duration) -> bool {
        let database = &mut self.database;
        let arguments = ["import", "--batch", BATCH, &self.file];
        kill_once(&self.url, &arguments, async || {
            let is_there = database.number(number).await >= wanted;
            if is_there {
                // Not always between two batches.
                tokio::time::sleep(pause).await;
            }
            is_there
        })
        .await
    }

    /// Imports to the end; gives how many events were stored, and how many were there before.
    fn import(&self) -> (usize, usize) {
        let ended = run(&self.url, &["import", "--batch", BATCH, &self.file]);
        ended.prints(0);
        let sums = ended.errors.lines().last().unwrap();
        let numbers: Vec<usize> = sums
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [stored, already, refused, unheld] = numbers[..] else {
            panic!("{sums}");
        };
        assert_eq!((refused, unheld), (0, 0), "{sums}");
        (stored, already)
    }

    /// What is stored is the beginning of the input, in its order.
    async fn holds_a_beginning(&mut self) -> usize {
        let ids = "select id from domain_events where position is not null order by position";
        let ids = self.database.texts(ids).await;
        let beginning = self.input.iter().take(ids.len());
        let beginning = beginning.map(|event| event["id"].as_str().unwrap().to_owned());
        assert!(ids.iter().cloned().eq(beginning), "{} events", ids.len());
        ids.len()
    }
}

/// How long a run that is to be killed goes on.
fn pause(random: &mut StdRng) -> Duration {
    Duration::from_micros(random.random_range(0..10_000))
}

const EVENTS: &str = "select coalesce(max(position), 0) from domain_events";
const CLAIMS: &str = "select count(*) from aggregate_claims";

#[tokio::test]
async fn however_often_it_is_killed_each_event_enters_once_and_in_order() {
    let mut random = StdRng::seed_from_u64(seed());
    for backend in backends().await {
        let mut entry = Entry::of(backend).await;
        let mut kills = 0;
        for _ in 0..TRIES {
            let stored = entry.holds_a_beginning().await;
            let wanted = i64::try_from(stored).unwrap() + random.random_range(1..=STRIDE);
            let pause = pause(&mut random);
            kills += u32::from(entry.import_and_kill(EVENTS, wanted, pause).await);
        }
        let stored = entry.holds_a_beginning().await;
        assert!(kills >= KILLS, "killed {kills} times only");
        assert!(stored < entry.input.len(), "nothing was left to be stored");
        let mut kills = 0;
        for _ in 0..CLAIM_TRIES {
            let taken = entry.database.number(CLAIMS).await;
            let wanted = taken + random.random_range(1..=200);
            let pause = pause(&mut random);
            kills += u32::from(entry.import_and_kill(CLAIMS, wanted, pause).await);
        }
        assert!(kills > 0, "never killed while it took unique values");

        let (stored, already) = entry.import();

        assert_eq!((stored, already), (0, entry.input.len()));
        assert_eq!(entry.holds_a_beginning().await, entry.input.len());
        assert_eq!(events(&entry.url), entry.input);
        let holders = "select aggregate_id || value from aggregate_claims order by 1";
        let mut expected: Vec<String> = (0..USERS).map(|n| format!("a{n}name{n}")).collect();
        expected.sort_unstable();
        let mut holders = entry.database.texts(holders).await;
        holders.sort_unstable();
        assert_eq!(holders, expected);
    }
}

#[tokio::test]
async fn a_run_that_goes_on_tells_what_was_there_and_what_it_stored() {
    for backend in backends().await {
        let mut entry = Entry::of(backend).await;
        entry.import_and_kill(EVENTS, 1000, Duration::ZERO).await;
        let there = entry.holds_a_beginning().await;

        let (stored, already) = entry.import();

        assert!((1000..entry.input.len()).contains(&there), "{there}");
        // A database may still have carried out what the killed one sent last.
        assert!(already >= there, "{already} of {there}");
        assert_eq!(stored + already, entry.input.len());
    }
}
