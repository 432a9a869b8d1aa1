//! The reading side: a pool of connections, one statement for each read.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Error, PgPool, Postgres,
    postgres::{PgArguments, PgBindIterExt as _, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::timeout;

use super::{
    PostgresOptions, connect,
    errors::{is_broken, read_error},
    facts,
    lent::Lent,
    rows::{self, bigint, column, corrupt, number, parsed},
};
use crate::{
    domain::{
        AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position,
        StreamId, Version,
    },
    store::{
        AggregateHead, NotReady, ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest,
    },
};

const READ_STREAM: &str = include_str!("sql/read_stream.sql");
const READ_LOG: &str = include_str!("sql/read_log.sql");
const AGGREGATES: &str = include_str!("sql/aggregates.sql");
const RECOVER: &str = include_str!("sql/recover.sql");
/// Its columns are those of `read_log.sql`.
const EVENT: &str = "select id, event_type, schema_version, event_data::text, version, position, \
    occurred_at, created_by, correlation_id, causation_id, aggregate_type, aggregate_id \
    from domain_events where id = $1 and position is not null";
const CURRENT_VERSION: &str = "select version from domain_events \
    where aggregate_type = $1 and aggregate_id = $2 order by version desc limit 1";
/// As `aggregates.sql` counts them: by their first events, for which there is an index.
const COUNT_AGGREGATES: &str = "select count(*) from domain_events \
    where aggregate_type = $1 and version = 1 and position is not null";
const LAST_POSITION: &str = "select position from log_head order by position desc limit 1";
/// Its columns are those of `facts.sql`.
const RECEIPT: &str = "select null, null, first_version, null, id, command_hash, event_count, \
    reply::text, correlation_id from command_receipts \
    where aggregate_type = $1 and aggregate_id = $2 and idempotency_key = $3";
// The key's column comes first in the primary key.
const FORGET_RECEIPTS: &str = "with forgotten as (delete from command_receipts \
    where (idempotency_key, aggregate_id, aggregate_type) in \
    (select idempotency_key, aggregate_id, aggregate_type from command_receipts \
    where idempotency_key >= $1 and idempotency_key < $2 order by idempotency_key limit $3) \
    returning 1) select count(*) from forgotten";
const CLAIM_HOLDER: &str = "select aggregate_id from aggregate_claims \
    where aggregate_type = $1 and claim = $2 and value = $3";

pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The reading side of a store. Clones share the pool.
#[derive(Clone)]
pub(super) struct Readers {
    pool: PgPool,
    options: PgConnectOptions,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Readers {
    /// A pool of so many connections at most. Opens none yet.
    pub(super) fn new(
        connect_options: PgConnectOptions,
        connections: u32,
        options: &PostgresOptions,
        answer_timeout: Duration,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(options.connect_timeout)
            // A test would double the time of a read; a stale connection is replaced instead.
            .test_before_acquire(false)
            .connect_lazy_with(connect_options.clone());
        Self {
            pool,
            options: connect_options,
            connect_timeout: options.connect_timeout,
            answer_timeout,
        }
    }

    /// Runs a statement; where its connection turns out to be broken, once more on a new one.
    pub(super) async fn rows<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, Error> {
        let mut lent = Lent::of(self.pool.acquire().await?, self.answer_timeout);
        let mut found = self.answer(statement().fetch_all(lent.connection())).await;
        if found.as_ref().is_err_and(is_broken) {
            // In the broken one's place, so that the pool keeps its size and heals: after a
            // restart of the server its other idle connections are broken too.
            let fresh = timeout(self.connect_timeout, self.options.connect()).await;
            *lent.connection() = fresh.unwrap_or(Err(Error::PoolTimedOut))?;
            found = self.answer(statement().fetch_all(lent.connection())).await;
        }
        if found.is_ok() {
            lent.give_back();
        }
        found
    }

    /// The server ends every statement in time, but only a timeout here notices a dead network.
    async fn answer(
        &self,
        rows: impl Future<Output = Result<Vec<PgRow>, Error>>,
    ) -> Result<Vec<PgRow>, Error> {
        let rows = timeout(self.answer_timeout, rows).await;
        rows.unwrap_or(Err(Error::PoolTimedOut))
    }

    pub(super) async fn row<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<PgRow>, ReadError> {
        let rows = self.rows(statement).await.map_err(read_error)?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        // Versions begin at 1.
        let from = from.get().max(1);
        let found = self.rows(|| {
            sqlx::query(READ_STREAM)
                .bind(stream.aggregate_type.as_str())
                .bind(stream.aggregate_id.as_str())
                .bind(bigint(from))
                .bind(i64::from(limit))
        });
        let found = found.await.map_err(read_error)?;
        let events = found.iter().map(|row| rows::event(row, stream.clone()));
        events.collect()
    }

    pub(super) async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let found = self.row(|| {
            sqlx::query(CURRENT_VERSION)
                .bind(stream.aggregate_type.as_str())
                .bind(stream.aggregate_id.as_str())
        });
        match found.await? {
            Some(row) => number(&row, 0).map(Version::new),
            None => Ok(Version::ZERO),
        }
    }

    pub(super) async fn recover(
        &self,
        requests: &[RecoveryRequest],
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        // One statement however many there are: it is what makes them one view.
        let found = self.rows(|| recover_statement(requests, page));
        let found = found.await.map_err(read_error)?;
        recovered_from(&found, requests)
    }

    pub(super) async fn read_log(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let found = self.rows(|| {
            sqlx::query(READ_LOG)
                .bind(bigint(after.get()))
                .bind(i64::from(limit))
        });
        let found = found.await.map_err(read_error)?;
        let events = found.iter().map(|row| rows::event(row, rows::stream(row)?));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        rows::assert_positions(&events, after)?;
        Ok(events)
    }

    pub(super) async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        let row = self.row(|| sqlx::query(EVENT).bind(id.to_string())).await?;
        row.map(|row| rows::event(&row, rows::stream(&row)?))
            .transpose()
    }

    pub(super) async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        let found = self.rows(|| {
            sqlx::query(AGGREGATES)
                .bind(aggregate_type.as_str())
                .bind(after.map_or("", AggregateId::as_str))
                .bind(i64::from(limit))
        });
        let found = found.await.map_err(read_error)?;
        let heads = found.iter().map(|row| {
            Ok(AggregateHead {
                aggregate_id: parsed(row, 0, AggregateId::parse)?,
                version: Version::new(number(row, 1)?),
                updated_at: column(row, 2)?,
            })
        });
        heads.collect()
    }

    pub(super) async fn count_aggregates(
        &self,
        aggregate_type: &AggregateType,
    ) -> Result<u64, ReadError> {
        let counted = self.row(|| sqlx::query(COUNT_AGGREGATES).bind(aggregate_type.as_str()));
        let counted = counted.await?;
        counted.map_or(Ok(0), |row| number(&row, 0))
    }

    pub(super) async fn last_position(&self) -> Result<Position, ReadError> {
        let row = self.row(|| sqlx::query(LAST_POSITION)).await?;
        let row = row.ok_or_else(|| corrupt("the log's head has no row"))?;
        number(&row, 0).map(Position::new)
    }

    pub(super) async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        let found = self.row(|| {
            sqlx::query(RECEIPT)
                .bind(stream.aggregate_type.as_str())
                .bind(stream.aggregate_id.as_str())
                .bind(key.as_str())
        });
        found.await?.as_ref().map(facts::receipt).transpose()
    }

    pub(super) async fn forget_receipts(
        &self,
        before: &IdempotencyKey,
        limit: u32,
    ) -> Result<u64, ReadError> {
        let forgotten = self.row(|| {
            sqlx::query(FORGET_RECEIPTS)
                .bind(IdempotencyKey::RESERVED)
                .bind(before.as_str())
                .bind(i64::from(limit))
        });
        let row = forgotten.await?;
        let row = row.ok_or_else(|| corrupt("a count has no row"))?;
        number(&row, 0)
    }

    pub(super) async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        let found = self.row(|| {
            sqlx::query(CLAIM_HOLDER)
                .bind(aggregate_type.as_str())
                .bind(claim.name.as_ref())
                .bind(claim.value.as_str())
        });
        let row = found.await?;
        row.map(|row| parsed(&row, 0, AggregateId::parse))
            .transpose()
    }

    pub(super) async fn ready(&self) -> Result<(), NotReady> {
        connect::check(self.rows(|| sqlx::query(connect::APPLIED)).await)
    }

    pub(super) async fn close(&self) {
        // Only politeness towards the server is lost where this takes long.
        let _ = timeout(self.connect_timeout, self.pool.close()).await;
    }
}

fn recover_statement<'q>(requests: &[RecoveryRequest], page: u32) -> Statement<'q> {
    let streams = || requests.iter().map(|request| &request.stream);
    let fingerprints = requests
        .iter()
        .map(|request| request.fingerprint.as_ref().map(Fingerprint::as_str));
    sqlx::query(RECOVER)
        .bind(
            streams()
                .map(|stream| stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            streams()
                .map(|stream| stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .bind(fingerprints.bind_iter())
        .bind(
            requests
                .iter()
                .map(|request| bigint(request.after.get()))
                .bind_iter(),
        )
        .bind(i64::from(page))
}

fn recovered_from(
    found: &[PgRow],
    requests: &[RecoveryRequest],
) -> Result<Vec<Recovered>, ReadError> {
    let nothing = Recovered {
        snapshot: None,
        events: Vec::new(),
        is_cut: false,
    };
    let mut recovered = vec![nothing; requests.len()];
    for row in found {
        let place = usize::try_from(number(row, 10)?).unwrap_or(usize::MAX) - 1;
        let stream = requests[place].stream.clone();
        let created_at: Option<chrono::DateTime<chrono::Utc>> = column(row, 11)?;
        if created_at.is_some() {
            recovered[place].snapshot = Some(rows::snapshot(row, stream)?);
        } else {
            recovered[place].events.push(rows::event(row, stream)?);
        }
    }
    for recovered in &mut recovered {
        // They come in order, only no standard says so.
        recovered.events.sort_by_key(|event| event.version);
    }
    Ok(recovered)
}
