//! The application role: what a server may do in a database that another role owns.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;

use super::{PostgresOptions, connect, errors::OpenError};

/// What the application role may do with each table, and nothing else. Events are added and never
/// changed: what may be updated is the position of one that another program wrote. A key is
/// neither made nor taken back by a server.
const GRANTS: &[(&str, &str)] = &[
    ("domain_events", "select, insert, update (position)"),
    ("aggregate_snapshots", "select, insert, update, delete"),
    ("aggregate_rows", "select, insert, update, delete"),
    ("command_receipts", "select, insert, delete"),
    ("aggregate_claims", "select, insert, delete"),
    ("log_head", "select, update"),
    ("projection_checkpoints", "select, insert, update, delete"),
    ("leases", "select, insert, update, delete"),
    ("projections", "select, insert, update, delete"),
    ("projection_generations", "select, insert, update, delete"),
    ("projection_parked_events", "select, insert, update, delete"),
    ("api_keys", "select, update (last_used_at)"),
    ("_sqlx_migrations", "select"),
];

const IS_ROLE: &str = "select exists (select from pg_roles where rolname = $1)";

/// Lets a role serve the log, and no more. It must be there; what it was granted before stays.
pub(super) async fn grant(
    url: &str,
    options: &PostgresOptions,
    role: &str,
) -> Result<(), OpenError> {
    let connecting = timeout(options.connect_timeout, connect::parse(url)?.connect()).await;
    let mut connection = connecting
        .map_err(|late| OpenError::Unreachable(late.into()))?
        .map_err(|error| OpenError::Unreachable(error.into()))?;
    let granted = grant_all(&mut connection, role).await;
    let _ = timeout(options.connect_timeout, connection.close()).await;
    granted
}

async fn grant_all(connection: &mut PgConnection, role: &str) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::Grant(error.into());
    let is_role: bool = sqlx::query_scalar(IS_ROLE)
        .bind(role)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !is_role {
        return Err(OpenError::NoSuchRole(role.to_owned()));
    }
    let mut script = String::from("begin;\n");
    let role = quoted(role);
    for (table, privileges) in GRANTS {
        // Writing to a text cannot fail. A table that is not there fails the whole script.
        let _ = writeln!(script, "grant {privileges} on {table} to {role};");
    }
    let schema: String = sqlx::query_scalar("select current_schema()::text")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    // Read models have tables of their own, which belong to whoever makes them.
    let schema = quoted(&schema);
    let _ = write!(
        script,
        "grant usage, create on schema {schema} to {role};\ncommit;"
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// A name as SQL has it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        assert_eq!(quoted("app"), "\"app\"");
        assert_eq!(
            quoted("a\"; drop table x; --"),
            "\"a\"\"; drop table x; --\""
        );
    }
}
