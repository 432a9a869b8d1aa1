//! The tables of an existing system, as a script fills them that is not dormouse.

use std::error::Error;

use dormouse::settings::{StoreKind, StoreUrl};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

const POSTGRES: &str = include_str!("../../examples/data/admin_api.sql");
const SQLITE: &str = include_str!("../../examples/data/admin_api.sqlite.sql");

const ROWS: &str = "
insert into sys_user (id, username, password, domain, built_in, avatar, email, phone_number, nick_name, status, created_at, created_by)
select {id}, 'user' || n, '$2a$10$BrNwelZswsGy9FGCTARd5efBtM0Ra4Xz8e8DoT86EOju9Ii0jpBg6', 'built-in', {no},
    'https://example.org/avatars/' || n || '.png', 'user' || n || '@example.org', {phone}, 'User ' || n,
    'ENABLED', '2024-05-15 00:00:00.000', '-1'
from {numbers};
insert into sys_user_role (user_id, role_id) select {id}, '3' from {numbers};";

/// Makes the tables and so many users, each with a role.
pub(crate) async fn fill(url: &StoreUrl, rows: u64) -> Result<(), Box<dyn Error>> {
    let schema = |text: &str| {
        let end = text.find("insert into").unwrap_or(text.len());
        text[..end].to_owned()
    };
    let statements = |schema: String, id: &str, no: &str, phone: &str, numbers: String| {
        let rows = ROWS
            .replace("{id}", id)
            .replace("{no}", no)
            .replace("{phone}", phone)
            .replace("{numbers}", &numbers);
        AssertSqlSafe(format!("{schema}{rows}"))
    };
    match url.kind() {
        StoreKind::Postgres => {
            let numbers = format!("generate_series(1, {rows}) as numbers (n)");
            let (id, phone) = ("lpad(n::text, 10, '0')", "(18500000000 + n)::text");
            let statements = statements(schema(POSTGRES), id, "false", phone, numbers);
            let mut connection = PgConnection::connect(url.expose()).await?;
            sqlx::raw_sql(statements).execute(&mut connection).await?;
            sqlx::raw_sql("analyze").execute(&mut connection).await?;
            connection.close().await?;
        }
        StoreKind::Sqlite => {
            let numbers = format!(
                "(with recursive numbers (n) as (select 1 union all select n + 1 from numbers \
                 where n < {rows}) select n from numbers)"
            );
            let (id, phone) = ("printf('%010d', n)", "cast(18500000000 + n as text)");
            let statements = statements(schema(SQLITE), id, "0", phone, numbers);
            let mut connection = SqliteConnection::connect(url.expose()).await?;
            sqlx::raw_sql(statements).execute(&mut connection).await?;
            connection.close().await?;
        }
        StoreKind::Memory => return Err("memory:// has no tables that a script could fill".into()),
    }
    Ok(())
}

/// Does what autovacuum does within minutes of so many inserts.
pub(crate) async fn settle(url: &StoreUrl) -> Result<(), Box<dyn Error>> {
    if url.kind() == StoreKind::Postgres {
        let mut connection = PgConnection::connect(url.expose()).await?;
        let vacuum = "vacuum analyze domain_events; vacuum analyze aggregate_rows";
        for statement in vacuum.split("; ") {
            let statement = AssertSqlSafe(statement.to_owned());
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        connection.close().await?;
    }
    Ok(())
}
