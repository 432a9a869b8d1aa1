//! The end: what was taken is answered, and nothing more is taken.

use std::time::Duration;

use dormouse::{
    runtime::{CommandError, Unready},
    testing::{Fault, Gate, Operation},
};
use futures_util::{FutureExt as _, future::join_all};

use super::{
    load::Load,
    node::{Setup, until},
};
use crate::support::{Backend, counter::id, server::Server};

#[tokio::test]
async fn a_shutdown_answers_all_it_took_and_refuses_what_comes() {
    let node = Setup::default().start().await;
    node.add("c", "first", None).await.unwrap();
    let gate = Gate::new();
    node.store
        .inject_next(Operation::Append, Fault::Hold(gate.clone()));
    // The aggregate is live, so that one poll is enough for each to be taken.
    let mut taken: Vec<_> = (0..5)
        .map(|number| Box::pin(node.add("c", &format!("t-{number}"), None)))
        .collect();
    for add in &mut taken {
        assert!(add.as_mut().now_or_never().is_none());
    }
    gate.reached(1).await;

    let ending = tokio::spawn({
        let runtime = node.runtime.clone();
        async move { runtime.shutdown().await }
    });
    until(|| node.runtime.is_ending()).await;
    let refused = node.add("c", "late", None).await;
    let unread = node.counters.state(&id("c")).await;
    let ready = node.runtime.ready().await;
    gate.open();

    for answer in join_all(taken).await {
        answer.unwrap();
    }
    assert_eq!(ending.await.unwrap().unanswered, 0);
    assert!(matches!(refused, Err(CommandError::ShuttingDown)));
    assert!(unread.is_err());
    assert!(matches!(ready, Err(Unready::Ending)), "{ready:?}");
    let after = node.add("c", "after", None).await;
    assert!(matches!(after, Err(CommandError::ShuttingDown)));
}

#[tokio::test]
async fn a_shutdown_ends_in_time_though_the_store_does_not_answer() {
    let mut setup = Setup::default();
    setup.runtime.shutdown_timeout = Duration::from_millis(100);
    let node = setup.start().await;
    node.store.inject_next(Operation::Append, Fault::Stall);
    let stalled = tokio::spawn(node.add("c", "t", None));
    until(|| node.store.calls(Operation::Append) == 1).await;

    let ended = node.runtime.shutdown().await;

    assert_eq!(ended.unanswered, 1);
    let answer = stalled.await.unwrap();
    assert!(
        matches!(answer, Err(CommandError::OutcomeUnknown)),
        "{answer:?}"
    );
}

async fn asked_to_end_under_load(backend: Backend) {
    let url = backend.store_url();
    let settings = [("DORMOUSE__STORE__URL", url.as_str())];
    let mut server = Server::start(&settings).await;
    let mut load = Load::start(vec![server.url()]);

    for _ in 0..3 {
        load.progress(60).await;
        let status = terminate(&mut server);
        assert_eq!(status, Some(0), "{}", server.log());
        let log = server.log();
        assert!(
            log.contains("everything that was taken is answered"),
            "{log}"
        );
        server = Server::start(&settings).await;
        load.redirect(vec![server.url()]);
    }
    load.progress(20).await;

    let report = load.stop().await;
    server.terminate();
    report.check(&url).await;
}

/// The callers go on while the server ends: waiting for it must not hold them up.
fn terminate(server: &mut Server) -> Option<i32> {
    std::thread::scope(|scope| scope.spawn(|| server.terminate().code()).join().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_asked_to_end_answers_what_it_took_on_sqlite() {
    asked_to_end_under_load(Backend::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_asked_to_end_answers_what_it_took_on_postgres() {
    asked_to_end_under_load(Backend::postgres().await).await;
}
