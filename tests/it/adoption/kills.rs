//! `dormouse adopt`, killed in the middle again and again: each row gets one first event.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::support::{
    Backend, admin, backends,
    checker::{open, read},
    command::{kill_once, run},
    database::Database,
    seed,
};

const ROWS: u32 = 4000;
const BATCH: &str = "25";
/// How often it is begun to be killed; some of these may come to their end before.
const TRIES: u32 = 8;
const KILLS: u32 = 5;
/// The most rows that are adopted between two kills.
const STRIDE: i64 = 400;

/// Some rows can never be adopted: keys with a space, and addresses that another has in capitals.
fn rows() -> String {
    format!(
        "insert into sys_user (id, username, password, domain, email, nick_name, status, \
         created_at, created_by) \
         with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {ROWS}) \
         select case when n % 250 = 0 then 'u ' else 'u' end || (100000 + n), 'name' || n, '$2a$10$x', \
         'd', case when n % 400 = 7 then 'M' || (n - 1) || '@EXAMPLE.ORG' else 'm' || n || \
         '@example.org' end, 'Nick', 'ENABLED', '2024-05-15 00:00:00', '-1' from numbers; \
         insert into sys_user_role (user_id, role_id) select id, '3' from sys_user where id >= 'u103000'"
    )
}

/// An existing system of so many rows.
struct System {
    url: String,
    database: Database,
    _backend: Backend,
}

/// What a run says of itself.
#[derive(Debug)]
struct Report {
    adopted: u64,
    had_events: u64,
    /// The rows that were not adopted, with the reasons.
    refusals: Vec<Value>,
}

impl System {
    async fn on(backend: Backend) -> Self {
        let mut database = admin::load(&backend).await;
        database.run(&rows()).await;
        Self {
            url: backend.store_url(),
            database,
            _backend: backend,
        }
    }

    /// Adopts all, without being killed.
    fn adopt(&self) -> Report {
        let ended = run(&self.url, &["adopt", "User", "--batch", BATCH, "--json"]);
        let lines = ended.prints(3).lines();
        let mut lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let sums = lines.pop().unwrap();
        let sum = |name: &str| sums[name].as_u64().unwrap();
        assert_eq!(sum("refused"), lines.len() as u64);
        Report {
            adopted: sum("adopted"),
            had_events: sum("had_events"),
            refusals: lines,
        }
    }

    /// Adopts and is killed somewhere in the next rows; false where it came to its end before.
    async fn adopt_and_kill(&mut self, random: &mut StdRng) -> bool {
        let wanted = self.database.last_position().await + random.random_range(1..=STRIDE);
        let pause = Duration::from_micros(random.random_range(0..10_000));
        let database = &mut self.database;
        let arguments = ["adopt", "User", "--batch", BATCH];
        kill_once(&self.url, &arguments, async || {
            let is_there = database.last_position().await >= wanted;
            if is_there {
                // Not always between two batches.
                tokio::time::sleep(pause).await;
            }
            is_there
        })
        .await
    }

    /// The first event of each, but for what no two runs have in common; there is no second one.
    async fn first_events(&self) -> BTreeMap<String, [String; 4]> {
        let store = open(&self.url).await;
        let log = read(&*store).await;
        store.close().await;
        let mut events = BTreeMap::new();
        for event in log.events() {
            assert_eq!(event.version.get(), 1, "{}", event.stream);
            let told = [
                event.event_type.clone(),
                event.data.to_string(),
                event.occurred_at.to_string(),
                format!("{:?}", event.created_by),
            ];
            let earlier = events.insert(event.stream.to_string(), told);
            assert_eq!(earlier, None, "{}", event.stream);
        }
        events
    }

    /// The claims and what is known of the rows, each as a line.
    async fn beside(&mut self) -> [Vec<String>; 2] {
        let claims = "select aggregate_id || ' ' || claim || ' ' || value from aggregate_claims \
                      order by 1";
        let marks = "select aggregate_id || ' ' || version || ' ' || row_marks \
                     from domain_events order by 1";
        let marks = self.database.texts(marks).await;
        assert!(
            marks.iter().all(|told| told.contains("nick_name")),
            "{marks:?}"
        );
        [self.database.texts(claims).await, marks]
    }

    /// What verification finds, in an order of its own.
    fn findings(&self) -> Vec<String> {
        let ended = run(&self.url, &["verify", "User", "--json"]);
        let mut lines: Vec<String> = ended.prints(3).lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

#[tokio::test]
async fn however_often_it_is_killed_each_row_gets_one_first_event_and_the_report_is_the_same() {
    let mut random = StdRng::seed_from_u64(seed());
    for (quiet, killed) in backends().await.into_iter().zip(backends().await) {
        let (mut quiet, mut killed) = (System::on(quiet).await, System::on(killed).await);
        let whole = quiet.adopt();

        let mut kills = 0;
        for _ in 0..TRIES {
            kills += u32::from(killed.adopt_and_kill(&mut random).await);
        }
        let before = killed.database.last_position().await;
        let last = killed.adopt();

        assert!(kills >= KILLS, "killed {kills} times only");
        assert_eq!(whole.had_events, 0);
        assert!(last.adopted > 0, "nothing was left for the last run");
        // A database may still have carried out what the killed one sent last.
        assert!(i64::try_from(last.had_events).unwrap() >= before);
        assert_eq!(last.adopted + last.had_events, whole.adopted);
        assert_eq!(whole.refusals.len(), 26, "{:?}", whole.refusals);
        assert_eq!(last.refusals, whole.refusals);
        let first_events = killed.first_events().await;
        assert_eq!(first_events.len() as u64, whole.adopted);
        assert_eq!(first_events, quiet.first_events().await);
        assert_eq!(killed.beside().await, quiet.beside().await);
        assert_eq!(killed.findings(), quiet.findings());
        let again = killed.adopt();
        assert_eq!((again.adopted, again.had_events), (0, whole.adopted));
    }
}
