//! Writing rows, links and tracks inside an append.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

use super::{
    by_table, quoted,
    standing::{are_as_decided, before_names, bound_before, differs, is_all_text},
};
use crate::{
    domain::{LinkTable, RowValue},
    store::{
        AppendError, Commit,
        net_rows::{NetChange, Write, net_changes},
        rounds::InsertError,
        row_text::stored_marks,
        sqlite::{
            errors::{insert_error, refused_columns},
            rows::{MAX_ROWS, integer},
        },
    },
};

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// When it is looked at whether rows are what their changes were decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Look {
    /// While they are updated, where a text can say so. What is not updated then may be the same all
    /// the same.
    Writing,
    /// Before they are written.
    First,
}

impl Look {
    /// Whether the statement that writes a row sees that it is another. Of what is inserted a trigger of
    /// theirs may make something else before an index objects.
    fn is_in_the_write(self, change: &NetChange<'_>) -> bool {
        let is_update = change.write() == Write::Update;
        self == Self::Writing && is_update && change.expected.is_none() && is_all_text(change)
    }
}

/// Writes what the commits do to rows, or objects where one is not what it was decided on. Whether all
/// is written: where not, it has to be undone and [looked at first](Look::First).
pub(in crate::store::sqlite) async fn write_rows(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    look: Look,
) -> Result<bool, InsertError> {
    let changes = net_changes(commits);
    if changes.is_empty() {
        return Ok(true);
    }
    let asked = changes
        .iter()
        .filter(|change| !look.is_in_the_write(change));
    let stand = are_as_decided(connection, asked).await;
    let stand =
        stand.map_err(|error| InsertError::Failed(AppendError::Unavailable(error.into())))?;
    if !stand {
        return Err(InsertError::Conflict);
    }
    for table in by_table(&changes, |change| &*change.table.name) {
        // What is freed first can be taken then.
        for write in [Write::Delete, Write::Update, Write::Insert] {
            let alike = table.iter().copied();
            let alike: Vec<_> = alike.filter(|change| change.write() == write).collect();
            if !write_alike(connection, (write, look), &alike).await? {
                return Ok(false);
            }
        }
        for link in &table[0].table.links {
            write_links(connection, link, &table).await?;
        }
    }
    write_tracks(connection, &changes).await?;
    Ok(true)
}

async fn run(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<u64, InsertError> {
    let done = statement.execute(connection).await;
    let done = done.map_err(|error| match refused_columns(&error) {
        Some(columns) => InsertError::Refused(columns),
        None => insert_error(error),
    })?;
    Ok(done.rows_affected())
}

/// Runs what has to write so many rows.
async fn run_on(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
    rows: usize,
) -> Result<(), InsertError> {
    match run(connection, statement).await? {
        written if written == rows as u64 => Ok(()),
        _ => Err(InsertError::Conflict),
    }
}

/// Changes of one table that are of one kind.
async fn write_alike(
    connection: &mut SqliteConnection,
    (write, look): (Write, Look),
    changes: &[&NetChange<'_>],
) -> Result<bool, InsertError> {
    let kind = |change: &NetChange<'_>| -> (bool, Vec<&'static str>) {
        let stamps = change.stamps.iter().map(|(name, _)| *name);
        (look.is_in_the_write(change), stamps.collect())
    };
    let mut changes = changes.to_vec();
    changes.sort_by_cached_key(|change| kind(change));
    for alike in changes.chunk_by(|one, next| kind(one) == kind(next)) {
        for chunk in alike.chunks(MAX_ROWS) {
            let is_guarded = look.is_in_the_write(chunk[0]);
            if !write_chunk(connection, write, is_guarded, chunk).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn write_chunk(
    connection: &mut SqliteConnection,
    write: Write,
    is_guarded: bool,
    chunk: &[&NetChange<'_>],
) -> Result<bool, InsertError> {
    let first = chunk[0];
    let (table, key) = (quoted(&first.table.name), quoted(first.table.key));
    let mut columns: Vec<&'static str> = Vec::new();
    if write != Write::Delete {
        let mapped = first.table.columns.iter().map(|column| column.name);
        columns.extend(mapped.chain(first.stamps.iter().map(|(name, _)| *name)));
    }
    let guard = || before_names(first.table).take_while(|_| is_guarded);
    let row = format!("(?{})", ",?".repeat(columns.len() + guard().count()));
    let rows = vec![row; chunk.len()].join(",");
    // `or fail` for the reason given in `event_inserts`.
    let text = match write {
        Write::Insert => {
            let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
            let names = names.join(", ");
            format!("insert or fail into {table} ({key}, {names}) values {rows}")
        }
        Write::Update => {
            let names = (0..columns.len()).map(|place| format!("a{place}"));
            let names: Vec<String> = names.chain(guard()).collect();
            let names = names.join(", ");
            let sets = columns.iter().enumerate();
            let sets = sets.map(|(place, name)| format!("{} = given.a{place}", quoted(name)));
            let sets = sets.collect::<Vec<_>>().join(", ");
            let same = if is_guarded {
                let differs = differs(first.table);
                format!(" and cast(held.{key} as text) = given.id and not {differs}")
            } else {
                String::new()
            };
            format!(
                "with given (id, {names}) as (values {rows}) update or fail {table} as held \
                 set {sets} from given where held.{key} = given.id{same}"
            )
        }
        Write::Delete => format!("delete from {table} where {key} in (values {rows})"),
        Write::Absent | Write::Keep => return Ok(true),
    };
    // Safe: names of the mapping between quotes; values are parameters.
    let mut statement = sqlx::query(AssertSqlSafe(text));
    for change in chunk {
        statement = statement.bind(change.stream.aggregate_id.as_str().to_owned());
        for name in &columns {
            statement = bound(statement, value_after(change, name));
        }
        if is_guarded {
            statement = bound_before(statement, change);
        }
    }
    if is_guarded {
        return Ok(run(connection, statement).await? == chunk.len() as u64);
    }
    run_on(connection, statement, chunk.len()).await?;
    Ok(true)
}

fn value_after<'a>(change: &NetChange<'a>, name: &str) -> Option<&'a RowValue> {
    let mut stamps = change.stamps.iter();
    let stamp = stamps.find(|(stamp, _)| *stamp == name);
    let mapped = || change.after.and_then(|row| row.values.get(name));
    stamp.map(|(_, value)| *value).or_else(mapped)
}

/// A value in the form in which most programs write it to SQLite.
fn bound<'q>(statement: Statement<'q>, value: Option<&RowValue>) -> Statement<'q> {
    match value {
        None | Some(RowValue::Null) => statement.bind(None::<String>),
        Some(RowValue::Bool(value)) => statement.bind(i64::from(*value)),
        Some(RowValue::Int(number)) => statement.bind(*number),
        Some(RowValue::Text(text)) => statement.bind(text.clone()),
        Some(RowValue::Secret(secret)) => statement.bind(secret.expose().clone()),
        Some(RowValue::Json(value)) => statement.bind(value.to_string()),
        Some(RowValue::Time(time)) => statement.bind(time_text(*time)),
    }
}

/// A time as exact as it is, so that it is read back as it was.
fn time_text(time: DateTime<Utc>) -> String {
    let form = if time.timestamp_subsec_micros().is_multiple_of(1000) {
        "%Y-%m-%d %H:%M:%S%.3f"
    } else {
        "%Y-%m-%d %H:%M:%S%.6f"
    };
    time.format(form).to_string()
}

/// The text that SQLite makes of a value that was written so.
pub(super) fn text_written(value: Option<&RowValue>) -> Option<String> {
    match value {
        None | Some(RowValue::Null) => None,
        Some(RowValue::Bool(value)) => Some(i64::from(*value).to_string()),
        Some(RowValue::Int(number)) => Some(number.to_string()),
        Some(RowValue::Text(text)) => Some(text.clone()),
        Some(RowValue::Secret(secret)) => Some(secret.expose().clone()),
        Some(RowValue::Json(value)) => Some(value.to_string()),
        Some(RowValue::Time(time)) => Some(time_text(*time)),
    }
}

async fn write_links(
    connection: &mut SqliteConnection,
    link: &LinkTable,
    changes: &[&NetChange<'_>],
) -> Result<(), InsertError> {
    let (table, owner, member) = (quoted(link.name), quoted(link.owner), quoted(link.member));
    let lost = format!("delete from {table} where ({owner}, {member}) in (select * from given)");
    // One that is there already, left over from another row, is what is wanted.
    let gained = format!(
        "insert or fail into {table} ({owner}, {member}) select * from given where not exists \
         (select 1 from {table} as held where held.{owner} = given.owner \
         and held.{member} = given.member)"
    );
    let mut pairs = [Vec::new(), Vec::new()];
    for change in changes {
        let id = change.stream.aggregate_id.as_str();
        pairs[0].extend(change.links_lost(link.name).map(|member| (id, member)));
        pairs[1].extend(change.links_gained(link.name).map(|member| (id, member)));
    }
    for (action, pairs) in [lost, gained].iter().zip(&pairs) {
        for chunk in pairs.chunks(MAX_ROWS) {
            let rows = vec!["(?,?)"; chunk.len()].join(",");
            let text = format!("with given (owner, member) as (values {rows}) {action}");
            // Safe: as above.
            let mut statement = sqlx::query(AssertSqlSafe(text));
            for (owner, member) in chunk {
                statement = statement
                    .bind((*owner).to_owned())
                    .bind((*member).to_owned());
            }
            run(connection, statement).await?;
        }
    }
    Ok(())
}

/// The tracks that no event carries; where they are expected was looked at with the rows.
async fn write_tracks(
    connection: &mut SqliteConnection,
    changes: &[NetChange<'_>],
) -> Result<(), InsertError> {
    let kept = changes.iter().filter(|change| !change.is_carried);
    let (by_log, by_track): (Vec<_>, Vec<_>) = kept.partition(|change| change.expected.is_none());
    let kept = "max(aggregate_rows.version, excluded.version)";
    for (changes, version) in [(by_log, kept), (by_track, "excluded.version")] {
        for chunk in changes.chunks(MAX_ROWS) {
            let rows = vec!["(?,?,?,?,?,?,?)"; chunk.len()].join(",");
            let text = format!(
                "insert or fail into aggregate_rows (aggregate_type, aggregate_id, version, \
                 log_version, marks, agreed, rowless) values {rows} \
                 on conflict (aggregate_type, aggregate_id) do update set version = {version}, \
                 log_version = excluded.log_version, marks = excluded.marks, \
                 agreed = excluded.agreed, rowless = excluded.rowless"
            );
            // Safe: constants only.
            let mut statement = sqlx::query(AssertSqlSafe(text));
            for change in chunk {
                let (marks, agreed) = stored_marks(change.track);
                let rowless = change.track.rowless.as_ref();
                statement = statement
                    .bind(change.stream.aggregate_type.as_str().to_owned())
                    .bind(change.stream.aggregate_id.as_str().to_owned())
                    .bind(integer(change.track.version.get()))
                    .bind(integer(change.track.log_version.get()))
                    .bind(marks)
                    .bind(agreed)
                    .bind(rowless.map(|state| state.get().to_owned()));
            }
            run_on(connection, statement, chunk.len()).await?;
        }
    }
    Ok(())
}
