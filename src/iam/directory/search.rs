//! Searching the directory: every filter may be combined, pages go by name.

use std::fmt::Write as _;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, query::QueryAs};

use super::{NAME, tables};
use crate::{
    iam::RoleId,
    projection::{Answer, Build, NotServed, ReadModel, ReadRequest},
    store::models::{ModelError, ModelTx},
};

/// Answers `GET /v1/read/users`: users by the beginning of their name (whatever its case), domain,
/// status and role, in the order of their names.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserSearch;

/// What no name goes beyond: the end of a range of names.
const LAST_CHAR: char = char::MAX;

const STATUS: &[&str] = &["ENABLED", "DISABLED", "BANNED"];

#[async_trait]
impl ReadModel for UserSearch {
    fn projection(&self) -> &'static str {
        NAME
    }

    fn path(&self) -> &'static str {
        "users"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["name_prefix", "domain", "status", "role"]
    }

    async fn read(
        &self,
        request: &ReadRequest,
        build: &Build,
        tx: ModelTx<'_>,
    ) -> Result<Answer, NotServed> {
        let statement = Statement::of(request, build)?;
        let mut found: Vec<(String, String, String)> = statement.fetch(tx).await?;
        let limit = request.limit as usize;
        // One more than asked for tells whether there is a next page.
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|(_, key, id)| format!("{id}@{key}"));
        let rows = found
            .iter()
            .map(|(document, _, _)| serde_json::from_str(document).map_err(ModelError::from));
        let rows: Result<Vec<_>, ModelError> = rows.collect();
        Ok(Answer { rows: rows?, next })
    }
}

/// A search, as one statement with texts to bind.
struct Statement {
    sql: String,
    bound: Vec<String>,
}

impl Statement {
    fn of(request: &ReadRequest, build: &Build) -> Result<Self, NotServed> {
        let role = request.parameter("role");
        // The table whose index the pages follow.
        let key = if role.is_some() { "r" } else { "u" };
        let mut statement = Self {
            sql: format!(
                "select u.document, {key}.username_key, {key}.user_id from {} u",
                tables::users(build)
            ),
            bound: Vec::new(),
        };
        if let Some(role) = role {
            let role = RoleId::parse(role).map_err(|error| invalid("role", &error))?;
            let roles = tables::roles(build);
            statement.add(&format!(" join {roles} r on r.user_id = u.user_id"));
            statement.add(" where r.role_id = ");
            statement.bind(role.as_str());
        } else {
            statement.add(" where 1 = 1");
        }
        if let Some(prefix) = request.parameter("name_prefix") {
            if prefix.is_empty() || prefix.chars().count() > 64 {
                return Err(invalid("name_prefix", &"it must be 1 to 64 characters"));
            }
            let prefix = prefix.to_lowercase();
            statement.compare(&format!("{key}.username_key >="), &prefix);
            let end = format!("{prefix}{LAST_CHAR}");
            statement.compare(&format!("{key}.username_key <"), &end);
        }
        if let Some(domain) = request.parameter("domain") {
            statement.compare("u.domain =", domain);
        }
        if let Some(status) = request.parameter("status") {
            if !STATUS.contains(&status) {
                let one_of = format!("it must be one of {}", STATUS.join(", "));
                return Err(invalid("status", &one_of));
            }
            statement.compare("u.status =", status);
        }
        if let Some(after) = &request.after {
            let Some((id, name)) = after.split_once('@') else {
                return Err(invalid("after", &"it must be the `next` of another page"));
            };
            statement.add(&format!(" and ({key}.username_key, {key}.user_id) > ("));
            statement.bind(name);
            statement.add(", ");
            statement.bind(id);
            statement.add(")");
        }
        statement.add(&format!(
            " order by {key}.username_key, {key}.user_id limit {}",
            u64::from(request.limit) + 1
        ));
        Ok(statement)
    }

    fn add(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn bind(&mut self, value: &str) {
        self.bound.push(value.to_owned());
        // Writing to a text cannot fail.
        let _ = write!(self.sql, "${}", self.bound.len());
    }

    fn compare(&mut self, condition: &str, value: &str) {
        self.add(" and ");
        self.add(condition);
        self.add(" ");
        self.bind(value);
    }

    async fn fetch(self, tx: ModelTx<'_>) -> Result<Vec<(String, String, String)>, ModelError> {
        // Nothing in the text comes from a caller.
        let sql = AssertSqlSafe(self.sql);
        Ok(match tx {
            ModelTx::Memory(_) => return Err(tables::memory()),
            ModelTx::Sqlite(connection) => {
                let query = sqlx::query_as(sql);
                let query = self.bound.into_iter().fold(query, QueryAs::bind);
                query.fetch_all(connection).await?
            }
            ModelTx::Postgres(connection) => {
                let query = sqlx::query_as(sql);
                let query = self.bound.into_iter().fold(query, QueryAs::bind);
                query.fetch_all(connection).await?
            }
        })
    }
}

fn invalid(name: &str, why: &dyn std::fmt::Display) -> NotServed {
    NotServed::Invalid(format!("the query parameter `{name}`: {why}"))
}
