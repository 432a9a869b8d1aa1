//! Statements with a list of rows, and numbers as SQLite keeps them.

use std::{fmt::Display, sync::Arc};

use sqlx::AssertSqlSafe;

use crate::store::ReadError;

/// The most rows in one statement: enough that handing a statement over to the connection's
/// thread costs little for each row, few enough that each number of rows stays prepared.
pub(super) const MAX_ROWS: usize = 64;

/// One statement for each number of rows up to [`MAX_ROWS`]: texts made once, and the same each
/// time, so that the connection keeps them prepared.
pub(super) struct RowStatements(Vec<Arc<str>>);

impl RowStatements {
    /// Statements that repeat `row` between `before` and `after`.
    pub(super) fn new(before: &str, row: &str, after: &str) -> Self {
        let texts = (1..=MAX_ROWS).map(|rows| {
            let rows = vec![row; rows].join(",");
            format!("{before}{rows}{after}").into()
        });
        Self(texts.collect())
    }

    /// The statement for a chunk of 1 to [`MAX_ROWS`] rows.
    pub(super) fn of(&self, rows: usize) -> AssertSqlSafe<Arc<str>> {
        // Safe: a text of constants only, whatever the parameters are.
        AssertSqlSafe(Arc::clone(&self.0[rows - 1]))
    }
}

/// A number as SQLite's integers hold it. No version, position or index reaches the limit.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored integer that must not be negative.
pub(super) fn natural(number: i64, what: impl Display) -> Result<u64, ReadError> {
    u64::try_from(number).map_err(|_| super::corrupt(format_args!("{what} is {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_as_many_rows_as_asked_for() {
        let statements = RowStatements::new("values ", "(?)", ";");

        assert_eq!(&*statements.of(1).0, "values (?);");
        assert_eq!(&*statements.of(3).0, "values (?),(?),(?);");
        assert_eq!(statements.of(MAX_ROWS).0.matches('?').count(), MAX_ROWS);
    }
}
