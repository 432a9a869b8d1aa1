//! Snapshots are written: a convenience, so in two statements that need not be one.

use std::collections::BTreeMap;

use sqlx::postgres::PgBindIterExt as _;

use super::{
    errors::read_error,
    json_text,
    reads::{Readers, Statement},
    rows::{self, bigint},
};
use crate::{
    domain::{Fingerprint, StreamId, Version},
    store::{ReadError, SnapshotRetention, StoredSnapshot},
};

const SAVE: &str = include_str!("sql/save_snapshots.sql");
const AT: &str = include_str!("sql/snapshot_at.sql");
const DROP: &str = include_str!("sql/drop_snapshots.sql");

/// Saves snapshots and drops those of their streams that need not be kept.
pub(super) async fn save(
    readers: &Readers,
    snapshots: &[StoredSnapshot],
    keep: SnapshotRetention,
) -> Result<(), ReadError> {
    // Of two at the same version the last one stays, for a statement can change a row only
    // once; and all callers change rows in the same order, so that none waits in a circle.
    let snapshots: BTreeMap<_, &StoredSnapshot> = snapshots
        .iter()
        .map(|snapshot| ((&snapshot.stream, snapshot.version), snapshot))
        .collect();
    let snapshots: Vec<&StoredSnapshot> = snapshots.into_values().collect();
    readers
        .rows(|| save_statement(&snapshots))
        .await
        .map_err(read_error)?;
    readers
        .rows(|| drop_statement(&snapshots, keep))
        .await
        .map_err(read_error)?;
    Ok(())
}

fn save_statement<'q>(snapshots: &[&StoredSnapshot]) -> Statement<'q> {
    let all = || snapshots.iter();
    sqlx::query(SAVE)
        .bind(all().map(|snapshot| snapshot.id.to_string()).bind_iter())
        .bind(
            all()
                .map(|snapshot| snapshot.stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            all()
                .map(|snapshot| snapshot.stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .bind(
            all()
                .map(|snapshot| bigint(snapshot.version.get()))
                .bind_iter(),
        )
        .bind(
            all()
                .map(|snapshot| bigint(snapshot.position.get()))
                .bind_iter(),
        )
        .bind(all().map(|snapshot| snapshot.occurred_at).bind_iter())
        .bind(
            all()
                .map(|snapshot| snapshot.fingerprint.as_str())
                .bind_iter(),
        )
        .bind(
            all()
                .map(|snapshot| json_text::to_stored(&snapshot.data))
                .bind_iter(),
        )
        .bind(all().map(|snapshot| snapshot.created_at).bind_iter())
}

fn drop_statement<'q>(snapshots: &[&StoredSnapshot], keep: SnapshotRetention) -> Statement<'q> {
    // They are in the order of versions: the newest says what fits.
    let streams: BTreeMap<_, _> = snapshots
        .iter()
        .map(|snapshot| (&snapshot.stream, &snapshot.fingerprint))
        .collect();
    sqlx::query(DROP)
        .bind(
            streams
                .keys()
                .map(|stream| stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            streams
                .keys()
                .map(|stream| stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .bind(i64::from(keep.newest))
        .bind(i64::from(keep.history_every))
        .bind(streams.values().map(|fits| fits.as_str()).bind_iter())
}

/// The newest snapshot that fits, of a version or before it.
pub(super) async fn at(
    readers: &Readers,
    stream: &StreamId,
    fingerprint: &Fingerprint,
    until: Version,
) -> Result<Option<StoredSnapshot>, ReadError> {
    let found = readers.row(|| {
        sqlx::query(AT)
            .bind(stream.aggregate_type.as_str())
            .bind(stream.aggregate_id.as_str())
            .bind(fingerprint.as_str())
            .bind(bigint(until.get()))
    });
    let found = found.await?;
    found
        .map(|row| rows::snapshot(&row, stream.clone()))
        .transpose()
}
