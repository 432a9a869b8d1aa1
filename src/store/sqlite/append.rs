//! Appending a batch: one transaction a round.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use sqlx::sqlite::SqliteArguments;

use super::{
    Shared,
    errors::{append_error, commit_error, insert_error},
    event_inserts::{insert, insert_and_commit, numbered_events},
    rows::{MAX_ROWS, RowStatements, integer},
    state::{Look, write_rows},
    writer::WriteConnection,
};
use crate::{
    domain::{Claim, Position, StreamId, Version},
    store::{
        AppendError, Commit, NewReceipt, Verdict, VersionedBy,
        admission::{Facts, receipt_of},
        models::ModelTx,
        rounds::{AppendConnection, InsertError, append_in_rounds, recorded},
    },
};

pub(super) async fn append(
    shared: Arc<Shared>,
    batch: Arc<[Commit]>,
) -> Result<Vec<Verdict>, AppendError> {
    let mut writer = shared.writer.lock().await;
    let mut connection = writer.take().await.map_err(append_error)?;
    connection.hook = shared.hook.get();
    let commits: Vec<&Commit> = batch.iter().collect();
    let verdicts = append_in_rounds(&mut connection, &commits).await;
    writer.put_back(connection);
    drop(writer);
    if let Ok(verdicts) = &verdicts {
        shared.hints.tell_of(&batch, verdicts);
    }
    verdicts
}

impl AppendConnection for WriteConnection {
    async fn insert(&mut self, commits: &[&Commit]) -> Result<Position, InsertError> {
        let mut look = self.look();
        loop {
            let written = self.write(commits, look).await;
            if let Ok(Some(first)) = written {
                return Ok(first);
            }
            self.rollback().await;
            written?;
            if look == Look::First {
                return Err(InsertError::Conflict);
            }
            self.in_doubt();
            look = Look::First;
        }
    }

    async fn facts(&mut self, commits: &[&Commit]) -> Result<Facts, AppendError> {
        self.begin_read().await.map_err(append_error)?;
        let facts = super::facts::look_up(&mut self.inner, commits).await;
        // It has written nothing, so undoing it is as good as committing it.
        self.rollback().await;
        facts.map_err(|error| AppendError::Unavailable(error.into()))
    }
}

/// Each statement that is sent costs two switches between threads, more than it costs SQLite to
/// run it: so the first begins the transaction and looks at the log and the streams, and the last
/// adds events and commits.
impl WriteConnection {
    /// Gives the position of the first event; none where rows may be others and have to be looked at
    /// first.
    async fn write(
        &mut self,
        commits: &[&Commit],
        look: Look,
    ) -> Result<Option<Position>, InsertError> {
        let last = self.begin_at(commits).await?;
        if !write_rows(&mut self.inner, commits, look).await? {
            return Ok(None);
        }
        self.free_claims(commits).await?;
        self.take_claims(commits).await?;
        self.insert_receipts(commits).await?;
        let first = last.next();
        let mut events = numbered_events(commits, first);
        // What a hook does comes between the events and the commit.
        let hook = self.hook.clone().filter(|_| !events.is_empty());
        let last_chunk = if hook.is_some() { 0 } else { MAX_ROWS };
        let rest = events.split_off(events.len().saturating_sub(last_chunk));
        for chunk in events.chunks(MAX_ROWS) {
            let inserted = insert(chunk).execute(&mut self.inner).await;
            inserted.map_err(insert_error)?;
        }
        if let Some(hook) = hook {
            let tx = ModelTx::Sqlite(&mut self.inner);
            hook.appended(&recorded(commits, first), tx).await?;
        }
        let committed = if rest.is_empty() {
            sqlx::query("commit").execute(&mut self.inner).await
        } else {
            insert_and_commit(&rest).execute(&mut self.inner).await
        };
        committed.map_err(commit_error)?;
        self.committed();
        Ok(Some(first))
    }

    /// Begins the transaction, checks that every stream is where it is expected, and gives the
    /// log's last position: it holds the write lock, so nobody else can take the next.
    async fn begin_at(&mut self, commits: &[&Commit]) -> Result<Position, InsertError> {
        let heads = heads_to_check(commits);
        let mut chunks = heads.chunks(MAX_ROWS);
        let begun = match chunks.next() {
            None => sqlx::query_scalar(BEGIN).fetch_all(&mut self.inner).await,
            Some(chunk) => {
                let query = sqlx::query_scalar(BEGIN_WITH_HEADS.of(chunk.len()));
                bound_heads(query, chunk).fetch_all(&mut self.inner).await
            }
        };
        let found: Vec<i64> = self.begun(begun).map_err(insert_error)?;
        let mut elsewhere: i64 = found.iter().skip(1).sum();
        for chunk in chunks {
            let query = sqlx::query_scalar(HEADS_ELSEWHERE.of(chunk.len()));
            let more = bound_heads(query, chunk).fetch_one(&mut self.inner).await;
            elsewhere += more.map_err(insert_error)?;
        }
        if elsewhere > 0 {
            return Err(InsertError::Conflict);
        }
        let last = found.first().copied().unwrap_or_default();
        Ok(Position::new(u64::try_from(last).unwrap_or_default()))
    }

    async fn free_claims(&mut self, commits: &[&Commit]) -> Result<(), InsertError> {
        let freed = claims(commits, |commit| &commit.frees);
        for chunk in freed.chunks(MAX_ROWS) {
            self.run_on_claims(&FREE_CLAIMS, chunk).await?;
        }
        Ok(())
    }

    async fn take_claims(&mut self, commits: &[&Commit]) -> Result<(), InsertError> {
        let taken = claims(commits, |commit| &commit.takes);
        for chunk in taken.chunks(MAX_ROWS) {
            let held = self.run_on_claims(&TAKE_CLAIMS, chunk).await?;
            if held != chunk.len() as u64 {
                return Err(InsertError::Conflict);
            }
        }
        Ok(())
    }

    async fn run_on_claims(
        &mut self,
        statements: &RowStatements,
        chunk: &[(&Commit, &Claim)],
    ) -> Result<u64, InsertError> {
        let mut query = sqlx::query(statements.of(chunk.len()));
        for (commit, claim) in chunk {
            query = query
                .bind(commit.stream.aggregate_type.as_str())
                .bind(&*claim.name)
                .bind(claim.value.as_str())
                .bind(commit.stream.aggregate_id.as_str());
        }
        let done = query.execute(&mut self.inner).await;
        Ok(done.map_err(insert_error)?.rows_affected())
    }

    async fn insert_receipts(&mut self, commits: &[&Commit]) -> Result<(), InsertError> {
        let receipts: Vec<(&Commit, &NewReceipt)> = commits
            .iter()
            .filter_map(|commit| Some((*commit, commit.receipt.as_ref()?)))
            .collect();
        for chunk in receipts.chunks(MAX_ROWS) {
            let mut query = sqlx::query(INSERT_RECEIPTS.of(chunk.len()));
            for (commit, receipt) in chunk {
                let read_as = receipt_of(commit, receipt);
                query = query
                    .bind(commit.stream.aggregate_type.as_str())
                    .bind(commit.stream.aggregate_id.as_str())
                    .bind(receipt.key.as_str())
                    .bind(receipt.id.to_string())
                    .bind(&receipt.command_hash[..])
                    .bind(integer(read_as.first_version.get()))
                    .bind(i64::from(read_as.event_count))
                    .bind(commit.correlation_id.to_string())
                    .bind(commit.occurred_at.timestamp_micros())
                    .bind(receipt.reply.as_ref().map(|reply| reply.get()));
            }
            query.execute(&mut self.inner).await.map_err(insert_error)?;
        }
        Ok(())
    }
}

/// The last position, then nothing or the number of streams that are elsewhere.
const BEGIN: &str = "begin immediate; select coalesce(max(position), 0) from domain_events";

const HEADS: &str = "with head (type, id, expected) as (values ";
const HEAD: &str = "(?,?,?)";
const ELSEWHERE: &str = ") select count(*) from head where expected <> coalesce((select \
    max(version) from domain_events where aggregate_type = head.type and aggregate_id = head.id), 0)";

static BEGIN_WITH_HEADS: LazyLock<RowStatements> =
    LazyLock::new(|| RowStatements::new(&format!("{BEGIN}; {HEADS}"), HEAD, ELSEWHERE));

static HEADS_ELSEWHERE: LazyLock<RowStatements> =
    LazyLock::new(|| RowStatements::new(HEADS, HEAD, ELSEWHERE));

type HeadsQuery<'q> = sqlx::query::QueryScalar<'q, sqlx::Sqlite, i64, SqliteArguments>;

fn bound_heads<'q>(query: HeadsQuery<'q>, heads: &[(&'q StreamId, Version)]) -> HeadsQuery<'q> {
    heads.iter().fold(query, |query, (stream, expected)| {
        query
            .bind(stream.aggregate_type.as_str())
            .bind(stream.aggregate_id.as_str())
            .bind(integer(expected.get()))
    })
}

// `or fail` as in `event_inserts`.
static FREE_CLAIMS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "delete from aggregate_claims where (aggregate_type, claim, value, aggregate_id) \
         in (values ",
        "(?,?,?,?)",
        ")",
    )
});

// A claim that the aggregate holds already counts as taken; one that another holds does not.
static TAKE_CLAIMS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "insert or fail into aggregate_claims (aggregate_type, claim, value, aggregate_id) values ",
        "(?,?,?,?)",
        " on conflict (aggregate_type, claim, value) do update \
         set aggregate_id = excluded.aggregate_id where aggregate_id = excluded.aggregate_id",
    )
});

static INSERT_RECEIPTS: LazyLock<RowStatements> = LazyLock::new(|| {
    RowStatements::new(
        "insert or fail into command_receipts (aggregate_type, aggregate_id, idempotency_key, id, \
         command_hash, first_version, event_count, correlation_id, created_at, reply) values ",
        "(?,?,?,?,?,?,?,?,?,?)",
        "",
    )
});

/// The streams whose version must be looked at, with the one expected.
///
/// A stream that gets its first event needs no look: were it there, the unique index on
/// versions would object.
fn heads_to_check<'a>(commits: &[&'a Commit]) -> Vec<(&'a StreamId, Version)> {
    let mut seen = HashSet::with_capacity(commits.len());
    let heads = commits.iter().filter(|commit| {
        let first_event = commit.expected == Version::ZERO && !commit.events.is_empty();
        // A track is looked at with its row.
        let in_log = commit.versioned_by() == VersionedBy::Log;
        in_log && seen.insert(&commit.stream) && !first_event
    });
    heads
        .map(|commit| (&commit.stream, commit.expected))
        .collect()
}

fn claims<'a>(
    commits: &[&'a Commit],
    of: impl Fn(&'a Commit) -> &'a Vec<Claim>,
) -> Vec<(&'a Commit, &'a Claim)> {
    let claims = commits
        .iter()
        .flat_map(|commit| of(commit).iter().map(|claim| (*commit, claim)));
    claims.collect()
}

/// The statements of this module with two rows, for a test of their plans.
#[cfg(test)]
pub(super) fn statements() -> Vec<sqlx::AssertSqlSafe<Arc<str>>> {
    let statements = [&HEADS_ELSEWHERE, &FREE_CLAIMS, &TAKE_CLAIMS];
    statements.iter().map(|statement| statement.of(2)).collect()
}
