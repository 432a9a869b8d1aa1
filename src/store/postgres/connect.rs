//! How connections are opened, and what the schema has to be.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, Error,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgConnection, PgRow},
};
use tokio::time::timeout;

use super::{
    PostgresOptions,
    errors::{OpenError, is_undefined_table},
};
use crate::store::NotReady;

/// The schema, built into the program.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const FUNCTIONS: &str = include_str!("../../../migrations/optional/postgres/record_event.sql");

pub(super) const APPLIED: &str =
    "select version, checksum, success from _sqlx_migrations order by version";

/// How long a server waits for another that migrates the same database.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// The options of every connection that serves the log.
pub(super) fn serving(url: &str, options: &PostgresOptions) -> Result<PgConnectOptions, OpenError> {
    Ok(modelling(url, options)?.options([
        // Every statement here is a few index descents, whatever is bound. Planned anew for
        // each batch it would cost more than it does; and planned once, perhaps while the
        // tables were empty, it must not choose what is only good for empty tables.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        // Where a table is small, or was when it was looked at last, a hash of all of it is as
        // cheap as a descent for each row, and so is another index whose finds are sorted. That
        // plan is then kept while the table grows.
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("enable_sort", "off".to_owned()),
        // Compiling a plan takes longer than running one of these.
        ("jit", "off".to_owned()),
    ]))
}

/// The options of a connection for read models: limits, and nothing that would tell the server how
/// to plan statements on tables that are not ours.
pub(super) fn modelling(
    url: &str,
    options: &PostgresOptions,
) -> Result<PgConnectOptions, OpenError> {
    // Zero would mean no limit.
    let limit = options.statement_timeout.as_millis().max(1);
    Ok(parse(url)?.options([
        ("statement_timeout", limit.to_string()),
        // Half, so that it is known which of the two it was.
        ("lock_timeout", (limit / 2).max(1).to_string()),
        ("idle_in_transaction_session_timeout", limit.to_string()),
        (
            "default_transaction_read_only",
            if options.read_only { "on" } else { "off" }.to_owned(),
        ),
        // The append's argument about what a waiting statement sees is one about this level.
        ("default_transaction_isolation", "read committed".to_owned()),
    ]))
}

/// The options of the connections that answer questions to the log. Such a question has many forms
/// in one statement, so it is planned anew each time, for what is asked and nothing else.
pub(super) fn querying(serving: &PgConnectOptions) -> PgConnectOptions {
    serving.clone().options([
        ("plan_cache_mode", "force_custom_plan"),
        ("enable_bitmapscan", "on"),
        ("enable_hashjoin", "on"),
        ("enable_mergejoin", "on"),
        ("enable_sort", "on"),
        // Starting a worker takes longer than an answer: measured, 40 of 45 ms.
        ("max_parallel_workers_per_gather", "0"),
    ])
}

/// The options of the connection that appends, which waits for a lock no longer than this.
pub(super) fn waiting(serving: &PgConnectOptions, wait: Duration) -> PgConnectOptions {
    let wait = wait.as_millis().max(1);
    serving
        .clone()
        .options([("lock_timeout", wait.to_string())])
}

pub(super) fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    // The parser takes any scheme.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OpenError::Url(
            "it does not begin with `postgres://`".into(),
        ));
    }
    let options: PgConnectOptions = url
        .parse()
        .map_err(|error: Error| OpenError::Url(error.into()))?;
    Ok(options
        .application_name("dormouse")
        .disable_statement_logging())
}

/// Brings the schema to this program's; several servers may try at once.
pub(super) async fn migrate(url: &str, options: &PostgresOptions) -> Result<(), OpenError> {
    // A migration may take as long as it takes, but does not wait for ever to begin.
    let lock_timeout = MIGRATION_LOCK_TIMEOUT.as_millis();
    let options_of_migration = parse(url)?.options([
        ("statement_timeout", "0".to_owned()),
        ("lock_timeout", lock_timeout.to_string()),
        // That a table of migrations is there already is no news.
        ("client_min_messages", "warning".to_owned()),
    ]);
    let mut connection = connected(&options_of_migration, options).await?;
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    // Closed whatever became of it: that also gives up the lock.
    let _ = timeout(options.connect_timeout, connection.close()).await;
    match migrated {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => Err(OpenError::NotMigrated(newer(version))),
        Err(error) => Err(OpenError::Migration(error.into())),
    }
}

/// Connects once: where the database cannot be reached, this tells why, and a pool only that it waited.
pub(super) async fn reach(url: &str, options: &PostgresOptions) -> Result<(), OpenError> {
    let connection = connected(&parse(url)?, options).await?;
    let _ = timeout(options.connect_timeout, connection.close()).await;
    Ok(())
}

async fn connected(
    to: &PgConnectOptions,
    options: &PostgresOptions,
) -> Result<PgConnection, OpenError> {
    let connecting = timeout(options.connect_timeout, to.connect()).await;
    connecting
        .map_err(|late| OpenError::Unreachable(late.into()))?
        .map_err(|error| OpenError::Unreachable(error.into()))
}

/// Adds the optional functions; each statement replaces what is there.
pub(super) async fn add_functions(url: &str, options: &PostgresOptions) -> Result<(), OpenError> {
    let connecting = timeout(options.connect_timeout, parse(url)?.connect()).await;
    let mut connection = connecting
        .map_err(|late| OpenError::Unreachable(late.into()))?
        .map_err(|error| OpenError::Unreachable(error.into()))?;
    let added = sqlx::raw_sql(FUNCTIONS).execute(&mut connection).await;
    // Closed whatever became of it.
    let _ = timeout(options.connect_timeout, connection.close()).await;
    added.map_err(|error| OpenError::Migration(error.into()))?;
    Ok(())
}

/// Whether exactly this program's migrations are applied.
pub(super) fn check(applied: Result<Vec<PgRow>, Error>) -> Result<(), NotReady> {
    let rows = match applied {
        Ok(rows) => rows,
        Err(error) if is_undefined_table(&error) => Vec::new(),
        Err(error) => return Err(NotReady::Unreachable(error.into())),
    };
    let mut missing: Vec<&_> = MIGRATIONS.iter().collect();
    for row in rows {
        let (version, checksum, complete) =
            applied_migration(&row).map_err(|error| NotReady::Unreachable(error.into()))?;
        let Some(index) = missing.iter().position(|known| known.version == version) else {
            return Err(NotReady::NotMigrated(newer(version)));
        };
        if missing.remove(index).checksum != checksum || !complete {
            return Err(NotReady::NotMigrated(format!(
                "migration {version} is not applied as this program knows it; restore the \
                 database, or run the program that migrated it"
            )));
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(NotReady::NotMigrated(format!(
            "migration {} is not applied; run `dormouse migrate`",
            first.version
        ))),
    }
}

fn applied_migration(row: &PgRow) -> Result<(i64, Vec<u8>, bool), Error> {
    use sqlx::Row as _;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn newer(version: i64) -> String {
    format!("migration {version} is of a newer program; run that one")
}
