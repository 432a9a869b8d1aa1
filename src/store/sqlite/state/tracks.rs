//! What is known of rows, in both of its places: kept beside the log, and carried by an event.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{read::text, read_failed};
use crate::{
    domain::AggregateType,
    store::{
        ReadError, RowTrack,
        row_text::{CarriedTrack, KeptTrack, LOOKED_AT_WITH_THE_ROW, TrackText},
        sqlite::rows::{integer, natural},
    },
};

/// Eight columns of a statement that has a track as `kept`, an event as `carried`, and the names of a
/// stream: the first is the statement's own.
pub(super) fn columns(aggregate_type: &str, aggregate_id: &str) -> String {
    format!(
        "kept.version, kept.log_version, kept.marks, kept.agreed, kept.rowless, \
         carried.version, carried.row_marks, {}",
        head(aggregate_type, aggregate_id)
    )
}

/// These columns where no track is looked up.
pub(super) const NONE: &str = "null, null, null, null, null, null, null, null";

/// How many columns these are, with the first.
pub(super) const COLUMNS: usize = 9;

/// The position of the newest event that carries marks behind the track that is kept, where it is one
/// of the newest.
pub(super) fn carried(aggregate_type: &str, aggregate_id: &str) -> String {
    format!(
        "(select event.position from domain_events as event \
         where event.aggregate_type = {aggregate_type} and event.aggregate_id = {aggregate_id} \
         and event.version > max(coalesce(kept.log_version, 0), \
         coalesce({}, 0) - {LOOKED_AT_WITH_THE_ROW}) and event.row_marks is not null \
         order by event.version desc limit 1)",
        head(aggregate_type, aggregate_id)
    )
}

fn head(aggregate_type: &str, aggregate_id: &str) -> String {
    format!(
        "(select max(last.version) from domain_events as last \
         where last.aggregate_type = {aggregate_type} and last.aggregate_id = {aggregate_id})"
    )
}

/// That the track of a stream in `given` is not where it is expected. Behind the log version that the
/// new track knows, no event may carry marks; so nothing before it is looked through.
pub(super) const IS_ELSEWHERE: &str = "(given.track <> coalesce(kept.version, 0) \
    and not (given.track > coalesce(kept.version, 0) and exists (select 1 from domain_events as event \
    where event.aggregate_type = given.type and event.aggregate_id = given.id \
    and event.version = given.track and event.version > coalesce(kept.log_version, 0) \
    and event.row_marks is not null)) \
    or exists (select 1 from domain_events as event \
    where event.aggregate_type = given.type and event.aggregate_id = given.id \
    and event.version > max(given.track, given.known) and event.row_marks is not null))";

/// What was read of a track.
pub(super) fn track_text(row: &SqliteRow) -> Result<TrackText, ReadError> {
    let number = |place: usize| row.try_get::<Option<i64>, _>(place).map_err(read_failed);
    let kept = match (number(1)?, number(2)?) {
        (Some(version), Some(log_version)) => Some(KeptTrack {
            version: natural(version, "a track's version")?,
            log_version: natural(log_version, "a track's version of the log")?,
            marks: text(row, 3)?,
            agreed: text(row, 4)?,
            rowless: text(row, 5)?,
        }),
        _ => None,
    };
    let carried = match (number(6)?, text(row, 7)?) {
        (Some(version), Some(marks)) => Some(CarriedTrack {
            version: natural(version, "an event's version")?,
            marks,
        }),
        _ => None,
    };
    let head = natural(number(8)?.unwrap_or_default(), "an event's version")?;
    Ok(TrackText {
        kept,
        carried,
        head,
    })
}

/// The track, looked for in older events as well.
pub(super) async fn whole_track(
    connection: &mut SqliteConnection,
    (aggregate_type, id): (&AggregateType, &str),
    mut read: TrackText,
) -> Result<Option<RowTrack>, ReadError> {
    for (after, to) in read.unsearched() {
        read.carried = carried_between(connection, (aggregate_type, id), (after, to)).await?;
        if read.carried.is_some() {
            break;
        }
    }
    read.read()
}

async fn carried_between(
    connection: &mut SqliteConnection,
    (aggregate_type, id): (&AggregateType, &str),
    (after, to): (u64, u64),
) -> Result<Option<CarriedTrack>, ReadError> {
    let found = sqlx::query(
        "select version, row_marks from domain_events where aggregate_type = ? \
         and aggregate_id = ? and version > ? and version <= ? and row_marks is not null \
         order by version desc limit 1",
    )
    .bind(aggregate_type.as_str())
    .bind(id.to_owned())
    .bind(integer(after))
    .bind(integer(to))
    .fetch_optional(connection)
    .await
    .map_err(read_failed)?;
    let found = found.map(|row| {
        let version: i64 = row.try_get(0).map_err(read_failed)?;
        Ok(CarriedTrack {
            version: natural(version, "an event's version")?,
            marks: row.try_get(1).map_err(read_failed)?,
        })
    });
    found.transpose()
}
