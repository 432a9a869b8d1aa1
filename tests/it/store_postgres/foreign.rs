//! Events that another program inserts with plain SQL, without a position.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dormouse::{
    domain::{Position, Version},
    store::{
        AppendError, EventStore, Loss, Numbering, RecordedEvent, Verdict,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{Database, commit, fresh_id, options, position, recovery, stream};

/// Inserts an event as another program does.
async fn insert(connection: &mut PgConnection, id: &str, version: i64) {
    insert_with(connection, id, version, "occurred_at", "now()").await;
}

/// The same, with one column of another value.
async fn insert_with(
    connection: &mut PgConnection,
    id: &str,
    version: i64,
    column: &str,
    value: &str,
) {
    let text = |text: &str| format!("'{text}'");
    let mut columns = vec![
        ("id", text(&fresh_id().to_string())),
        ("aggregate_type", text("Thing")),
        ("aggregate_id", text(id)),
        ("version", version.to_string()),
        ("event_type", text("ThingHappened")),
        ("event_data", text("{\"by\": \"them\"}")),
        ("occurred_at", "now()".to_owned()),
        ("correlation_id", text(&fresh_id().to_string())),
    ];
    columns.retain(|(name, _)| *name != column);
    columns.push((column, value.to_owned()));
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = columns.iter().map(|(_, value)| value.as_str()).collect();
    let (names, values) = (names.join(", "), values.join(", "));
    let insert = format!("insert into domain_events ({names}) values ({values})");
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
}

/// Numbers until there is nothing more to look at; gives the sums.
async fn number_all(store: &PostgresStore) -> Numbering {
    let mut all = Numbering::default();
    loop {
        let page = store.number().await.unwrap();
        all.numbered += page.numbered;
        all.last = all.last.max(page.last);
        all.refused.extend(page.refused);
        if !page.more {
            return all;
        }
    }
}

async fn log(store: &PostgresStore) -> Vec<(String, u64)> {
    let events = store.read_log(Position::ZERO, 1000).await.unwrap();
    let place =
        |event: &RecordedEvent| (event.stream.aggregate_id.to_string(), event.version.get());
    events.iter().map(place).collect()
}

fn entry(id: &str, version: u64) -> (String, u64) {
    (id.to_owned(), version)
}

#[tokio::test]
async fn foreign_events_are_numbered_behind_the_log_in_the_order_of_their_versions() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    store.save(commit("a", 0, 1)).await.unwrap();
    // Times that go back do not change the order of versions.
    insert_with(
        &mut other,
        "a",
        3,
        "occurred_at",
        "now() - interval '1 day'",
    )
    .await;
    insert(&mut other, "a", 2).await;
    insert_with(
        &mut other,
        "b",
        1,
        "occurred_at",
        "now() - interval '2 days'",
    )
    .await;

    let unseen = log(&store).await;
    let numbering = number_all(&store).await;
    let verdict = store.save(commit("a", 3, 1)).await.unwrap();

    assert_eq!(unseen, [entry("a", 1)]);
    assert_eq!(
        (numbering.numbered, numbering.last),
        (3, Some(Position::new(4)))
    );
    assert_eq!(numbering.refused, []);
    assert_eq!(position(&verdict), 5);
    let expected = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)];
    assert_eq!(
        log(&store).await,
        expected.map(|(id, version)| entry(id, version))
    );
    assert_eq!(number_all(&store).await.numbered, 0);
}

#[tokio::test]
async fn whoever_reads_a_stream_sees_what_is_committed_with_its_position() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    store.save(commit("a", 0, 1)).await.unwrap();
    insert(&mut other, "a", 2).await;
    insert(&mut other, "b", 1).await;

    let current = store.current_version(&stream("a")).await.unwrap();
    let events = store.events(&stream("a"), Version::ZERO, 9).await.unwrap();
    let recovered = store.recover(vec![recovery("b"), recovery("a")], 9).await;

    assert_eq!(current.get(), 2);
    let positions = |events: &[RecordedEvent]| -> Vec<u64> {
        events.iter().map(|event| event.position.get()).collect()
    };
    assert_eq!(positions(&events), [1, 2]);
    let recovered = recovered.unwrap();
    assert_eq!(positions(&recovered[0].events), [3]);
    assert_eq!(positions(&recovered[1].events), [1, 2]);
}

#[tokio::test]
async fn a_store_that_only_reads_leaves_out_what_is_not_numbered() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    store.save(commit("a", 0, 1)).await.unwrap();
    insert(&mut other, "a", 2).await;
    let reading = PostgresOptions {
        migrate: false,
        read_only: true,
        ..options()
    };
    let reader = PostgresStore::connect(&database.url, reading)
        .await
        .unwrap();

    let events = reader.events(&stream("a"), Version::ZERO, 9).await.unwrap();
    let recovered = reader.recover(vec![recovery("a")], 9).await.unwrap();

    assert_eq!((events.len(), recovered[0].events.len()), (1, 1));
    assert!(!reader.has_foreign_writers() && store.has_foreign_writers());
}

#[tokio::test]
async fn an_append_loses_to_a_foreign_event_and_comes_behind_it() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    store.save(commit("a", 0, 1)).await.unwrap();
    insert(&mut other, "a", 2).await;

    let batch = Arc::from([commit("a", 1, 1), commit("b", 0, 1), commit("a", 2, 1)]);
    let verdicts = store.append(batch).await.unwrap();
    // Decided on what it never read: the store still does not let it overtake.
    insert(&mut other, "b", 2).await;
    let behind = store.save(commit("b", 2, 1)).await.unwrap();

    assert!(matches!(&verdicts[0], Verdict::Lost(Loss::Version { current }) if current.get() == 2));
    assert_eq!(position(&verdicts[1]), 3);
    assert!(matches!(&verdicts[2], Verdict::Lost(Loss::Version { .. })));
    assert_eq!(position(&behind), 5);
    let expected = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)];
    assert_eq!(
        log(&store).await,
        expected.map(|(id, version)| entry(id, version))
    );
}

#[tokio::test]
async fn malformed_events_are_told_and_hold_up_nobody_else() {
    let wrong = [
        ("id", "'42'", "its id is no ULID"),
        ("id", "'01arz3ndektsv4rrffq69g5fav'", "its id is no ULID"),
        ("aggregate_type", "'no such/type'", "its aggregate_type"),
        ("event_type", "E'two\\nlines'", "its event_type"),
        ("event_type", "''", "its event_type"),
        ("schema_version", "0", "its schema_version"),
        ("occurred_at", "'infinity'", "its occurred_at"),
        ("created_by", "''", "its created_by"),
        ("created_by", "U&'a\\0085b'", "its created_by"),
        ("correlation_id", "''", "its correlation_id"),
        ("causation_id", "'x'", "its causation_id"),
    ];
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    for (index, (column, value, _)) in wrong.iter().enumerate() {
        let id = format!("wrong{index:02}");
        insert_with(&mut other, &id, 1, column, value).await;
        insert(&mut other, &id, 2).await;
    }
    insert(&mut other, "sound", 1).await;

    let numbering = number_all(&store).await;
    let (stuck, sound) = (recovery("wrong00"), recovery("sound"));
    let unread = store.recover(vec![stuck], 9).await;
    let read = store.recover(vec![sound], 9).await.unwrap();

    assert_eq!(numbering.numbered, 1);
    for (index, (column, _, obstacle)) in wrong.iter().enumerate() {
        let id = format!("wrong{index:02}");
        let told = |version| {
            let mut refused = numbering.refused.iter();
            refused.find(|refused| refused.aggregate.1 == id && refused.version == version)
        };
        let first = told(1).unwrap_or_else(|| panic!("{column} of {id} was taken"));
        assert!(first.obstacle.starts_with(obstacle), "{id}: {first}");
        assert!(told(2).is_some(), "{id}");
    }
    assert!(!unread.unwrap_err().is_retryable());
    assert_eq!(read[0].events.len(), 1);
}

#[tokio::test]
async fn a_gap_is_told_until_the_missing_version_comes() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    insert(&mut other, "a", 1).await;
    insert(&mut other, "a", 3).await;
    insert(&mut other, "b", 2).await;

    let before = number_all(&store).await;
    let unread = store.events(&stream("a"), Version::ZERO, 9).await;
    let refused = store.save(commit("a", 1, 1)).await.unwrap();
    insert(&mut other, "a", 2).await;
    let after = number_all(&store).await;

    assert_eq!(before.numbered, 1);
    let gaps: Vec<_> = before.refused.iter().map(|gap| gap.version).collect();
    assert_eq!(gaps, [3, 2]);
    assert!(
        before.refused[0]
            .obstacle
            .contains("the version before it is missing")
    );
    assert!(
        unread
            .unwrap_err()
            .to_string()
            .contains("the version before it is missing")
    );
    assert!(matches!(refused, Verdict::Lost(Loss::Version { .. })));
    assert_eq!((after.numbered, after.refused.len()), (2, 1));
    assert_eq!(
        log(&store).await,
        [entry("a", 1), entry("a", 2), entry("a", 3)]
    );
}

#[tokio::test]
async fn small_pages_reach_what_lies_behind_refused_events() {
    let database = Database::fresh().await;
    let small = PostgresOptions {
        number_page: 2,
        ..options()
    };
    let store = PostgresStore::connect(&database.url, small).await.unwrap();
    let mut other = database.connection().await;
    for id in ["a", "b", "c"] {
        insert(&mut other, id, 7).await;
    }
    for version in 1..=5 {
        insert(&mut other, "d", version).await;
    }

    let first = number_all(&store).await;
    insert(&mut other, "d", 6).await;
    let second = number_all(&store).await;

    assert_eq!((first.numbered, first.refused.len()), (5, 3));
    assert_eq!((second.numbered, second.refused.len()), (1, 3));
}

#[tokio::test]
async fn an_event_that_its_own_program_is_changing_is_left_for_later() {
    let database = Database::fresh().await;
    let (store, mut other) = (database.store().await, database.connection().await);
    insert(&mut other, "a", 1).await;
    insert(&mut other, "a", 2).await;
    insert(&mut other, "b", 1).await;
    other.execute("begin").await.unwrap();
    let change =
        "update domain_events set event_data = '{}' where aggregate_id = 'a' and version = 1";
    other.execute(change).await.unwrap();

    let started = Instant::now();
    let meanwhile = number_all(&store).await;
    let took = started.elapsed();
    other.execute("commit").await.unwrap();
    let after = number_all(&store).await;

    assert_eq!(meanwhile.numbered, 1);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(after.numbered, 2);
    assert_eq!(
        log(&store).await,
        [entry("b", 1), entry("a", 1), entry("a", 2)]
    );
}

#[tokio::test]
async fn stores_that_number_and_append_at_once_leave_no_gap() {
    let database = Database::fresh().await;
    let (one, two) = tokio::join!(database.store(), database.store());
    let mut other = database.connection().await;

    for round in 0..20_u64 {
        let ids: Vec<String> = (0..5).map(|number| format!("f{round}-{number}")).collect();
        for id in &ids {
            insert(&mut other, id, 1).await;
            insert(&mut other, id, 2).await;
        }
        let commits = Arc::from([commit(&format!("o{round}"), 0, 2), commit(&ids[0], 2, 1)]);
        let (numbered, numbering, appended) =
            tokio::join!(number_all(&one), number_all(&two), two.append(commits));
        let appended = appended.unwrap();
        assert!(matches!(appended[0], Verdict::Committed { .. }));
        assert!(numbered.numbered + numbering.numbered <= 10);
    }

    // Positions without a gap are asserted by the reading.
    let events = log(&one).await;
    assert!(events.len() >= 240, "{}", events.len());
    for id in ["f0-0", "f7-3"] {
        let versions: Vec<u64> = events
            .iter()
            .filter_map(|(found, version)| (found == id).then_some(*version))
            .collect();
        assert!(
            versions.is_sorted() && versions.len() >= 2,
            "{id}: {versions:?}"
        );
    }
}

/// An open transaction of another program, which has inserted version 2 of `a`.
async fn open_transaction(database: &Database) -> PgConnection {
    let mut other = database.connection().await;
    other.execute("begin").await.unwrap();
    insert(&mut other, "a", 2).await;
    other
}

async fn append_timed(
    store: &PostgresStore,
    commits: Vec<dormouse::store::Commit>,
) -> (Result<Vec<Verdict>, AppendError>, Duration) {
    let started = Instant::now();
    let appended = store.append(Arc::from(commits)).await;
    (appended, started.elapsed())
}

#[tokio::test]
async fn an_open_foreign_transaction_delays_its_own_aggregate_alone() {
    let database = Database::fresh().await;
    let store = database.store().await;
    store.save(commit("a", 0, 1)).await.unwrap();
    let mut other = open_transaction(&database).await;

    let mut mixed: Vec<_> = (0..200).map(|id| commit(&format!("n{id}"), 0, 1)).collect();
    mixed.insert(77, commit("a", 1, 1));
    mixed.insert(140, commit("a", 2, 1));
    let (first, first_took) = append_timed(&store, mixed).await;
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        let commits = vec![commit(&format!("m{round}"), 0, 1), commit("a", 1, 1)];
        let (verdicts, took) = append_timed(&store, commits).await;
        let verdicts = verdicts.unwrap();
        assert!(matches!(verdicts[0], Verdict::Committed { .. }));
        assert!(matches!(verdicts[1], Verdict::Lost(Loss::Contested)));
        slowest = slowest.max(took);
    }
    other.execute("rollback").await.unwrap();
    let after = loop {
        match store.save(commit("a", 1, 1)).await.unwrap() {
            Verdict::Lost(Loss::Contested) => tokio::time::sleep(Duration::from_millis(20)).await,
            verdict @ (Verdict::Committed { .. } | Verdict::Lost(_)) => break verdict,
        }
    };

    let first = first.unwrap();
    let contested = |verdict: &&Verdict| matches!(verdict, Verdict::Lost(Loss::Contested));
    assert_eq!(first.iter().filter(contested).count(), 2);
    assert!(matches!(first[77], Verdict::Lost(Loss::Contested)));
    assert!(first_took < Duration::from_secs(2), "{first_took:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    // All neighbours, and then it.
    assert_eq!(position(&after), 252);
}

#[tokio::test]
async fn what_an_open_transaction_stored_wins_once_it_commits() {
    let database = Database::fresh().await;
    let store = database.store().await;
    store.save(commit("a", 0, 1)).await.unwrap();
    let mut other = open_transaction(&database).await;

    let during = store.save(commit("a", 1, 1)).await.unwrap();
    other.execute("commit").await.unwrap();
    let after = loop {
        match store.save(commit("a", 1, 1)).await.unwrap() {
            Verdict::Lost(Loss::Contested) => tokio::time::sleep(Duration::from_millis(20)).await,
            verdict @ (Verdict::Committed { .. } | Verdict::Lost(_)) => break verdict,
        }
    };

    assert!(matches!(during, Verdict::Lost(Loss::Contested)));
    assert!(matches!(after, Verdict::Lost(Loss::Version { current }) if current.get() == 2));
    assert_eq!(log(&store).await, [entry("a", 1), entry("a", 2)]);
}

#[tokio::test]
async fn a_foreign_transaction_that_ends_at_once_is_waited_for() {
    let database = Database::fresh().await;
    let patient = PostgresOptions {
        contested_wait: Duration::from_secs(4),
        ..options()
    };
    let store = Arc::new(
        PostgresStore::connect(&database.url, patient)
            .await
            .unwrap(),
    );
    store.save(commit("a", 0, 1)).await.unwrap();
    let mut other = open_transaction(&database).await;

    let appending = Arc::clone(&store);
    let appended = tokio::spawn(async move { appending.save(commit("a", 1, 1)).await });
    super::wait_for_locked(&mut database.connection().await, 1).await;
    other.execute("rollback").await.unwrap();

    assert_eq!(position(&appended.await.unwrap().unwrap()), 2);
}
