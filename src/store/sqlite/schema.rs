//! The migrations of this program, and how a database differs from them.

use std::fmt;

use sqlx::{
    SqliteConnection,
    migrate::{Migrate as _, MigrateError, Migrator},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Where sqlx notes what is applied.
const TABLE: &str = "_sqlx_migrations";

/// How often a migration is begun: another process may migrate at the same time, and wins.
const MAX_ATTEMPTS: usize = 100;

/// How a database's schema differs from this program's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// A migration of this program is not applied.
    Missing(i64),
    /// A migration is applied that this program does not know.
    Unknown(i64),
    /// A migration was applied with another text.
    Changed(i64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(version) => write!(
                f,
                "migration {version} is not applied; run `dormouse migrate`"
            ),
            Self::Unknown(version) => write!(
                f,
                "migration {version} is applied, which this program does not know: it is too old"
            ),
            Self::Changed(version) => write!(
                f,
                "migration {version} was applied with another text than this program's"
            ),
        }
    }
}

/// The first difference between a database's schema and this program's.
pub(super) async fn difference(
    connection: &mut SqliteConnection,
) -> Result<Option<Difference>, sqlx::Error> {
    let applied = applied(connection).await?;
    let unknown = applied
        .iter()
        .find(|(version, _)| !MIGRATIONS.version_exists(*version));
    if let Some((version, _)) = unknown {
        return Ok(Some(Difference::Unknown(*version)));
    }
    for migration in MIGRATIONS.iter() {
        let found = applied
            .iter()
            .find(|(version, _)| *version == migration.version);
        match found {
            None => return Ok(Some(Difference::Missing(migration.version))),
            Some((_, checksum)) if *checksum != *migration.checksum => {
                return Ok(Some(Difference::Changed(migration.version)));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let tables =
        "select count(*) from sqlite_schema where type = 'table' and name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(tables)
        .fetch_one(&mut *connection)
        .await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let migrations =
        "select version, checksum from _sqlx_migrations where success order by version";
    sqlx::query_as(migrations).fetch_all(&mut *connection).await
}

/// Applies the migrations that are missing; gives the difference that remains, if one does.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
) -> Result<Option<Difference>, MigrateError> {
    let mut attempts = 0;
    loop {
        let missing = match difference(connection).await? {
            Some(Difference::Missing(version)) => version,
            remaining => return Ok(remaining),
        };
        attempts += 1;
        match apply(connection, missing).await {
            // SQLite has no lock for migrations: whoever comes second finds the tables there,
            // and looks again.
            Err(error) if attempts >= MAX_ATTEMPTS => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
}

async fn apply(connection: &mut SqliteConnection, version: i64) -> Result<(), MigrateError> {
    connection.ensure_migrations_table(TABLE).await?;
    for migration in MIGRATIONS.iter().filter(|one| one.version == version) {
        connection.apply(TABLE, migration).await?;
    }
    Ok(())
}
