//! After a crash, a lost answer or a caller that went away.

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use super::{Fixture, append, commit, event_ids, first_position, key, positions, receipt};
use super::{stream, whole_log};
use ulid::Ulid;

use crate::{
    domain::{IdempotencyKey, Version},
    store::{Commit, EventStore, RecoveryRequest},
};

/// What was answered as committed is there when the store is opened after a crash.
pub async fn receipts_outlive_a_crash(fixture: &impl Fixture) {
    let one = stream("one");
    let mut first = commit(&one, 0, 3);
    first.receipt = Some(receipt("with-reply", Some(r#"{"token":"ü"}"#)));
    let mut no_op = commit(&one, 3, 0);
    no_op.receipt = Some(receipt("no-op", None));
    let store = fixture.open().await;
    append(&*store, vec![first.clone(), no_op.clone()]).await;
    drop(store);

    let store = fixture.open().await;

    let found = store
        .receipt(&one, &key("with-reply"))
        .await
        .expect("an answer");
    let found = found.expect("a receipt");
    let sent = first.receipt.as_ref().expect("set above");
    assert_eq!((found.id, found.command_hash), (sent.id, sent.command_hash));
    assert_eq!((found.first_version.get(), found.event_count), (1, 3));
    assert_eq!(found.correlation_id, first.correlation_id);
    let reply: serde_json::Value = found
        .reply
        .and_then(|reply| serde_json::from_str(reply.get()).ok())
        .expect("a reply");
    assert_eq!(reply, serde_json::json!({ "token": "ü" }));
    let found = store.receipt(&one, &key("no-op")).await.expect("an answer");
    let found = found.expect("a receipt");
    assert_eq!((found.first_version.get(), found.event_count), (4, 0));
    assert!(found.reply.is_none());
    assert!(
        store
            .receipt(&one, &key("other"))
            .await
            .expect("an answer")
            .is_none()
    );
    assert_eq!(whole_log(&*store).await.len(), 3);
    assert_eq!(
        store.current_version(&one).await.expect("it"),
        Version::new(3)
    );
}

/// Of the receipts under a runtime's own keys the oldest are forgotten, and no caller's ever.
pub async fn only_old_receipts_under_reserved_keys_are_forgotten(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let reserved = |milliseconds| IdempotencyKey::reserved(Ulid::from_parts(milliseconds, 7));
    let mut batch = Vec::new();
    for (stream, milliseconds) in [(&one, 1), (&other, 2), (&one, 3), (&one, 4)] {
        let mut under = receipt("replaced", None);
        under.key = reserved(milliseconds);
        let mut no_op = commit(stream, 0, 0);
        no_op.receipt = Some(under);
        batch.push(no_op);
    }
    // In the order of bytes they are right before and right after the reserved ones.
    for callers in ["dormouse", "dormouse.", "dormouse;", "a"] {
        let mut no_op = commit(&one, 0, 0);
        no_op.receipt = Some(receipt(callers, None));
        batch.push(no_op);
    }
    append(&*store, batch.clone()).await;

    let before = reserved(4);
    let mut forgotten = Vec::new();
    for _ in 0..3 {
        forgotten.push(store.forget_receipts(&before, 2).await.expect("an answer"));
    }

    assert_eq!(forgotten, [2, 1, 0]);
    for (index, sent) in batch.iter().enumerate() {
        let sent_under = &sent.receipt.as_ref().expect("set above").key;
        let found = store.receipt(&sent.stream, sent_under).await;
        assert_eq!(
            found.expect("an answer").is_some(),
            index >= 3,
            "{sent_under}"
        );
    }
}

/// A commit is known by its first event's id, whatever has happened since.
pub async fn a_commit_appended_again_is_known(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let (one, other) = (stream("one"), stream("other"));
    let mut keyed = commit(&one, 0, 2);
    keyed.receipt = Some(receipt("key", None));
    let batch = vec![commit(&other, 0, 1), keyed, commit(&one, 2, 2)];
    let first = append(&*store, batch.clone()).await;
    append(&*store, vec![commit(&one, 4, 1)]).await;

    let again = append(&*store, batch).await;

    assert_eq!(positions(&first), [1, 2, 4]);
    assert_eq!(positions(&again), [1, 2, 4]);
    assert_eq!(whole_log(&*store).await.len(), 6);
}

/// A commit without events is known by its receipt's id.
pub async fn a_receipt_appended_again_is_known(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let mut no_op = commit(&one, 0, 0);
    no_op.receipt = Some(receipt("key", Some("null")));
    append(&*store, vec![no_op.clone()]).await;
    append(&*store, vec![commit(&one, 0, 1)]).await;

    let again = append(&*store, vec![no_op]).await;
    let mut other = commit(&one, 1, 0);
    other.receipt = Some(receipt("key", None));
    let other = append(&*store, vec![other]).await;

    assert_eq!(positions(&again), [0]);
    assert_eq!(
        first_position(&other[0]),
        None,
        "another receipt is not known"
    );
}

/// What is stored keeps its positions, what is not gets the next ones.
pub async fn a_batch_stored_in_part_is_completed_when_appended_again(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let one = stream("one");
    let batch: Vec<Commit> = vec![
        commit(&one, 0, 1),
        commit(&stream("other"), 0, 2),
        commit(&one, 1, 2),
        commit(&stream("third"), 0, 1),
    ];
    append(&*store, batch[..2].to_vec()).await;

    let verdicts = append(&*store, batch.clone()).await;

    assert_eq!(positions(&verdicts), [1, 2, 4, 6]);
    let ids: Vec<_> = whole_log(&*store)
        .await
        .iter()
        .map(|event| event.id)
        .collect();
    assert_eq!(ids, event_ids(&batch));
}

/// Polls a future so many times, then drops it.
async fn poll_times(future: impl Future, times: usize) {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn stored_counts(store: &dyn EventStore, batch: &[Commit]) -> Vec<usize> {
    let requests = batch.iter().map(|commit| RecoveryRequest {
        stream: commit.stream.clone(),
        fingerprint: None,
        after: Version::ZERO,
    });
    let recovered = store.recover(requests.collect(), 10).await;
    let recovered = recovered.expect("a recovery");
    recovered.iter().map(|one| one.events.len()).collect()
}

/// A caller that goes away at any moment leaves no half batch and a store that works.
pub async fn an_append_nobody_waits_for_is_whole_or_absent(fixture: &impl Fixture) {
    let store = fixture.open().await;
    for round in 0..40 {
        let names = (0..3).map(|index| stream(&format!("r{round}-{index}")));
        let batch: Arc<[Commit]> = names.map(|name| commit(&name, 0, 2)).collect();

        poll_times(store.append(Arc::clone(&batch)), round % 20).await;

        let counts = stored_counts(&*store, &batch).await;
        assert!(counts == [2, 2, 2] || counts == [0, 0, 0], "{counts:?}");
        // What the store promises of an append with an unknown outcome.
        append(&*store, vec![commit(&stream("other"), round as u64, 1)]).await;
        let verdicts = append(&*store, batch.to_vec()).await;
        assert!(
            verdicts
                .iter()
                .all(|verdict| first_position(verdict).is_some())
        );
        assert_eq!(stored_counts(&*store, &batch).await, [2, 2, 2]);
    }
    assert_eq!(whole_log(&*store).await.len(), 40 * 7);
}
