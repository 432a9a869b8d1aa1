//! A connection of a pool, lent for one piece of work.
//!
//! sqlx asks a connection that comes back to its pool whether it lives, without a limit, and takes
//! five seconds to say goodbye to one that is to be closed. Where a network swallows the answer, the
//! connection's place in the pool is gone for as long. So what is left in the middle of something
//! is dropped at once, and what comes back gets a limited time to do so.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tokio::time::timeout;

/// A connection that works for somebody. Dropped, it is closed at once, and its place is free.
#[derive(Debug)]
pub(super) struct Lent {
    connection: Option<PoolConnection<Postgres>>,
    limit: Duration,
}

impl Lent {
    /// A connection that gets this much time to come back.
    pub(super) const fn of(connection: PoolConnection<Postgres>, limit: Duration) -> Self {
        Self {
            connection: Some(connection),
            limit,
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "only giving back takes it, and consumes all"
    )]
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it was not given back")
    }

    /// Its work is done to the end, and it may serve again.
    pub(super) fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            let back = connection.return_to_pool();
            let limit = self.limit;
            tokio::spawn(async move {
                // Out of time it is dropped.
                let _ = timeout(limit, back).await;
            });
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
