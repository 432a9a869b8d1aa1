//! Each row gets its first event, once.

use dormouse::{
    adoption::{AdoptOptions, Adopted, AdoptionError},
    store::{EventStore as _, memory::MemoryRow},
};

use super::{Before, stream, user};

fn sums(adopted: u64, had_events: u64, refused: u64) -> Adopted {
    Adopted {
        adopted,
        had_events,
        refused,
    }
}

#[tokio::test]
async fn a_row_becomes_an_event_with_its_state_its_creator_and_its_time() {
    let before = Before::with_users(&["1"]);

    let (adopted, unadopted) = before.adopt().await;

    assert_eq!((adopted, unadopted), (sums(1, 0, 0), vec![]));
    let events = before.events("1").await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event.event_type, "UserAdoptedEvent");
    assert_eq!(event.created_by.as_ref().unwrap().as_str(), "-1");
    assert_eq!(event.occurred_at.timestamp(), 1_715_731_200);
    assert_eq!(
        event.data.get(),
        r#"{"username":"User1","password_hash":{"$secret":"$2a$10$x"},"domain":"built-in","nick_name":"Nick","email":"1@example.org","phone_number":null,"avatar":null,"status":"ENABLED","role_ids":["1"]}"#
    );
    assert_eq!(before.row("1").unwrap(), user("1"));
}

#[tokio::test]
async fn a_second_run_finds_nothing_left_to_do() {
    let before = Before::with_users(&["1", "2", "3"]);
    before.adopt().await;
    before.write("4", user("4"));

    let (adopted, _) = before.adopt().await;

    assert_eq!(adopted, sums(1, 3, 0));
    assert_eq!(before.store.last_position().await.unwrap().get(), 4);
}

#[tokio::test]
async fn two_runs_at_once_adopt_each_row_once_in_whatever_batches() {
    let ids: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let before = Before::with_users(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let options = |batch| AdoptOptions {
        batch,
        ..AdoptOptions::default()
    };

    let (one, other) = tokio::join!(
        before.adopt_with(options(7)),
        before.adopt_with(options(50))
    );

    assert_eq!(one.0.adopted + other.0.adopted, 500);
    assert_eq!(one.0.had_events + other.0.had_events, 500);
    assert_eq!(before.store.last_position().await.unwrap().get(), 500);
}

#[tokio::test]
async fn a_row_that_cannot_be_adopted_is_told_and_the_others_go_on() {
    let before = Before::with_users(&["1", "a b", "banned", "lower", "z"]);
    before.set("banned", "status", "GONE");
    before.set("lower", "email", "Z@EXAMPLE.ORG");

    let (adopted, unadopted) = before.adopt().await;

    assert_eq!(adopted, sums(2, 0, 3));
    let told: Vec<(&str, &str)> = unadopted
        .iter()
        .map(|row| (row.key.as_str(), row.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "a b",
                "its key cannot be an aggregate's: an aggregate id must be 1 to 64 characters of \
                 A-Z a-z 0-9 . _ : -"
            ),
            (
                "banned",
                "column `status` is none of ENABLED, DISABLED and BANNED"
            ),
            ("z", "its `email` is also that of lower"),
        ]
    );
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_writes_nothing() {
    let before = Before::with_users(&["1", "2", "a b"]);
    let dry = AdoptOptions {
        dry_run: true,
        ..AdoptOptions::default()
    };

    let (adopted, unadopted) = before.adopt_with(dry).await;

    assert_eq!((adopted, unadopted.len()), (sums(2, 0, 1), 1));
    assert_eq!(before.store.last_position().await.unwrap().get(), 0);
}

#[tokio::test]
async fn what_our_commands_would_refuse_is_adopted_as_it_stands() {
    let before = Before::with_users(&["1"]);
    before.set("1", "email", "no address");
    before.set("1", "username", " ");

    let (adopted, _) = before.adopt().await;

    assert_eq!(adopted, sums(1, 0, 0));
    let event = &before.events("1").await[0];
    assert!(event.data.get().contains(r#""username":" ","#));
    let version = before.store.current_version(&stream("1")).await.unwrap();
    assert_eq!(version.get(), 1);
}

#[tokio::test]
async fn keys_between_ids_do_not_hide_the_aggregates_after_them() {
    // By their bytes: `a`, `a b`, `a c`, `ab`, `b`; pages of one begin after each of them.
    let before = Before::with_users(&["a", "a b", "a c", "ab", "b"]);
    let one = AdoptOptions {
        batch: 1,
        ..AdoptOptions::default()
    };
    before.adopt_with(one).await;
    before.write("0", MemoryRow { ..user("0") });

    let (adopted, _) = before.adopt_with(one).await;

    assert_eq!(adopted, sums(1, 3, 2));
}

#[tokio::test]
async fn a_type_that_is_not_mapped_is_named_with_those_that_are() {
    let before = Before::with_users(&[]);

    let adopted = before
        .adoption
        .adopt("Case", AdoptOptions::default(), |_| {});
    let error = adopted.await.unwrap_err();

    assert!(matches!(error, AdoptionError::UnknownType { .. }));
    assert_eq!(
        error.to_string(),
        "Case is no type that is mapped to a table; there are: User, Role"
    );
}
