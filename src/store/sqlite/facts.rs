//! What the store holds of all that a batch touches: looked up only where an insert met an objection.

use std::{collections::HashSet, sync::LazyLock};

use sqlx::{FromRow, Sqlite, SqliteConnection, query::QueryAs, sqlite::SqliteArguments};

use super::{
    errors::read_error,
    reads::{ReceiptRow, receipt_of, text},
    rows::{MAX_ROWS, RowStatements, integer, natural},
    state::look_up_rows,
};
use crate::{
    domain::{AggregateId, EventId, Position, StreamId, Version},
    store::{
        Commit, ReadError,
        admission::{ClaimKey, Facts, ReceiptKey},
    },
};

/// The facts of a batch; the caller holds a transaction, so they are of one moment.
pub(super) async fn look_up(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
) -> Result<Facts, ReadError> {
    let mut facts = Facts::default();
    look_up_versions(connection, commits, &mut facts).await?;
    look_up_stored(connection, commits, &mut facts).await?;
    look_up_holders(connection, commits, &mut facts).await?;
    look_up_receipts(connection, commits, &mut facts).await?;
    look_up_rows(connection, commits, &mut facts).await?;
    Ok(facts)
}

type RowQuery<'q, Row> = QueryAs<'q, Sqlite, Row, SqliteArguments>;

/// Asks for the wanted in chunks; each row that comes back begins with the index of what it is for.
async fn ask<T, Row>(
    connection: &mut SqliteConnection,
    statements: &RowStatements,
    wanted: &[T],
    bind: impl for<'q> Fn(RowQuery<'q, Row>, &T) -> RowQuery<'q, Row>,
) -> Result<Vec<Row>, ReadError>
where
    Row: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    let mut rows = Vec::new();
    for (chunk, from) in wanted.chunks(MAX_ROWS).zip((0_u64..).step_by(MAX_ROWS)) {
        let mut query = sqlx::query_as(statements.of(chunk.len()));
        for (index, one) in (from..).zip(chunk) {
            query = bind(query.bind(integer(index)), one);
        }
        let found = query.fetch_all(&mut *connection).await;
        rows.extend(found.map_err(read_error)?);
    }
    Ok(rows)
}

/// What a row that came back is for.
fn asked<T>(wanted: &[T], index: i64) -> Result<&T, ReadError> {
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| wanted.get(index));
    found.ok_or_else(|| super::corrupt("the answer to another question"))
}

async fn look_up_versions(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), ReadError> {
    let streams: HashSet<&StreamId> = commits.iter().map(|commit| &commit.stream).collect();
    let streams: Vec<&StreamId> = streams.into_iter().collect();
    let rows: Vec<(i64, i64)> = ask(connection, &VERSIONS, &streams, |query, stream| {
        query
            .bind(stream.aggregate_type.as_str().to_owned())
            .bind(stream.aggregate_id.as_str().to_owned())
    })
    .await?;
    for (index, version) in rows {
        let stream = *asked(&streams, index)?;
        let version = Version::new(natural(version, "a version")?);
        facts.versions.insert(stream.clone(), version);
    }
    Ok(())
}

async fn look_up_stored(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), ReadError> {
    // A commit is known by its first event.
    let ids: Vec<EventId> = commits
        .iter()
        .filter_map(|commit| Some(commit.events.first()?.id))
        .collect();
    let rows: Vec<(i64, i64)> = ask(connection, &STORED, &ids, |query, id| {
        query.bind(id.to_string())
    })
    .await?;
    for (index, position) in rows {
        let position = Position::new(natural(position, "a position")?);
        facts.stored.insert(*asked(&ids, index)?, position);
    }
    Ok(())
}

async fn look_up_holders(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), ReadError> {
    let touched = commits.iter().flat_map(|commit| {
        let claims = commit.takes.iter().chain(&commit.frees);
        claims.map(|claim| (commit.stream.aggregate_type.clone(), claim.clone()))
    });
    let keys: HashSet<ClaimKey> = touched.collect();
    let keys: Vec<ClaimKey> = keys.into_iter().collect();
    let rows: Vec<(i64, String)> = ask(connection, &HOLDERS, &keys, |query, (kind, claim)| {
        query
            .bind(kind.as_str().to_owned())
            .bind(claim.name.to_string())
            .bind(claim.value.clone())
    })
    .await?;
    for (index, holder) in rows {
        let holder = text(&holder, AggregateId::parse)?;
        facts.holders.insert(asked(&keys, index)?.clone(), holder);
    }
    Ok(())
}

async fn look_up_receipts(
    connection: &mut SqliteConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), ReadError> {
    let keys: HashSet<ReceiptKey> = commits
        .iter()
        .filter_map(|commit| Some((commit.stream.clone(), commit.receipt.as_ref()?.key.clone())))
        .collect();
    let keys: Vec<ReceiptKey> = keys.into_iter().collect();
    let rows: Vec<ReceiptRow> = ask(connection, &RECEIPTS, &keys, |query, (stream, key)| {
        query
            .bind(stream.aggregate_type.as_str().to_owned())
            .bind(stream.aggregate_id.as_str().to_owned())
            .bind(key.as_str().to_owned())
    })
    .await?;
    for row in rows {
        let key = asked(&keys, row.0)?.clone();
        facts.receipts.insert(key, receipt_of(row)?);
    }
    Ok(())
}

static VERSIONS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, type, id) as (values ",
        "(?,?,?)",
        ") select n, coalesce((select max(version) from domain_events \
         where aggregate_type = wanted.type and aggregate_id = wanted.id), 0) from wanted",
    )
});

static STORED: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, id) as (values ",
        "(?,?)",
        ") select n, coalesce(e.position, 0) from wanted cross join domain_events e \
         on e.id = wanted.id",
    )
});

static HOLDERS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, type, claim, value) as (values ",
        "(?,?,?,?)",
        ") select n, c.aggregate_id from wanted cross join aggregate_claims c \
         on c.aggregate_type = wanted.type and c.claim = wanted.claim and c.value = wanted.value",
    )
});

static RECEIPTS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "with wanted (n, type, id, key) as (values ",
        "(?,?,?,?)",
        ") select n, r.id, r.command_hash, r.first_version, r.event_count, r.reply, \
         r.correlation_id from wanted cross join command_receipts r \
         on r.aggregate_type = wanted.type and r.aggregate_id = wanted.id \
         and r.idempotency_key = wanted.key",
    )
});

/// The statements of this module with two rows, for a test of their plans.
#[cfg(test)]
pub(super) fn statements() -> Vec<sqlx::AssertSqlSafe<std::sync::Arc<str>>> {
    let statements = [&VERSIONS, &STORED, &HOLDERS, &RECEIPTS];
    statements.iter().map(|statement| statement.of(2)).collect()
}
