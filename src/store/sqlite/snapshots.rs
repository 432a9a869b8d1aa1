//! Snapshots, and recovering many streams at once.

use std::sync::{Arc, LazyLock};

use sqlx::{Row as _, Sqlite, SqliteConnection, pool::PoolConnection, sqlite::SqliteRow};
use ulid::Ulid;

use super::{
    Shared, corrupt,
    errors::read_error,
    reads::{check_versions, event_columns, instant, json, recorded_event, text},
    rows::{MAX_ROWS, RowStatements, integer, natural},
    writer::WriteConnection,
};
use crate::{
    domain::{Fingerprint, Position, StreamId, Version},
    store::{
        ReadError, RecordedEvent, Recovered, RecoveryRequest, SnapshotRetention, StoredSnapshot,
    },
};

pub(super) async fn save(
    shared: Arc<Shared>,
    snapshots: Vec<StoredSnapshot>,
    keep: SnapshotRetention,
) -> Result<(), ReadError> {
    let mut writer = shared.writer.lock().await;
    let mut connection = writer.take().await.map_err(read_error)?;
    let saved = save_all(&mut connection, &snapshots, keep).await;
    writer.put_back(connection);
    saved.map_err(read_error)
}

async fn save_all(
    connection: &mut WriteConnection,
    snapshots: &[StoredSnapshot],
    keep: SnapshotRetention,
) -> Result<(), sqlx::Error> {
    connection.begin().await?;
    let saved = match save_each(&mut connection.inner, snapshots, keep).await {
        Ok(()) => connection.commit().await,
        Err(error) => Err(error),
    };
    if saved.is_err() {
        connection.rollback().await;
    }
    saved
}

async fn save_each(
    connection: &mut SqliteConnection,
    snapshots: &[StoredSnapshot],
    keep: SnapshotRetention,
) -> Result<(), sqlx::Error> {
    for snapshot in snapshots {
        upsert(&mut *connection, snapshot).await?;
        drop_surplus(&mut *connection, snapshot, keep).await?;
    }
    Ok(())
}

async fn upsert(
    connection: &mut SqliteConnection,
    snapshot: &StoredSnapshot,
) -> Result<(), sqlx::Error> {
    let sql = "insert into aggregate_snapshots (id, aggregate_type, aggregate_id, version, \
        position, occurred_at, created_at, fingerprint, snapshot_data) \
        values (?, ?, ?, ?, ?, ?, ?, ?, ?) \
        on conflict (aggregate_type, aggregate_id, version) do update set id = excluded.id, \
        position = excluded.position, occurred_at = excluded.occurred_at, \
        created_at = excluded.created_at, fingerprint = excluded.fingerprint, \
        snapshot_data = excluded.snapshot_data";
    sqlx::query(sql)
        .bind(snapshot.id.to_string())
        .bind(snapshot.stream.aggregate_type.as_str())
        .bind(snapshot.stream.aggregate_id.as_str())
        .bind(integer(snapshot.version.get()))
        .bind(integer(snapshot.position.get()))
        .bind(snapshot.occurred_at.timestamp_micros())
        .bind(snapshot.created_at.timestamp_micros())
        .bind(snapshot.fingerprint.as_str())
        .bind(snapshot.data.get())
        .execute(connection)
        .await?;
    Ok(())
}

async fn drop_surplus(
    connection: &mut SqliteConnection,
    snapshot: &StoredSnapshot,
    keep: SnapshotRetention,
) -> Result<(), sqlx::Error> {
    // Where there is no surplus the inner select is null, and nothing compares with null. Of each
    // span of versions the first snapshot that fits stays.
    let sql = "delete from aggregate_snapshots as surplus \
        where aggregate_type = ?1 and aggregate_id = ?2 \
        and version <= (select version from aggregate_snapshots \
        where aggregate_type = ?1 and aggregate_id = ?2 \
        order by version desc limit 1 offset ?3) \
        and (?4 = 0 or fingerprint <> ?5 or exists (select 1 from aggregate_snapshots as earlier \
        where earlier.aggregate_type = ?1 and earlier.aggregate_id = ?2 \
        and earlier.version >= surplus.version - surplus.version % ?4 \
        and earlier.version < surplus.version and earlier.fingerprint = ?5))";
    sqlx::query(sql)
        .bind(snapshot.stream.aggregate_type.as_str())
        .bind(snapshot.stream.aggregate_id.as_str())
        .bind(i64::from(keep.newest))
        .bind(i64::from(keep.history_every))
        .bind(snapshot.fingerprint.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The newest snapshot that fits, of a version or before it.
pub(super) async fn at(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    fingerprint: &Fingerprint,
    until: Version,
) -> Result<Option<StoredSnapshot>, ReadError> {
    let sql = "select 0, id, version, position, occurred_at, created_at, snapshot_data \
        from aggregate_snapshots where aggregate_type = ? and aggregate_id = ? \
        and version <= ? and fingerprint = ? order by version desc limit 1";
    let row = sqlx::query(sql)
        .bind(stream.aggregate_type.as_str())
        .bind(stream.aggregate_id.as_str())
        .bind(integer(until.get()))
        .bind(fingerprint.as_str())
        .fetch_optional(connection)
        .await
        .map_err(read_error)?;
    row.map(|row| stored_snapshot(&row, stream, fingerprint))
        .transpose()
}

pub(super) async fn recover(
    mut connection: PoolConnection<Sqlite>,
    requests: Vec<RecoveryRequest>,
    page: u32,
) -> Result<Vec<Recovered>, ReadError> {
    let begun = sqlx::query("begin").execute(&mut *connection).await;
    begun.map_err(read_error)?;
    let recovered = recover_all(&mut connection, &requests, page).await;
    // It has written nothing, so undoing it is as good as committing it.
    if sqlx::query("rollback")
        .execute(&mut *connection)
        .await
        .is_err()
    {
        // Nobody else is to find its transaction open.
        drop(connection.detach());
    }
    recovered
}

async fn recover_all(
    connection: &mut SqliteConnection,
    requests: &[RecoveryRequest],
    page: u32,
) -> Result<Vec<Recovered>, ReadError> {
    let mut recovered = Vec::with_capacity(requests.len());
    for chunk in requests.chunks(MAX_ROWS) {
        let snapshots = newest_snapshots(connection, chunk).await?;
        let known: Vec<Version> = chunk
            .iter()
            .zip(&snapshots)
            .map(|(request, found)| found.as_ref().map_or(request.after, |found| found.version))
            .collect();
        let events = events_after(connection, chunk, &known, page).await?;
        let pairs = snapshots.into_iter().zip(events);
        recovered.extend(pairs.map(|(snapshot, events)| Recovered {
            snapshot,
            events,
            is_cut: false,
        }));
    }
    Ok(recovered)
}

static NEWEST_SNAPSHOTS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, type, id, fingerprint, after) as (values ",
        "(?,?,?,?,?)",
        ") select n, s.id, s.version, s.position, s.occurred_at, s.created_at, s.snapshot_data \
         from wanted cross join aggregate_snapshots s on s.rowid = ( \
         select c.rowid from aggregate_snapshots c where c.aggregate_type = wanted.type \
         and c.aggregate_id = wanted.id and c.fingerprint = wanted.fingerprint \
         and c.version > wanted.after order by c.version desc limit 1)",
    )
});

/// For each request of a chunk, its newest snapshot that fits.
async fn newest_snapshots(
    connection: &mut SqliteConnection,
    chunk: &[RecoveryRequest],
) -> Result<Vec<Option<StoredSnapshot>>, ReadError> {
    let mut snapshots: Vec<Option<StoredSnapshot>> = vec![None; chunk.len()];
    let wanted: Vec<(u64, &RecoveryRequest, &Fingerprint)> = (0_u64..)
        .zip(chunk)
        .filter_map(|(index, request)| Some((index, request, request.fingerprint.as_ref()?)))
        .collect();
    if wanted.is_empty() {
        return Ok(snapshots);
    }
    let mut query = sqlx::query(NEWEST_SNAPSHOTS.of(wanted.len()));
    for (index, request, fingerprint) in wanted {
        query = query
            .bind(integer(index))
            .bind(request.stream.aggregate_type.as_str())
            .bind(request.stream.aggregate_id.as_str())
            .bind(fingerprint.as_str())
            .bind(integer(request.after.get()));
    }
    for row in query.fetch_all(connection).await.map_err(read_error)? {
        let index = index_in(&row, chunk.len())?;
        let request = &chunk[index];
        let fingerprint = request.fingerprint.as_ref();
        let fingerprint = fingerprint.ok_or_else(|| corrupt("a snapshot nobody asked for"))?;
        snapshots[index] = Some(stored_snapshot(&row, &request.stream, fingerprint)?);
    }
    Ok(snapshots)
}

fn stored_snapshot(
    row: &SqliteRow,
    stream: &StreamId,
    fingerprint: &Fingerprint,
) -> Result<StoredSnapshot, ReadError> {
    let number = |column: usize| row.try_get::<i64, _>(column).map_err(read_error);
    Ok(StoredSnapshot {
        id: text(row.try_get(1).map_err(read_error)?, Ulid::from_string)?,
        stream: stream.clone(),
        version: Version::new(natural(number(2)?, "a snapshot's version")?),
        position: Position::new(natural(number(3)?, "a snapshot's position")?),
        occurred_at: instant(number(4)?)?,
        created_at: instant(number(5)?)?,
        fingerprint: fingerprint.clone(),
        data: json(row.try_get(6).map_err(read_error)?)?,
    })
}

// Versions have no gap, so a page is a range of them.
static EVENTS_AFTER: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, type, id, after, until) as (values ",
        "(?,?,?,?,?)",
        concat!(
            ") select n, ",
            event_columns!(),
            " from wanted cross join domain_events e on e.aggregate_type = wanted.type \
             and e.aggregate_id = wanted.id \
             and e.version > wanted.after and e.version <= wanted.until"
        ),
    )
});

/// For each request of a chunk, the first page of events after what is known.
async fn events_after(
    connection: &mut SqliteConnection,
    chunk: &[RecoveryRequest],
    known: &[Version],
    page: u32,
) -> Result<Vec<Vec<RecordedEvent>>, ReadError> {
    let mut query = sqlx::query(EVENTS_AFTER.of(chunk.len()));
    for ((index, request), known) in (0_u64..).zip(chunk).zip(known) {
        let after = integer(known.get());
        query = query
            .bind(integer(index))
            .bind(request.stream.aggregate_type.as_str())
            .bind(request.stream.aggregate_id.as_str())
            .bind(after)
            .bind(after.saturating_add(i64::from(page)));
    }
    let mut events: Vec<Vec<RecordedEvent>> = chunk.iter().map(|_| Vec::new()).collect();
    for row in query.fetch_all(connection).await.map_err(read_error)? {
        let index = index_in(&row, chunk.len())?;
        events[index].push(recorded_event(&row, 1, Some(&chunk[index].stream))?);
    }
    for (events, known) in events.iter_mut().zip(known) {
        // The statement asks for no order: its index gives it, but nothing says so.
        events.sort_unstable_by_key(|event| event.version);
        check_versions(events, known.next())?;
    }
    Ok(events)
}

/// The request of a chunk that a row is for.
fn index_in(row: &SqliteRow, requests: usize) -> Result<usize, ReadError> {
    let index: i64 = row.try_get(0).map_err(read_error)?;
    let index = usize::try_from(index)
        .ok()
        .filter(|index| *index < requests);
    index.ok_or_else(|| corrupt("the answer to another question"))
}

/// The statements of this module with two rows, for a test of their plans.
#[cfg(test)]
pub(super) fn statements() -> Vec<sqlx::AssertSqlSafe<Arc<str>>> {
    let statements = [&NEWEST_SNAPSHOTS, &EVENTS_AFTER];
    statements.iter().map(|statement| statement.of(2)).collect()
}
