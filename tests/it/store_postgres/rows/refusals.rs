//! Rows that their tables refuse.

use std::sync::Arc;

use dormouse::{
    domain::{Row, StateTable},
    store::{AppendError, EventStore, Loss, Verdict, postgres::PostgresStore},
};

use super::{
    super::{Database, commit, position},
    Neighbour, load, row, table, text, writing,
};

const TABLES: &str = r#"
    create type "Mood" as enum ('GOOD', 'BAD');
    create table owners (id text primary key);
    insert into owners values ('1');
    create table pets (
        id text primary key,
        name varchar(5) not null,
        mood "Mood",
        owner text references owners (id),
        age integer constraint pets_age_check check (age > 0),
        home text,
        unique (home, owner)
    );
    create unique index pets_name_key on pets (lower(name)) where mood = 'GOOD';
"#;

fn pets() -> Arc<StateTable> {
    table("pets", &["name", "mood", "owner", "age", "home"])
}

fn pet(changes: &[(&'static str, &str)]) -> Row {
    let mut pet = row(&[
        ("name", text("Rex")),
        ("mood", text("GOOD")),
        ("owner", text("1")),
        ("age", text("3")),
        ("home", dormouse::domain::RowValue::Null),
    ]);
    for (column, value) in changes {
        pet.values.insert(column, text(value));
    }
    pet
}

async fn store() -> PostgresStore {
    let database = Database::fresh().await;
    Neighbour::at(&database.url).await.run(TABLES).await;
    database.store().await
}

/// The whole chain of an error's words.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

#[tokio::test]
async fn what_a_table_refuses_for_ever_is_told_by_its_column_and_not_its_value() {
    let store = store().await;
    let null = dormouse::domain::RowValue::Null;
    let mut nameless = pet(&[]);
    nameless.values.insert("name", null);
    let cases = [
        (pet(&[("name", "SECRETS")]), "column `name`"),
        (pet(&[("mood", "SECRET")]), "column `mood`"),
        (pet(&[("owner", "SECRET")]), "constraint `pets_owner_fkey`"),
        (pet(&[("age", "-7")]), "constraint `pets_age_check`"),
        (pet(&[("age", "SECRET")]), "column `age`"),
        (pet(&[("home", "SEC\0RET")]), "column `home`"),
        (nameless, "column `name` must have a value"),
    ];
    for (refused, expected) in cases {
        let change = writing(commit("a", 0, 1), &pets(), None, Some(&refused));

        let error = store.save(change).await.unwrap_err();

        assert!(matches!(error, AppendError::Unstorable(_)), "{error:?}");
        let words = words(&error);
        assert!(words.contains(expected), "{words}");
        assert!(words.contains("`pets`"), "{words}");
        assert!(!words.contains("SEC") && !words.contains("-7"), "{words}");
        assert!(load(&store, &pets(), "a").await.track.is_none());
    }
    let right = writing(commit("a", 0, 1), &pets(), None, Some(&pet(&[])));
    assert_eq!(position(&store.save(right).await.unwrap()), 1);
}

#[tokio::test]
async fn unique_indexes_of_any_kind_name_their_columns() {
    let store = store().await;
    let home = [("name", "Bo"), ("home", "here")];
    for (id, pet) in [("a", pet(&[])), ("b", pet(&home))] {
        let made = writing(commit(id, 0, 1), &pets(), None, Some(&pet));
        store.save(made).await.unwrap();
    }

    let same_name = pet(&[("name", "rEX")]);
    let same_home = pet(&[("name", "Max"), ("home", "here")]);
    let other_mood = pet(&[("name", "REX"), ("mood", "BAD")]);
    let batch = [("c", same_name), ("d", same_home), ("e", other_mood)]
        .map(|(id, pet)| writing(commit(id, 0, 1), &pets(), None, Some(&pet)));
    let verdicts = store.append(Arc::from(batch)).await.unwrap();

    let refused = |verdict: &Verdict| match verdict {
        Verdict::Lost(Loss::Refused { claim }) => {
            format!("{}={}", claim.name, claim.value)
        }
        Verdict::Committed { .. } | Verdict::Lost(_) => format!("{verdict:?}"),
    };
    // An index over an expression is told by the columns in it, its condition's too.
    assert_eq!(refused(&verdicts[0]), "name,mood=rEX,GOOD");
    assert_eq!(refused(&verdicts[1]), "owner,home=1,here");
    assert_eq!(position(&verdicts[2]), 3);
}

#[tokio::test]
async fn an_unstorable_row_fails_no_neighbour_that_is_appended_without_it() {
    let store = store().await;
    let batch = [
        ("a", pet(&[])),
        ("b", pet(&[("name", "Max"), ("age", "-1")])),
    ]
    .map(|(id, pet)| writing(commit(id, 0, 1), &pets(), None, Some(&pet)));

    let both = store.append(Arc::from(batch.clone())).await;
    let [good, _] = batch;
    let alone = store.save(good).await.unwrap();

    assert!(matches!(both, Err(AppendError::Unstorable(_))), "{both:?}");
    assert_eq!(position(&alone), 1);
}
