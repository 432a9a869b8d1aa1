//! One hot aggregate over the real stores.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::{node::Setup, scale};
use crate::support::{
    Backend,
    checker::{Acknowledged, Ledger, Log, open},
    counter::id,
};

async fn six_hundred_at_once(backend: Backend, shared: bool) {
    let count = 600 * scale();
    let store = open(&backend.store_url()).await;
    let mut setup = if shared {
        Setup::shared()
    } else {
        Setup::default()
    };
    setup.counter.mailbox = count;
    let node = setup.start_on(&store).await;

    let adds = (0..count).map(|number| {
        let token = format!("t-{number}");
        let key = (number % 2 == 0).then_some(token.as_str());
        tokio::spawn(node.add("c", &token, key))
    });
    let answers = join_all(adds).await;

    let mut ledger = Ledger::default();
    let mut versions = HashSet::new();
    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.reply, answer.version.get());
        assert!(versions.insert(answer.version));
        let token = format!("t-{number}");
        ledger.sent.insert(token.clone());
        ledger.acknowledged.push(Acknowledged {
            token,
            id: id("c"),
            version: answer.version.get(),
            position: answer.position.get(),
            keyed: number % 2 == 0,
        });
    }
    let log = Log::read(&*store).await;
    log.check(&*store, &ledger).await;
    assert_eq!(log.events.len(), count);
    assert_eq!(node.state("c").await.total, count as u64);
    assert_eq!(node.runtime.shutdown().await.unanswered, 0);
}

#[tokio::test]
async fn a_hot_aggregate_on_sqlite_answers_each_command_once() {
    six_hundred_at_once(Backend::sqlite(), false).await;
}

#[tokio::test]
async fn a_hot_aggregate_on_postgres_answers_each_command_once() {
    six_hundred_at_once(Backend::postgres().await, true).await;
}
