//! What is special to SQLite; what every store promises is in the contract.

mod rows;

use sqlx::Connection as _;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{CorrelationId, EventId},
    store::{
        NewEvent,
        contract::{Fixture, OtherProgram},
    },
};

/// A database in a directory of its own, which several handles may write.
struct Database {
    directory: TempDir,
}

impl Database {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn url(&self) -> String {
        format!("sqlite://{}/log.db", self.directory.path().display())
    }

    async fn connect(&self, options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        SqliteStore::connect(&self.url(), options).await
    }
}

impl Fixture for Database {
    async fn open(&self) -> Arc<dyn EventStore> {
        let options = SqliteOptions {
            exclusive: false,
            ..SqliteOptions::default()
        };
        Arc::new(self.connect(options).await.unwrap())
    }

    async fn other_program(&self) -> Option<Arc<dyn OtherProgram>> {
        Some(rows::Neighbour::at(&self.url()).await)
    }
}

crate::store_contract!(sqlite_keeps, || std::future::ready(Database::new()));

fn not_migrating() -> SqliteOptions {
    SqliteOptions {
        migrate: false,
        ..SqliteOptions::default()
    }
}

/// Runs statements on the connection that writes.
async fn run(store: &SqliteStore, sql: &'static str) {
    let mut writer = store.shared.writer.lock().await;
    let mut connection = writer.take().await.unwrap();
    sqlx::raw_sql(sql)
        .execute(&mut connection.inner)
        .await
        .unwrap();
    writer.put_back(connection);
}

async fn pragma<T>(store: &SqliteStore, sql: &'static str) -> T
where
    T: sqlx::Type<Sqlite> + for<'r> sqlx::Decode<'r, Sqlite> + Send + Unpin,
{
    let mut writer = store.shared.writer.lock().await;
    let mut connection = writer.take().await.unwrap();
    let value = sqlx::query_scalar(sql)
        .fetch_one(&mut connection.inner)
        .await;
    writer.put_back(connection);
    value.unwrap()
}

fn stream(id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse("Thing").unwrap(),
        aggregate_id: AggregateId::parse(id).unwrap(),
    }
}

fn commit(id: &str, events: usize, bytes: usize) -> Commit {
    let event = |_| NewEvent {
        id: EventId(ulid::Ulid::from_parts(1, rand::random())),
        event_type: "ThingHappened".into(),
        schema_version: 1,
        data: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
    };
    Commit {
        stream: stream(id),
        expected: Version::ZERO,
        events: (0..events).map(event).collect(),
        occurred_at: chrono::DateTime::UNIX_EPOCH,
        created_by: None,
        correlation_id: CorrelationId(ulid::Ulid::nil()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

async fn assert_works(store: &SqliteStore, commit: Commit) {
    let stream = commit.stream.clone();
    let events = commit.events.len();
    let verdict = store.save(commit).await.unwrap();
    assert!(matches!(verdict, Verdict::Committed { .. }), "{verdict:?}");
    let stored = store.events(&stream, Version::new(1), 100).await.unwrap();
    assert_eq!(stored.len(), events);
}

#[tokio::test]
async fn a_store_that_is_on_its_way_out_is_waited_for() {
    let database = Database::new();
    let leaving = database.connect(SqliteOptions::default()).await.unwrap();

    let (next, ()) = tokio::join!(database.connect(SqliteOptions::default()), async {
        // By now the next one has found the database locked once.
        tokio::task::yield_now().await;
        leaving.close().await;
    });

    assert_works(&next.unwrap(), commit("one", 1, 1)).await;
}

#[tokio::test]
async fn an_exclusive_database_is_refused_to_a_second_store() {
    let database = Database::new();
    let first = database.connect(SqliteOptions::default()).await.unwrap();

    let second = database.connect(SqliteOptions::default()).await;

    let error = second.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("log.db"), "{error}");
    first.close().await;
    let third = database.connect(SqliteOptions::default()).await.unwrap();
    drop(third);
    database.connect(SqliteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_only_reads_may_do_so_beside_an_exclusive_one() {
    let database = Database::new();
    let exclusive = database.connect(SqliteOptions::default()).await.unwrap();
    assert_works(&exclusive, commit("a", 1, 10)).await;

    let reading = SqliteOptions {
        migrate: false,
        exclusive: false,
        read_only: true,
        ..SqliteOptions::default()
    };
    let reader = database.connect(reading).await.unwrap();
    let refused = reader.save(commit("b", 1, 10)).await;

    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(reader.last_position().await.unwrap(), Position::new(1));
    assert_works(&exclusive, commit("b", 1, 10)).await;
    assert_eq!(reader.last_position().await.unwrap(), Position::new(2));
}

#[tokio::test]
async fn an_empty_file_is_not_migrated_unasked() {
    let database = Database::new();
    std::fs::write(database.directory.path().join("log.db"), "").unwrap();

    let error = database.connect(not_migrating()).await.unwrap_err();

    assert!(matches!(error, OpenError::NotMigrated { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("log.db") && text.contains("not applied; run `dormouse migrate`"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_file_is_not_created_unasked() {
    let database = Database::new();

    let error = database.connect(not_migrating()).await.unwrap_err();

    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let files = std::fs::read_dir(database.directory.path()).unwrap();
    assert_eq!(files.count(), 0);
}

#[tokio::test]
async fn migrating_is_enough_to_open_without_migrating() {
    let database = Database::new();
    SqliteStore::migrate(&database.url(), not_migrating())
        .await
        .unwrap();

    let store = database.connect(not_migrating()).await.unwrap();

    assert_works(&store, commit("one", 1, 1)).await;
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    run(
        &store,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9999, 'later', true, x'00', 0)",
    )
    .await;

    let not_ready = store.ready().await.unwrap_err();
    store.close().await;
    let refused = [
        database.connect(SqliteOptions::default()).await,
        database.connect(not_migrating()).await,
    ];

    assert!(
        matches!(not_ready, NotReady::NotMigrated(_)),
        "{not_ready:?}"
    );
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::NotMigrated { .. }), "{error:?}");
        assert!(error.to_string().contains("9999"), "{error}");
    }
}

#[tokio::test]
async fn only_urls_of_files_are_taken() {
    for url in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://x.db?mode=memory",
        "sqlite:",
        "postgres://localhost/x",
        "x.db",
    ] {
        let opened = SqliteStore::connect(url, SqliteOptions::default()).await;

        let error = opened.unwrap_err();
        assert!(
            matches!(error, OpenError::InvalidUrl(_)),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn the_writer_waits_for_the_disk_at_every_commit() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();

    assert_eq!(pragma::<String>(&store, "pragma journal_mode").await, "wal");
    assert_eq!(pragma::<i64>(&store, "pragma synchronous").await, 2);
    assert_eq!(pragma::<i64>(&store, "pragma busy_timeout").await, 5_000);
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_of_a_batch_and_heals() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    assert_works(&store, commit("one", 1, 1)).await;
    run(&store, "pragma max_page_count = 40").await;

    let batch: Arc<[Commit]> = Arc::from([commit("two", 1, 1), commit("three", 64, 10_000)]);
    let error = store.append(Arc::clone(&batch)).await.unwrap_err();

    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
    assert_eq!(store.last_position().await.unwrap(), Position::new(1));
    run(&store, "pragma max_page_count = 1073741823").await;
    let verdicts = store.append(batch).await.unwrap();
    assert!(matches!(verdicts[1], Verdict::Committed { .. }));
    assert_eq!(store.last_position().await.unwrap(), Position::new(66));
}

#[tokio::test]
async fn a_database_that_another_writes_to_all_the_time_is_unavailable() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    run(&store, "pragma busy_timeout = 1").await;
    let mut other = sqlx::SqliteConnection::connect(&database.url())
        .await
        .unwrap();
    sqlx::raw_sql("begin immediate")
        .execute(&mut other)
        .await
        .unwrap();

    let error = store.save(commit("one", 1, 1)).await.unwrap_err();

    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert_works(&store, commit("one", 1, 1)).await;
    assert_eq!(
        pragma::<i64>(&store, "pragma busy_timeout").await,
        1,
        "the same connection"
    );
}

#[tokio::test]
async fn a_commit_that_is_refused_at_its_end_stores_nothing_and_may_be_appended_again() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    // A deferred foreign key is the one thing that SQLite checks as late as in the commit.
    run(
        &store,
        "pragma foreign_keys = on; create table p (id integer primary key); \
         create table c (p integer references p deferrable initially deferred); \
         create trigger t after insert on domain_events begin insert into c values (1); end;",
    )
    .await;
    let one = commit("one", 2, 1);

    let error = store.save(one.clone()).await.unwrap_err();

    assert!(matches!(error, AppendError::Unstorable(_)), "{error:?}");
    assert!(!store.exists(&one.stream).await.unwrap());
    run(&store, "drop trigger t").await;
    assert_works(&store, one).await;
    assert_eq!(store.last_position().await.unwrap(), Position::new(2));
}

#[tokio::test]
async fn data_that_sqlite_refuses_is_unstorable() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    run(
        &store,
        "create trigger t before insert on domain_events begin \
         select raise(abort, 'refused') where new.aggregate_id = 'bad'; end",
    )
    .await;

    let error = store.save(commit("bad", 1, 1)).await.unwrap_err();

    assert!(matches!(error, AppendError::Unstorable(_)), "{error:?}");
    assert_works(&store, commit("good", 1, 1)).await;
}

fn corruption<T: std::fmt::Debug>(result: Result<T, ReadError>) -> String {
    match result.unwrap_err() {
        ReadError::Corrupt { what } => what,
        error @ ReadError::Unavailable(_) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_gap_is_corruption_and_is_named() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    assert_works(&store, commit("one", 5, 1)).await;
    run(&store, "delete from domain_events where version = 3").await;
    let one = stream("one");
    let request = RecoveryRequest {
        stream: one.clone(),
        fingerprint: None,
        after: Version::new(1),
    };

    let events = store.events(&one, Version::new(1), 10).await;
    let first = store.events(&one, Version::new(3), 10).await;
    let recovered = store.recover(vec![request], 10).await;
    let log = store.read_log(Position::new(1), 10).await;

    for what in [corruption(events), corruption(first), corruption(recovered)] {
        assert_eq!(what, "Thing/one has no event at version 3, and one at 4");
    }
    assert_eq!(
        corruption(log),
        "the log has no event at position 3, and one at 4"
    );
}

#[tokio::test]
async fn what_is_no_json_is_corruption_and_is_not_quoted() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    assert_works(&store, commit("one", 1, 1)).await;
    run(&store, "update domain_events set event_data = '{secret'").await;

    let what = corruption(store.events(&stream("one"), Version::new(1), 10).await);

    assert!(!what.contains("secret"), "{what}");
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    store.close().await;

    let appended = store.save(commit("one", 1, 1)).await;
    let read = store.last_position().await;
    let saved = store
        .save_snapshots(Vec::new(), SnapshotRetention::newest(1))
        .await;
    let ready = store.ready().await;

    assert!(
        matches!(appended, Err(AppendError::Unavailable(_))),
        "{appended:?}"
    );
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    assert!(matches!(saved, Err(ReadError::Unavailable(_))), "{saved:?}");
    assert!(matches!(ready, Err(NotReady::Unreachable(_))), "{ready:?}");
    store.close().await;
}

#[tokio::test]
async fn every_look_up_uses_an_index() {
    let database = Database::new();
    let store = database.connect(SqliteOptions::default()).await.unwrap();
    let statements = [
        append::statements(),
        facts::statements(),
        snapshots::statements(),
    ];
    for statement in statements.into_iter().flatten() {
        let sql = format!("explain query plan {}", statement.0);
        let mut reader = store.reader().await.unwrap();

        let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(sql.clone()))
            .fetch_all(&mut *reader)
            .await
            .unwrap();

        for (_, _, _, step) in plan {
            let scans_table = step.starts_with("SCAN")
                && ["domain_events", "aggregate_", "command_receipts"]
                    .iter()
                    .any(|table| step.contains(table));
            let scans_alias = ["SCAN e", "SCAN s", "SCAN c", "SCAN r"].contains(&step.as_str());
            assert!(!scans_table && !scans_alias, "{sql}: {step}");
        }
    }
}
