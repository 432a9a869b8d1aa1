//! The directory's tables, in either database: a row a user with what it is searched by, and a
//! row for each role a user has. A batch is a handful of statements, whatever its size: what it
//! writes travels as one JSON array.

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::entry::{Entries, Entry};
use crate::{
    projection::Build,
    store::models::{ModelError, ModelTx},
};

/// The text of a statement for a database, with the tables of a generation in it.
///
/// The names come from this program, never from a caller.
fn fill(statement: &str, build: &Build) -> AssertSqlSafe<String> {
    AssertSqlSafe(
        statement
            .replace("{users}", &users(build))
            .replace("{roles}", &roles(build)),
    )
}

pub(super) fn users(build: &Build) -> String {
    build.table("user_directory")
}

pub(super) fn roles(build: &Build) -> String {
    build.table("user_directory_roles")
}

/// The columns are compared byte by byte: what differs by a language is no business of a cursor.
const CREATE_POSTGRES: &[&str] = &[
    "create table {users} (
        user_id varchar(64) collate \"C\" not null primary key,
        username_key text collate \"C\" not null,
        domain text collate \"C\" not null,
        status varchar(16) collate \"C\" not null,
        document text not null)",
    "create table {roles} (
        role_id varchar(64) collate \"C\" not null,
        username_key text collate \"C\" not null,
        user_id varchar(64) collate \"C\" not null,
        primary key (role_id, username_key, user_id))",
];

const CREATE_SQLITE: &[&str] = &[
    "create table {users} (
        user_id text not null primary key,
        username_key text not null,
        domain text not null,
        status text not null,
        document text not null) strict",
    "create table {roles} (
        role_id text not null,
        username_key text not null,
        user_id text not null,
        primary key (role_id, username_key, user_id)) strict, without rowid",
];

/// An index for each filter, in the order in which pages go.
const INDEXES: &[&str] = &[
    "create index {users}_name on {users} (username_key, user_id)",
    "create index {users}_domain on {users} (domain, username_key, user_id)",
    "create index {users}_status on {users} (status, username_key, user_id)",
    "create index {roles}_user on {roles} (user_id)",
];

const LOAD_POSTGRES: &str = "select document from {users} \
    where user_id in (select json_array_elements_text($1::json))";
const LOAD_SQLITE: &str = "select document from {users} \
    where user_id in (select value from json_each($1))";

const SAVE_POSTGRES: &[&str] = &[
    "delete from {roles} where user_id in \
     (select r.user_id from json_to_recordset($1::json) as r (user_id text))",
    "delete from {users} where user_id in (select r.user_id from json_to_recordset($1::json) \
     as r (user_id text, gone boolean) where r.gone)",
    "insert into {users} (user_id, username_key, domain, status, document) \
     select r.user_id, r.username_key, r.domain, r.status, r.document \
     from json_to_recordset($1::json) as r (user_id text, gone boolean, username_key text, \
     domain text, status text, document text) where not r.gone \
     on conflict (user_id) do update set username_key = excluded.username_key, \
     domain = excluded.domain, status = excluded.status, document = excluded.document",
    "insert into {roles} (role_id, username_key, user_id) \
     select o.role_id, r.username_key, r.user_id from json_to_recordset($1::json) \
     as r (user_id text, username_key text, roles json), \
     lateral json_array_elements_text(r.roles) as o (role_id)",
];
const SAVE_SQLITE: &[&str] = &[
    "delete from {roles} where user_id in (select value ->> 'user_id' from json_each($1))",
    "delete from {users} where user_id in \
     (select value ->> 'user_id' from json_each($1) where value ->> 'gone')",
    "insert into {users} (user_id, username_key, domain, status, document) \
     select value ->> 'user_id', value ->> 'username_key', value ->> 'domain', \
     value ->> 'status', value ->> 'document' from json_each($1) where not value ->> 'gone' \
     on conflict (user_id) do update set username_key = excluded.username_key, \
     domain = excluded.domain, status = excluded.status, document = excluded.document",
    "insert into {roles} (role_id, username_key, user_id) \
     select o.value, r.value ->> 'username_key', r.value ->> 'user_id' \
     from json_each($1) as r, json_each(r.value, '$.roles') as o",
];

pub(super) fn memory() -> ModelError {
    ModelError::refused("the directory of users is not kept in memory")
}

async fn run(
    tx: &mut ModelTx<'_>,
    build: &Build,
    statement: &str,
    bound: Option<&str>,
) -> Result<(), ModelError> {
    let sql = fill(statement, build);
    match tx {
        ModelTx::Memory(_) => return Err(memory()),
        ModelTx::Sqlite(connection) => {
            let query = sqlx::query(sql);
            let query = bound.iter().fold(query, |query, json| query.bind(*json));
            query.execute(&mut **connection).await?;
        }
        ModelTx::Postgres(connection) => {
            let query = sqlx::query(sql);
            let query = bound.iter().fold(query, |query, json| query.bind(*json));
            query.execute(&mut **connection).await?;
        }
    }
    Ok(())
}

pub(super) async fn create(build: &Build, tx: &mut ModelTx<'_>) -> Result<(), ModelError> {
    let tables = match tx {
        ModelTx::Postgres(_) => CREATE_POSTGRES,
        ModelTx::Sqlite(_) | ModelTx::Memory(_) => CREATE_SQLITE,
    };
    for statement in tables.iter().chain(INDEXES) {
        run(tx, build, statement, None).await?;
    }
    Ok(())
}

pub(super) async fn remove(build: &Build, tx: &mut ModelTx<'_>) -> Result<(), ModelError> {
    for statement in [
        "drop table if exists {users}",
        "drop table if exists {roles}",
    ] {
        run(tx, build, statement, None).await?;
    }
    Ok(())
}

/// The users with these ids, as the directory has them.
pub(super) async fn load(
    build: &Build,
    tx: &mut ModelTx<'_>,
    ids: Vec<&str>,
) -> Result<Entries, ModelError> {
    let wanted = serde_json::to_string(&ids)?;
    let found: Vec<String> = match tx {
        ModelTx::Memory(_) => return Err(memory()),
        ModelTx::Sqlite(connection) => {
            let query = sqlx::query_scalar(fill(LOAD_SQLITE, build)).bind(wanted);
            query.fetch_all(&mut **connection).await?
        }
        ModelTx::Postgres(connection) => {
            let query = sqlx::query_scalar(fill(LOAD_POSTGRES, build)).bind(wanted);
            query.fetch_all(&mut **connection).await?
        }
    };
    let mut entries: Entries = ids.into_iter().map(|id| (id.to_owned(), None)).collect();
    for document in found {
        let entry: Entry = serde_json::from_str(&document)?;
        entries.insert(entry.id.clone(), Some(entry));
    }
    Ok(entries)
}

/// Writes the users of a batch as they are now.
pub(super) async fn save(
    build: &Build,
    tx: &mut ModelTx<'_>,
    entries: &Entries,
) -> Result<(), ModelError> {
    let mut rows = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        rows.push(match entry {
            None => json!({ "user_id": id, "gone": true, "roles": [] }),
            Some(entry) => json!({
                "user_id": id,
                "gone": false,
                "username_key": entry.key(),
                "domain": entry.domain,
                "status": entry.status(),
                "roles": entry.role_ids,
                "document": serde_json::to_string(entry)?,
            }),
        });
    }
    let rows = serde_json::to_string(&rows)?;
    let statements = match tx {
        ModelTx::Postgres(_) => SAVE_POSTGRES,
        ModelTx::Sqlite(_) | ModelTx::Memory(_) => SAVE_SQLITE,
    };
    for statement in statements {
        run(tx, build, statement, Some(&rows)).await?;
    }
    Ok(())
}
