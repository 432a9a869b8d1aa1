//! Rows that other programs have left in SQLite as no column should hold them: each is told with its
//! table, id and column, and all others go on.

use std::{collections::BTreeMap, sync::Arc};

use dormouse::{
    adoption::{AdoptOptions, AdoptProgress, Adoption, Drift, VerifyOptions, VerifyProgress},
    domain::error_chain,
    runtime::{CommandError, StateError},
    settings::Mode,
};

use super::{
    person::Person,
    place::{Kind, Node, Place},
};
use crate::support::counter::id;

/// As tables are that were made in haste: hardly a type, and nothing that may not be null.
const LOOSE: [&str; 4] = [
    "drop table persons",
    "drop table person_tags",
    "create table persons (id text primary key, name, email, visits, made_by, made_at, theirs)",
    "create table person_tags (person_id text, tag)",
];

async fn loose_place() -> Place {
    let place = Place::of(Kind::Sqlite).await;
    for statement in LOOSE {
        place.run(statement.to_owned()).await;
    }
    place.insert("a", "ann").await;
    place.insert("b", "bob").await;
    place
}

async fn assert_told(node: &Node, column: &str, problem: &str) {
    let command = node.visit("a").await.unwrap_err();
    let CommandError::Unrecoverable(command) = command else {
        panic!("{command:?}");
    };
    let read = node.persons.state(&id("a")).await.unwrap_err();
    let StateError::Unrecoverable(read) = read else {
        panic!("{read:?}");
    };
    for error in [command, read] {
        let told = error_chain(&*error);
        for part in ["Person/a", "`persons`", &format!("`{column}`"), problem] {
            assert!(told.contains(part), "{told}: {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_no_column_should_hold_is_told_and_nobody_else_suffers() {
    for (value, column, problem) in [
        ("visits = 'many'", "visits", "is less than nothing"),
        ("visits = null", "visits", "is less than nothing"),
        ("visits = 1.5", "visits", "is less than nothing"),
        (
            "visits = 9223372036854775808",
            "visits",
            "is less than nothing",
        ),
        ("visits = 9e999", "visits", "is less than nothing"),
        ("visits = x'31'", "visits", "is a blob"),
        ("name = null", "name", "is no text"),
        ("name = x'ff00'", "name", "is a blob"),
        ("name = x'616e6e'", "name", "is a blob"),
        (
            "name = cast(x'ff' as text)",
            "name",
            "is text that is not in UTF-8",
        ),
        ("email = x''", "email", "is a blob"),
    ] {
        for mode in [Mode::StateOnly, Mode::DualWrite] {
            let place = loose_place().await;
            let node = place.start(mode).await;
            assert_eq!(node.visit("a").await.unwrap().reply, 1);
            let logged = node.event_types("a").await;
            place
                .run(format!("update persons set {value} where id = 'a'"))
                .await;

            assert_told(&node, column, problem).await;

            assert_eq!(node.event_types("a").await, logged, "{value}");
            assert_eq!(node.visit("b").await.unwrap().reply, 1);
            node.stop().await;
            // Nor by one who has never seen it in order.
            let node = place.start(mode).await;
            assert_told(&node, column, problem).await;
            assert_eq!(node.visit("b").await.unwrap().reply, 2);
            let healed = "update persons set name = 'ann', email = null, visits = 4 where id = 'a'";
            place.run(healed.to_owned()).await;
            assert_eq!(node.visit("a").await.unwrap().reply, 5);
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_no_text_is_told_with_its_link_table() {
    for (tag, problem) in [
        ("x'ff'", "is a blob"),
        ("x'61'", "is a blob"),
        ("cast(x'ff' as text)", "is not in UTF-8"),
    ] {
        let place = loose_place().await;
        let node = place.start(Mode::StateOnly).await;
        assert_eq!(node.visit("a").await.unwrap().reply, 1);
        place
            .run(format!("insert into person_tags values ('a', {tag})"))
            .await;

        assert_told(&node, "person_tags", problem).await;

        assert_eq!(node.visit("b").await.unwrap().reply, 1);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_made_a_row_and_when_may_be_anything() {
    for stamps in [
        "made_by = x'ff', made_at = x'ff'",
        "made_by = null, made_at = null",
        "made_by = 7, made_at = 'soon'",
        "made_at = '0000-00-00 00:00:00'",
        "made_at = '9999-99-99'",
        "made_at = 9e999",
    ] {
        let place = loose_place().await;
        place.run(format!("update persons set {stamps}")).await;
        let node = place.start(Mode::DualWrite).await;

        assert_eq!(node.visit("a").await.unwrap().reply, 1, "{stamps}");

        let adopted = &node.events("a").await[0];
        assert_eq!(adopted.event_type, "PersonAdoptedEvent");
        assert!(adopted.occurred_at > super::person::long_ago());
        node.stop().await;
    }
}

/// Rows of every kind, of which two can be adopted; with the column that is at fault, or the key.
const ROWS: [(&str, &str); 15] = [
    ("(null, 'no key', 0)", "its key"),
    ("(null, 'nor has this', 0)", "its key"),
    ("(null, 'nor has that', 0)", "its key"),
    // Texts that look like the signs of what is no text.
    ("('(null)', 'odd', 0)", "its key"),
    ("('text x''41''', 'odd', 0)", "its key"),
    ("('blob x''41''', 'odd', 0)", "its key"),
    ("('', 'empty', 0)", "its key"),
    ("('c', x'ff', 0)", "`name`"),
    ("('d', 'dan', 'many')", "`visits`"),
    ("(cast(x'ff' as text), 'odd', 0)", "its key"),
    ("(cast(x'ff01' as text), 'odder', 0)", "its key"),
    ("(x'00', 'blob', 0)", "its key"),
    ("(x'0001', 'blob', 0)", "its key"),
    ("(x'61', 'not a', 0)", "its key"),
    ("(x'63', 'not c', 0)", "its key"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopt_and_verify_tell_each_such_row_and_pass_all_others_in_pages_of_any_size() {
    for batch in [1, 2, 100] {
        let place = loose_place().await;
        for (row, _) in ROWS {
            let insert = format!("insert into persons (id, name, visits) values {row}");
            place.run(insert).await;
        }
        let adoption = Adoption::builder(Arc::clone(&place.store));
        let adoption = adoption.aggregate::<Person>().build().unwrap();
        let mut refused = BTreeMap::new();

        let options = AdoptOptions {
            batch,
            ..AdoptOptions::default()
        };
        let adopted = adoption.adopt("Person", options, |progress| {
            if let AdoptProgress::Unadopted(row) = progress {
                refused.insert(row.key, row.reason);
            }
        });
        let adopted = adopted.await.unwrap();
        let mut found = BTreeMap::new();
        let verified = adoption.verify("Person", VerifyOptions::default(), |progress| {
            if let VerifyProgress::Finding(finding) = progress {
                let Drift::NotAdoptable { problem } = finding.drift else {
                    panic!("{:?}", finding.drift);
                };
                found.insert(finding.key, problem);
            }
        });
        let verified = verified.await.unwrap();
        let again = adoption.adopt("Person", options, |_| {}).await.unwrap();

        assert_eq!(
            (adopted.adopted, refused.len()),
            (2, ROWS.len()),
            "{refused:?}"
        );
        // What is adopted under an id says nothing of a blob of the same bytes.
        assert_eq!((again.had_events, again.refused), (2, ROWS.len() as u64));
        assert_eq!(verified.compared, 2 + ROWS.len() as u64);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            refused.keys().collect::<Vec<_>>()
        );
        for part in ["its key", "`name`", "`visits`"] {
            let wanted = ROWS
                .iter()
                .filter(|(_, at_fault)| *at_fault == part)
                .count();
            for told in [&refused, &found] {
                let telling = told.values().filter(|reason| reason.contains(part));
                assert_eq!(telling.count(), wanted, "{part}: {told:?}");
            }
        }
    }
}
