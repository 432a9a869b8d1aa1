//! The real server, killed and stopped while it keeps the directory of users.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::directory::Directory;
use crate::support::Backend;

const CRASHES: usize = 5;
const SHORT_LEASE: [(&str, &str); 2] = [
    ("DORMOUSE__PROJECTIONS__LEASE", "500ms"),
    ("DORMOUSE__PROJECTIONS__BATCH_EVENTS", "3"),
];

/// All users in the directory, once it has a position.
async fn users(directory: &Directory, position: u64) -> Vec<(String, u64)> {
    let read = directory.read_after("?limit=1000", position).await;
    let users = read.body["users"].as_array().unwrap().clone();
    let entry = |user: &Value| {
        let name = user["username"].as_str().unwrap().to_owned();
        (name, user["version"].as_u64().unwrap())
    };
    users.iter().map(entry).collect()
}

async fn killed_while_it_applies(backend: Backend) {
    let mut directory = Directory::start(&backend, &SHORT_LEASE).await;
    let mut expected = BTreeSet::new();
    let mut last = 0;
    for crash in 0..CRASHES {
        for number in 0..20 {
            let name = format!("user{crash:02}{number:02}");
            directory.create(&name, "a").await;
            let update = serde_json::json!({"nick_name": "Other"});
            last = directory
                .command(&format!("id-{name}"), "update", &update)
                .await;
            expected.insert((name, 2));
        }
        // Batches of three are under way: the kill meets one.
        directory.server.kill9();
        directory = Directory::start(&backend, &SHORT_LEASE).await;
    }

    let found = users(&directory, last).await;

    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_directory_is_the_fold_of_the_log_after_kill_9_on_sqlite() {
    killed_while_it_applies(Backend::sqlite()).await;
}

#[tokio::test]
async fn the_directory_is_the_fold_of_the_log_after_kill_9_on_postgres() {
    killed_while_it_applies(Backend::postgres().await).await;
}

#[tokio::test]
async fn a_process_that_sleeps_past_its_lease_writes_nothing_when_it_wakes() {
    let backend = Backend::postgres().await;
    let sleeper = Directory::start(&backend, &SHORT_LEASE).await;
    let position = sleeper.create("anna", "a").await;
    sleeper.read_after("", position).await;
    let other = Directory::start(&backend, &SHORT_LEASE).await;

    sleeper.server.stop();
    let mut last = 0;
    for number in 0..20 {
        last = other.create(&format!("user{number:02}"), "a").await;
    }
    // The lease has changed hands, for the other has applied these.
    other.read_after("", last).await;
    sleeper.server.go_on();
    for number in 20..40 {
        last = sleeper.create(&format!("user{number:02}"), "a").await;
    }

    assert_eq!(users(&other, last).await.len(), 41);
    assert_eq!(users(&sleeper, last).await.len(), 41);
    let told = || {
        sleeper
            .server
            .log()
            .contains("the lease on a read model is lost")
    };
    let started = std::time::Instant::now();
    while !told() {
        assert!(started.elapsed().as_secs() < 20, "{}", sleeper.server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        !other.server.log().contains("is lost"),
        "{}",
        other.server.log()
    );
}
