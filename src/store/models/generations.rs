//! Generations: each is one build of a read model from position 0, and one of them is served.

use std::time::Duration;

use super::{
    ModelError, ModelTx,
    ledger::{bigint, microseconds, position},
    sql::{on, timed},
};
use crate::domain::{EventId, Position};

/// One build of a read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The name of its projection.
    pub name: String,
    /// Its number, from 1; later builds have higher ones.
    pub number: i64,
    /// The version of the read model's shape.
    pub version: u32,
    /// Whether it is the one that readers see.
    pub serving: bool,
    /// Whether a later one took its place, so that it is to be dropped.
    pub retired: bool,
    /// Whether the append's own transaction keeps it, so that it is never behind.
    pub inline: bool,
    /// The event that cannot be applied, where there is one.
    pub stopped: Option<Stopped>,
}

impl Generation {
    /// The name of its checkpoint and of its lease.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.name, self.number)
    }
}

/// The name of a generation's checkpoint and of its lease.
pub(super) fn key(name: &str, number: i64) -> String {
    format!("{name}/{number}")
}

/// Where a projection stands still, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The position of the event that cannot be applied.
    pub position: Position,
    /// Its id.
    pub event_id: String,
    /// Why it cannot be applied.
    pub error: String,
}

/// An event that could not be applied and was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its position.
    pub position: Position,
    /// Its id.
    pub event_id: String,
    /// Why it could not be applied.
    pub error: String,
}

/// A generation's columns: name, generation, version, serving, retired, inline and what it
/// stopped at.
pub(super) type Row = (
    String,
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
);

const GENERATIONS: &str = "select g.name, g.generation, g.version, \
    cast(case when p.serving = g.generation then 1 else 0 end as bigint), \
    cast(case when g.generation < p.serving then 1 else 0 end as bigint), \
    g.inline, g.stopped_position, g.stopped_event, g.stopped_error \
    from projection_generations g join projections p on p.name = g.name \
    where $1 is null or g.name = $1 order by g.name, g.generation";

fn generation(row: Row) -> Generation {
    let (name, number, version, serving, retired, inline, at, event_id, error) = row;
    Generation {
        name,
        number,
        version: u32::try_from(version).unwrap_or(u32::MAX),
        serving: serving == 1,
        retired: retired == 1,
        inline: inline == 1,
        stopped: at.map(|at| Stopped {
            position: position(at),
            event_id: event_id.unwrap_or_default(),
            error: error.unwrap_or_default(),
        }),
    }
}

impl ModelTx<'_> {
    /// The generations of one projection or of all, the oldest first.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn generations(&mut self, name: Option<&str>) -> Result<Vec<Generation>, ModelError> {
        let rows: Vec<Row> = on!(self,
            tables => tables.ledger().generations(name),
            connection => {
                sqlx::query_as(GENERATIONS).bind(name).fetch_all(&mut **connection).await?
            },
        );
        Ok(rows.into_iter().map(generation).collect())
    }

    /// Makes a projection known. Until this transaction ends no generation of it can begin.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn lock_projection(&mut self, name: &str) -> Result<(), ModelError> {
        let statement = "insert into projections (name, serving, last_generation) \
            values ($1, null, 0) on conflict (name) do update \
            set last_generation = projections.last_generation";
        on!(self,
            tables => tables.ledger().know(name),
            connection => {
                sqlx::query(statement).bind(name).execute(&mut **connection).await?;
            },
        );
        Ok(())
    }

    /// Begins a generation of a projection that [`Self::lock_projection`] has locked.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn begin_generation(&mut self, name: &str, version: u32) -> Result<i64, ModelError> {
        let number = "update projections set last_generation = last_generation + 1 \
            where name = $1 returning last_generation";
        let insert = "insert into projection_generations (name, generation, version) \
            values ($1, $2, $3)";
        Ok(on!(self,
            tables => tables.ledger().begin_generation(name, version),
            connection => {
                let number: i64 =
                    sqlx::query_scalar(number).bind(name).fetch_one(&mut **connection).await?;
                sqlx::query(insert)
                    .bind(name)
                    .bind(number)
                    .bind(i64::from(version))
                    .execute(&mut **connection)
                    .await?;
                number
            },
        ))
    }

    /// Shows a generation to readers in the place of the one before it.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn serve_generation(&mut self, name: &str, number: i64) -> Result<(), ModelError> {
        let serve = "update projections set serving = $2 \
            where name = $1 and (serving is null or serving < $2)";
        let retire = timed!(
            self,
            "update projection_generations set retired_at = ",
            now,
            " where name = $1 and generation < $2 and retired_at is null"
        );
        on!(self,
            tables => tables.ledger().serve(name, number),
            connection => {
                for statement in [serve, retire] {
                    sqlx::query(statement)
                        .bind(name)
                        .bind(number)
                        .execute(&mut **connection)
                        .await?;
                }
            },
        );
        Ok(())
    }

    /// The generations of a projection that were replaced at least that long ago.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn retired_generations(
        &mut self,
        name: &str,
        for_at_least: Duration,
    ) -> Result<Vec<(i64, u32)>, ModelError> {
        let statement = timed!(
            self,
            "select generation, version from projection_generations \
             where name = $1 and retired_at <= ",
            ago,
            " order by generation"
        );
        let rows: Vec<(i64, i64)> = on!(self,
            tables => tables.ledger().retired(name, for_at_least),
            connection => {
                sqlx::query_as(statement)
                    .bind(name)
                    .bind(microseconds(for_at_least))
                    .fetch_all(&mut **connection)
                    .await?
            },
        );
        let retired = rows.into_iter();
        Ok(retired
            .map(|(number, version)| (number, u32::try_from(version).unwrap_or(u32::MAX)))
            .collect())
    }

    /// Forgets a generation, with its checkpoint, its lease and the events parked by it. False
    /// where somebody else has done so.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn forget_generation(&mut self, name: &str, number: i64) -> Result<bool, ModelError> {
        let forget = "delete from projection_generations where name = $1 and generation = $2";
        let parked = "delete from projection_parked_events where name = $1 and generation = $2";
        let checkpoint = "delete from projection_checkpoints where name = $1";
        let lease = "delete from leases where name = $1";
        let key = key(name, number);
        Ok(on!(self,
            tables => tables.ledger().forget(name, number),
            connection => {
                let forgotten = sqlx::query(forget)
                    .bind(name)
                    .bind(number)
                    .execute(&mut **connection)
                    .await?;
                sqlx::query(parked).bind(name).bind(number).execute(&mut **connection).await?;
                for statement in [checkpoint, lease] {
                    sqlx::query(statement).bind(&key).execute(&mut **connection).await?;
                }
                forgotten.rows_affected() == 1
            },
        ))
    }

    /// Notes that the append's own transaction keeps a generation from here on, or does not any more.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn set_inline(
        &mut self,
        name: &str,
        number: i64,
        inline: bool,
    ) -> Result<(), ModelError> {
        let statement = "update projection_generations set inline = $3 \
            where name = $1 and generation = $2";
        on!(self,
            tables => tables.ledger().set_inline(name, number, inline),
            connection => {
                sqlx::query(statement)
                    .bind(name)
                    .bind(number)
                    .bind(i64::from(inline))
                    .execute(&mut **connection)
                    .await?;
            },
        );
        Ok(())
    }

    /// Notes what a generation stopped at, or that it may go on.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn set_stopped(
        &mut self,
        name: &str,
        number: i64,
        stopped: Option<&Stopped>,
    ) -> Result<(), ModelError> {
        let statement = "update projection_generations \
            set stopped_position = $3, stopped_event = $4, stopped_error = $5 \
            where name = $1 and generation = $2";
        on!(self,
            tables => tables.ledger().set_stopped(name, number, stopped),
            connection => {
                sqlx::query(statement)
                    .bind(name)
                    .bind(number)
                    .bind(stopped.map(|stopped| bigint(stopped.position.get())))
                    .bind(stopped.map(|stopped| stopped.event_id.as_str()))
                    .bind(stopped.map(|stopped| stopped.error.as_str()))
                    .execute(&mut **connection)
                    .await?;
            },
        );
        Ok(())
    }

    /// Puts an event aside that a generation cannot apply.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn park(
        &mut self,
        name: &str,
        number: i64,
        position: Position,
        event_id: EventId,
        error: &str,
    ) -> Result<(), ModelError> {
        let statement = timed!(
            self,
            "insert into projection_parked_events \
             (name, generation, position, event_id, error, parked_at) \
             values ($1, $2, $3, $4, $5, ",
            now,
            ")"
        );
        on!(self,
            tables => {
                let event_id = event_id.to_string();
                let error = error.to_owned();
                tables.ledger().park(name, number, ParkedEvent { position, event_id, error });
            },
            connection => {
                sqlx::query(statement)
                    .bind(name)
                    .bind(number)
                    .bind(bigint(position.get()))
                    .bind(event_id.to_string())
                    .bind(error)
                    .execute(&mut **connection)
                    .await?;
            },
        );
        Ok(())
    }

    /// The first events that a generation put aside, and how many there are.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn parked(
        &mut self,
        name: &str,
        number: i64,
        limit: u32,
    ) -> Result<(u64, Vec<ParkedEvent>), ModelError> {
        let count = "select count(*) from projection_parked_events \
            where name = $1 and generation = $2";
        let first = "select position, event_id, error from projection_parked_events \
            where name = $1 and generation = $2 order by position limit $3";
        let (count, rows): (i64, Vec<(i64, String, String)>) = on!(self,
            tables => tables.ledger().parked(name, number, limit),
            connection => {
                let count = sqlx::query_scalar(count)
                    .bind(name)
                    .bind(number)
                    .fetch_one(&mut **connection)
                    .await?;
                let rows = sqlx::query_as(first)
                    .bind(name)
                    .bind(number)
                    .bind(i64::from(limit))
                    .fetch_all(&mut **connection)
                    .await?;
                (count, rows)
            },
        );
        let parked = rows.into_iter().map(|(at, event_id, error)| ParkedEvent {
            position: position(at),
            event_id,
            error,
        });
        Ok((u64::try_from(count).unwrap_or_default(), parked.collect()))
    }
}
