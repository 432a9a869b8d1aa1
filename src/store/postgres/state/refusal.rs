//! What it means that the database refuses a row.

use sqlx::{
    Error,
    postgres::{PgConnection, PgDatabaseError},
};

use super::{catalog::Shapes, shape::TypeKind};
use crate::store::Commit;

const UNIQUE_VIOLATION: &str = "23505";
const TOO_LONG: &str = "22001";

/// The constraints of our own tables: what they refuse is looked up in the facts.
const OURS: [&str; 6] = [
    "domain_events_pkey",
    "domain_events_stream_key",
    "domain_events_position_key",
    "command_receipts_pkey",
    "aggregate_claims_pkey",
    "aggregate_rows_pkey",
];

/// A row that its table refuses for ever, without the values at fault.
#[derive(Debug, thiserror::Error)]
#[error("the table `{table}` refuses the row: {problem} (SQLSTATE {code})")]
pub(in crate::store::postgres) struct RowRefusal {
    table: String,
    problem: String,
    code: String,
}

fn database(error: &Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// The columns of the unique index of theirs that objects, where it is one that does.
pub(in crate::store::postgres) fn refused_columns(
    error: &Error,
    shapes: &Shapes,
) -> Option<Vec<String>> {
    let error = database(error)?;
    if error.code() != UNIQUE_VIOLATION {
        return None;
    }
    let index = error.constraint().unwrap_or_default();
    if OURS.contains(&index) {
        return None;
    }
    let mut uniques = shapes.values().flat_map(|shape| {
        let links = shape.links.values();
        std::iter::once(&shape.table)
            .chain(links)
            .flat_map(|table| &table.uniques)
    });
    let found = uniques.find(|unique| unique.name == index);
    // One that is newer than what is known of the table is told by its name.
    Some(found.map_or_else(|| vec![index.to_owned()], |found| found.columns.clone()))
}

impl RowRefusal {
    /// What the database objects to; where the commit is alone, with the column.
    pub(in crate::store::postgres) async fn of(
        error: &Error,
        connection: &mut PgConnection,
        commits: &[&Commit],
        shapes: &Shapes,
    ) -> Option<Self> {
        let error = database(error)?;
        let code = error.code().to_owned();
        let table = error.table().map(str::to_owned);
        let problem = match (error.constraint(), error.column()) {
            (Some(constraint), _) => format!("the constraint `{constraint}` does not hold"),
            (None, Some(column)) => format!("the column `{column}` must have a value"),
            (None, None) => {
                let column = match commits {
                    [commit] => column_at_fault(connection, commit, shapes, &code).await,
                    _ => None,
                };
                // Its message may hold the value.
                column.map_or_else(
                    || "a value does not fit its column".to_owned(),
                    |column| format!("the value does not fit the column `{column}`"),
                )
            }
        };
        let mapped = || {
            let change = commits.iter().find_map(|commit| commit.row.as_ref());
            change.map(|change| change.table.name.to_string())
        };
        Some(Self {
            table: table.or_else(mapped)?,
            problem,
            code,
        })
    }
}

/// The first column that cannot hold its value: found by asking, since the error does not tell.
async fn column_at_fault(
    connection: &mut PgConnection,
    commit: &Commit,
    shapes: &Shapes,
    code: &str,
) -> Option<String> {
    let change = commit.row.as_ref()?;
    let shape = shapes.get(&*change.table.name)?;
    let after = change.after.as_ref()?;
    let stamps = change.on_insert.iter().chain(&change.on_update);
    let stamps = stamps.map(|(name, value)| (*name, value));
    let values = after.values.iter().map(|(name, value)| (*name, value));
    for (name, value) in values.chain(stamps) {
        let column = shape.table.column(name);
        let Some(text) = column.text_of(value) else {
            continue;
        };
        let is_text = matches!(column.kind, TypeKind::Text | TypeKind::Padded);
        let fits = if is_text {
            let length = text.chars().count();
            !text.contains('\0')
                && (code != TOO_LONG || column.max_chars().is_none_or(|most| length <= most))
        } else {
            // Safe: a type's name from the catalog.
            let asked =
                sqlx::AssertSqlSafe(format!("select ({}) is null", column.cast("$1::text")));
            let answer = sqlx::query(asked).persistent(false).bind(text);
            answer.execute(&mut *connection).await.is_ok()
        };
        if !fits {
            return Some(name.to_owned());
        }
    }
    None
}
