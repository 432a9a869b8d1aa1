//! One hot aggregate over the real stores.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;

use super::{node::Setup, scale};
use crate::support::{
    Backend,
    checker::{Heard, check, command, open, stream, told},
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

    let history = Mutex::new(Heard::new());
    let adds = (0..count).map(|number| {
        let token = format!("t-{number}");
        let keyed = number % 2 == 0;
        let call = lock(&history).sent(stream("Counter", "c"), command(&token, keyed));
        let adding = tokio::spawn(node.add("c", &token, keyed.then_some(&token)));
        let history = &history;
        async move {
            let answer = adding.await.unwrap().unwrap();
            let (version, position) = (answer.version.get(), answer.position.get());
            assert_eq!(answer.reply, version);
            lock(history).answered(call, told(version, position, answer.replayed));
        }
    });
    join_all(adds).await;

    let history = history.into_inner().unwrap();
    let log = check(&*store, &history).await;
    assert_eq!(log.events().len(), count);
    assert_eq!(node.state("c").await.total, count as u64);
    assert_eq!(node.runtime.shutdown().await.unanswered, 0);
}

fn lock(history: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test]
async fn a_hot_aggregate_on_sqlite_answers_each_command_once() {
    six_hundred_at_once(Backend::sqlite(), false).await;
}

#[tokio::test]
async fn a_hot_aggregate_on_postgres_answers_each_command_once() {
    six_hundred_at_once(Backend::postgres().await, true).await;
}
