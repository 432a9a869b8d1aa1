//! What is known of rows, in both of its places: kept beside the log, and carried by an event.

use sqlx::postgres::PgRow;

use crate::{
    domain::AggregateType,
    store::{
        ReadError, RowTrack,
        postgres::{
            errors::read_error,
            reads::{Readers, Statement},
            rows::{bigint, column, number},
        },
        row_text::{CarriedTrack, KeptTrack, LOOKED_AT_WITH_THE_ROW, TrackText},
    },
};

/// Eight columns of a statement that has [`joined`]: the first is the statement's own.
pub(super) const TRACK: &str = "kept.version, kept.log_version, kept.marks, kept.agreed, \
    kept.rowless, carried.version, carried.row_marks, head.version";

/// These columns where no track is looked up.
pub(super) const NO_TRACK: &str = "null, null, null, null, null, null, null, null";

/// How many columns these are, with the first.
pub(super) const COLUMNS: usize = 9;

/// The track of a stream: as it is `kept`, the `head` of its log, and the newest event behind the first
/// that carries marks as `carried`, where it is one of the newest.
pub(super) fn joined(aggregate_type: &str, aggregate_id: &str) -> String {
    let of_stream = format!("aggregate_type = {aggregate_type} and aggregate_id = {aggregate_id}");
    format!(
        "left join lateral (select version, log_version, marks, agreed, rowless \
         from aggregate_rows where {of_stream} limit 1) as kept on true \
         left join lateral (select version from domain_events where {of_stream} \
         order by version desc limit 1) as head on true \
         left join lateral (select version, row_marks from domain_events where {of_stream} \
         and version > greatest(kept.log_version, head.version - {LOOKED_AT_WITH_THE_ROW}) \
         and row_marks is not null order by version desc limit 1) as carried on true"
    )
}

/// What was read of a track.
pub(super) fn track_text(row: &PgRow) -> Result<TrackText, ReadError> {
    let kept = match column::<Option<i64>>(row, 1)? {
        None => None,
        Some(_) => Some(KeptTrack {
            version: number(row, 1)?,
            log_version: number(row, 2)?,
            marks: column(row, 3)?,
            agreed: column(row, 4)?,
            rowless: column(row, 5)?,
        }),
    };
    let carried = match column::<Option<String>>(row, 7)? {
        None => None,
        Some(marks) => Some(CarriedTrack {
            version: number(row, 6)?,
            marks,
        }),
    };
    let head = match column::<Option<i64>>(row, 8)? {
        None => 0,
        Some(_) => number(row, 8)?,
    };
    Ok(TrackText {
        kept,
        carried,
        head,
    })
}

/// The track, looked for in older events as well.
pub(super) async fn whole_track(
    readers: &Readers,
    stream: (&AggregateType, &str),
    mut read: TrackText,
) -> Result<Option<RowTrack>, ReadError> {
    for part in read.unsearched() {
        let found = readers.rows(|| carried_in(stream, part)).await;
        read.carried = carried_found(&found.map_err(read_error)?)?;
        if read.carried.is_some() {
            break;
        }
    }
    read.read()
}

/// Asks for the newest event that carries marks, of those after a version up to another.
pub(super) fn carried_in<'q>(
    (aggregate_type, id): (&'q AggregateType, &'q str),
    (after, to): (u64, u64),
) -> Statement<'q> {
    sqlx::query(
        "select version, row_marks from domain_events where aggregate_type = $1 \
         and aggregate_id = $2 and version > $3 and version <= $4 and row_marks is not null \
         order by version desc limit 1",
    )
    .bind(aggregate_type.as_str())
    .bind(id)
    .bind(bigint(after))
    .bind(bigint(to))
}

/// What was found of it.
pub(super) fn carried_found(found: &[PgRow]) -> Result<Option<CarriedTrack>, ReadError> {
    let found = found.first().map(|row| {
        Ok(CarriedTrack {
            version: number(row, 0)?,
            marks: column(row, 1)?,
        })
    });
    found.transpose()
}
