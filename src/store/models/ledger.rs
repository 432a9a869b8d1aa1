//! Leases with epochs, and the checkpoints that only a lease's holder can move.

use std::time::Duration;

use super::{
    ModelError, ModelTx,
    sql::{on, timed},
};
use crate::domain::Position;

/// How often a lease has changed hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(i64);

impl Epoch {
    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder's name.
    pub holder: String,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// Whether it has not expired, by the database's clock.
    pub held: bool,
}

/// A duration as databases count it.
pub(super) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn position(number: i64) -> Position {
    Position::new(u64::try_from(number).unwrap_or_default())
}

impl ModelTx<'_> {
    /// Takes a lease that nobody holds, for a time; nothing where somebody holds it.
    ///
    /// One that would be held for more than twice that time was given while the database's clock was
    /// ahead, and is taken: its holder, if it still works, is fenced by its epoch.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn acquire_lease(
        &mut self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Epoch>, ModelError> {
        let statement = timed!(
            self,
            "insert into leases (name, holder, epoch, expires_at) values ($1, $2, 1, ",
            later,
            ") on conflict (name) do update set holder = excluded.holder, \
             epoch = leases.epoch + 1, expires_at = excluded.expires_at \
             where leases.expires_at <= ",
            now,
            " or leases.expires_at > ",
            much_later,
            " returning epoch"
        );
        let epoch: Option<i64> = on!(self,
            tables => tables.ledger().acquire(name, holder, time),
            connection => {
                sqlx::query_scalar(statement)
                    .bind(name)
                    .bind(holder)
                    .bind(microseconds(time))
                    .fetch_optional(&mut **connection)
                    .await?
            },
        );
        Ok(epoch.map(Epoch))
    }

    /// Holds a lease for another while; false where it was lost.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn renew_lease(
        &mut self,
        name: &str,
        epoch: Epoch,
        time: Duration,
    ) -> Result<bool, ModelError> {
        let statement = timed!(
            self,
            "update leases set expires_at = ",
            later,
            " where name = $1 and epoch = $2 and expires_at > ",
            now
        );
        Ok(on!(self,
            tables => tables.ledger().renew(name, epoch.0, time),
            connection => {
                let done = sqlx::query(statement)
                    .bind(name)
                    .bind(epoch.0)
                    .bind(microseconds(time))
                    .execute(&mut **connection)
                    .await?;
                done.rows_affected() == 1
            },
        ))
    }

    /// Gives a lease up at once, so that nobody has to wait until it expires.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn release_lease(&mut self, name: &str, epoch: Epoch) -> Result<(), ModelError> {
        let statement = timed!(
            self,
            "update leases set expires_at = ",
            now,
            " where name = $1 and epoch = $2"
        );
        on!(self,
            tables => tables.ledger().release(name, epoch.0),
            connection => {
                sqlx::query(statement)
                    .bind(name)
                    .bind(epoch.0)
                    .execute(&mut **connection)
                    .await?;
            },
        );
        Ok(())
    }

    /// Forgets a lease, so that its holder can write nothing more.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn revoke_lease(&mut self, name: &str) -> Result<(), ModelError> {
        on!(self,
            tables => tables.ledger().revoke(name),
            connection => {
                sqlx::query("delete from leases where name = $1")
                    .bind(name)
                    .execute(&mut **connection)
                    .await?;
            },
        );
        Ok(())
    }

    /// Who holds a lease, or held it last.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn lease(&mut self, name: &str) -> Result<Option<Lease>, ModelError> {
        let statement = timed!(
            self,
            "select holder, epoch, case when expires_at > ",
            now,
            " then 1 else 0 end from leases where name = $1"
        );
        let found: Option<(String, i64, i32)> = on!(self,
            tables => tables.ledger().lease(name),
            connection => {
                sqlx::query_as(statement).bind(name).fetch_optional(&mut **connection).await?
            },
        );
        Ok(found.map(|(holder, epoch, held)| Lease {
            holder,
            epoch: Epoch(epoch),
            held: held == 1,
        }))
    }

    /// The position up to which a read model is complete; nothing where it was never begun.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn checkpoint(&mut self, name: &str) -> Result<Option<Position>, ModelError> {
        let statement = "select position from projection_checkpoints where name = $1";
        let found: Option<i64> = on!(self,
            tables => tables.ledger().checkpoint(name),
            connection => {
                sqlx::query_scalar(statement).bind(name).fetch_optional(&mut **connection).await?
            },
        );
        Ok(found.map(position))
    }

    /// The same, and nobody can move it until this transaction ends.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn lock_checkpoint(&mut self, name: &str) -> Result<Option<Position>, ModelError> {
        let statement = timed!(
            self,
            "select position from projection_checkpoints where name = $1",
            for_update
        );
        let found: Option<i64> = on!(self,
            tables => tables.ledger().checkpoint(name),
            connection => {
                sqlx::query_scalar(statement).bind(name).fetch_optional(&mut **connection).await?
            },
        );
        Ok(found.map(position))
    }

    /// Begins a checkpoint at position 0; false where there is one.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn begin_checkpoint(&mut self, name: &str) -> Result<bool, ModelError> {
        let statement = timed!(
            self,
            "insert into projection_checkpoints (name, position, epoch, updated_at) \
             values ($1, 0, 0, ",
            now,
            ") on conflict (name) do nothing"
        );
        Ok(on!(self,
            tables => tables.ledger().begin_checkpoint(name),
            connection => {
                let done = sqlx::query(statement).bind(name).execute(&mut **connection).await?;
                done.rows_affected() == 1
            },
        ))
    }

    /// Keeps every append waiting until this transaction ends.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn lock_log(&mut self) -> Result<(), ModelError> {
        match self {
            // A transaction that writes is the only one there.
            Self::Memory(_) | Self::Sqlite(_) => {}
            Self::Postgres(connection) => {
                let lock =
                    "select position from log_head order by position desc limit 1 for update";
                sqlx::query(lock).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// Moves a checkpoint in the transaction of an append, which needs no lease: no other append
    /// comes in between, and who holds the lease compares the position. False where it is elsewhere.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn advance_checkpoint(
        &mut self,
        name: &str,
        from: Position,
        to: Position,
    ) -> Result<bool, ModelError> {
        let statement = timed!(
            self,
            "update projection_checkpoints set position = $3, updated_at = ",
            now,
            " where name = $1 and position = $2"
        );
        Ok(on!(self,
            tables => tables.ledger().advance(name, bigint(from.get()), bigint(to.get())),
            connection => {
                let done = sqlx::query(statement)
                    .bind(name)
                    .bind(bigint(from.get()))
                    .bind(bigint(to.get()))
                    .execute(&mut **connection)
                    .await?;
                done.rows_affected() == 1
            },
        ))
    }

    /// Moves a checkpoint from one position to another. False where it is elsewhere, or where the
    /// lease of that name is not held any more under this epoch: then the whole transaction must
    /// be undone. Until it ends nobody else can take the lease.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn move_checkpoint(
        &mut self,
        name: &str,
        from: Position,
        to: Position,
        epoch: Epoch,
    ) -> Result<bool, ModelError> {
        let statement = timed!(
            self,
            "with held as (select epoch from leases \
             where name = $1 and epoch = $4 and expires_at > ",
            now,
            for_share,
            ") update projection_checkpoints set position = $3, epoch = $4, updated_at = ",
            now,
            " where name = $1 and position = $2 and epoch <= $4 and exists (select 1 from held)"
        );
        Ok(on!(self,
            tables => tables.ledger().move_checkpoint(name, bigint(from.get()), bigint(to.get()), epoch.0),
            connection => {
                let done = sqlx::query(statement)
                    .bind(name)
                    .bind(bigint(from.get()))
                    .bind(bigint(to.get()))
                    .bind(epoch.0)
                    .execute(&mut **connection)
                    .await?;
                done.rows_affected() == 1
            },
        ))
    }
}
