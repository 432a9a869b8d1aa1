//! Histories that cannot be read: the error is clear, and other aggregates do not notice.

use std::{borrow::Cow, sync::Arc, time::Duration};

use dormouse::{
    domain::{
        Aggregate, CommandContext, Decision, Event, EventType, Handle, IdempotencyKey, Rejection,
        UpcasterError, Version,
    },
    runtime::{CommandError, RecoveryError, Runtime, StartError, StateError},
    store::{NewReceipt, memory::MemoryStore},
    testing::{Fault, Operation},
};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::node::{Setup, foreign, foreign_add, keyed, memory, stream};
use crate::support::{
    Backend,
    checker::open,
    counter::{Add, id},
};

#[tokio::test]
async fn an_event_of_an_unknown_type_stops_its_aggregate_until_it_is_mended() {
    let url = Backend::postgres().await.store_url();
    let store = open(&url).await;
    let data = r#"{"amount":10,"token":"mystery"}"#;
    store.save(foreign_add("fine", 0, 1)).await.unwrap();
    store.save(foreign_add("c", 0, 1)).await.unwrap();
    let mystery = foreign("c", 1, "CounterMysteryEvent", data);
    store.save(mystery).await.unwrap();
    let node = Setup::shared().start_on(&store).await;

    for _ in 0..2 {
        let error = node.add("c", "t", None).await.unwrap_err();
        let CommandError::Unrecoverable(error) = error else {
            panic!("{error:?}");
        };
        let RecoveryError::Undecodable {
            version,
            position,
            source,
            ..
        } = &*error
        else {
            panic!("{error:?}");
        };
        assert_eq!((version.get(), position.get()), (2, 3));
        assert!(source.to_string().contains("CounterMysteryEvent"));
        assert_eq!(
            error.to_string(),
            "Counter/c: the event at version 2 (position 3) cannot be read"
        );
        let read = node.counters.state(&id("c")).await;
        assert!(matches!(read, Err(StateError::Unrecoverable(_))));
        assert_eq!(node.state("fine").await.total, 1);
    }
    let mut operator = PgConnection::connect(&url).await.unwrap();
    operator
        .execute("update domain_events set event_type = 'CounterAddedEvent' where version = 2")
        .await
        .unwrap();
    assert_eq!(node.add("c", "t", None).await.unwrap().reply, 12);
}

#[tokio::test]
async fn an_apply_that_panics_stops_its_aggregate_and_no_other() {
    let store = memory();
    store
        .save(foreign("c", 0, "CounterBrokenEvent", "{}"))
        .await
        .unwrap();
    let node = Setup::default().start_on(&store).await;

    for _ in 0..2 {
        let error = node.add("c", "t", None).await.unwrap_err();
        let CommandError::Unrecoverable(error) = error else {
            panic!("{error:?}");
        };
        assert!(matches!(
            &*error,
            RecoveryError::ApplyPanicked { version, .. } if *version == Version::new(1)
        ));
        assert_eq!(node.add("fine", "t", None).await.unwrap().events.len(), 1);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told_and_read_again() {
    let node = Setup::default().start().await;
    node.store.inject(Operation::Recover, 1..=2, Fault::Fail);

    let command = node.add("c", "t", None).await;
    let read = node.counters.state(&id("c")).await;
    let again = node.add("c", "t", None).await;

    assert!(matches!(command, Err(CommandError::StoreUnavailable)));
    assert!(matches!(read, Err(StateError::StoreUnavailable)));
    assert_eq!(again.unwrap().reply, 1);
}

/// An append whose outcome stayed unknown may be stored after its aggregate was read again.
#[tokio::test]
async fn who_heard_an_earlier_answer_reads_no_older_state() {
    let store = memory();
    let node = Setup::default().start_on(&store).await;
    let limited = || Add {
        limit: Some(1),
        ..Add::one("t")
    };
    let key = || IdempotencyKey::parse("k").unwrap();
    let under_key = || keyed("k", Duration::from_secs(10));
    let (c, other) = (id("c"), id("other"));
    let first = node.counters.execute(&other, limited(), under_key());
    first.await.unwrap();
    let receipt = store
        .receipt(&stream("other"), &key())
        .await
        .unwrap()
        .unwrap();
    node.add("c", "before", None).await.unwrap();
    let mut late = foreign_add("c", 1, 1);
    late.receipt = Some(NewReceipt {
        id: receipt.id,
        key: key(),
        command_hash: receipt.command_hash,
        reply: receipt.reply,
    });
    store.save(late).await.unwrap();

    let again = node.counters.execute(&c, limited(), under_key());
    let again = again.await.unwrap();
    let state = node.counters.state(&c).await.unwrap().unwrap();

    assert!(again.replayed);
    assert_eq!((again.version.get(), state.version.get()), (2, 2));
}

/// An aggregate whose events have changed, without a word on how to read the old ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Changed;

#[derive(Debug, Serialize, Deserialize)]
enum ChangedEvent {
    #[serde(rename = "ChangedEvent")]
    Changed {},
}

impl Event for ChangedEvent {
    const TYPES: &'static [EventType] = &[EventType::new("ChangedEvent", 2)];
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

impl Rejection for No {
    fn reason(&self) -> Cow<'static, str> {
        "no".into()
    }
}

impl Aggregate for Changed {
    const TYPE: &'static str = "Changed";
    type Event = ChangedEvent;
    type Error = No;

    fn apply(&mut self, _: &ChangedEvent) {}
}

#[derive(Debug, Serialize, Deserialize)]
struct Change {}

impl Handle<Change> for Changed {
    type Reply = ();

    fn handle(&self, _: &Change, _: &CommandContext<'_>) -> Result<Decision<Self>, No> {
        Ok(Decision::persist([ChangedEvent::Changed {}]))
    }
}

#[tokio::test]
async fn a_gap_in_the_upcasters_stops_the_start() {
    let started = Runtime::builder(Arc::new(MemoryStore::new()))
        .aggregate::<Changed>(|changed| changed.command::<Change>("change"))
        .start()
        .await;

    let Err(StartError::Upcasters {
        aggregate_type: "Changed",
        source,
    }) = started
    else {
        panic!("{started:?}");
    };
    let source: UpcasterError = source;
    assert!(source.to_string().contains("ChangedEvent"), "{source}");
}
