//! What SQLite's result codes mean to a caller (<https://www.sqlite.org/rescode.html>).

use sqlx::{Error, error::ErrorKind};

use crate::store::{AppendError, ReadError, rounds::InsertError};

const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOT_A_DATABASE: i32 = 26;

/// The primary result code, where SQLite gave one.
fn code(error: &Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    // The extended codes keep the primary one in their lowest byte.
    Some(extended & 0xff)
}

/// Whether another connection was writing all the while.
pub(super) fn is_busy(error: &Error) -> bool {
    code(error) == Some(BUSY)
}

/// An error of a statement inside an append, before its commit: nothing is stored.
pub(super) fn insert_error(error: Error) -> InsertError {
    let kind = error
        .as_database_error()
        .map(sqlx::error::DatabaseError::kind);
    if matches!(kind, Some(ErrorKind::UniqueViolation)) {
        return InsertError::Conflict;
    }
    InsertError::Failed(append_error(error))
}

/// The columns of the unique index of another's table that objects, as SQLite's message tells.
pub(super) fn refused_columns(error: &Error) -> Option<Vec<String>> {
    let error = error.as_database_error()?;
    if !matches!(error.kind(), ErrorKind::UniqueViolation) {
        return None;
    }
    let (_, columns) = error.message().split_once(": ")?;
    let names = columns.split(", ").map(|column| {
        let name = column.rsplit_once('.').map_or(column, |(_, name)| name);
        // An index over an expression is told by its own name.
        let name = name.strip_prefix("index '").unwrap_or(name);
        name.trim_end_matches('\'').to_owned()
    });
    Some(names.collect())
}

/// An error of the statement that adds the last events and commits. A full disk stops it before
/// the frame that makes the transaction whole; where writing or flushing failed otherwise, what
/// reached the disk is found out by appending again.
pub(super) fn commit_error(error: Error) -> InsertError {
    let stored_nothing = matches!(
        code(&error),
        Some(CONSTRAINT | TOO_BIG | MISMATCH | FULL | READ_ONLY | BUSY)
    );
    if stored_nothing {
        return insert_error(error);
    }
    InsertError::Failed(AppendError::OutcomeUnknown(error.into()))
}

/// As [`insert_error`], where a conflict cannot be.
pub(super) fn append_error(error: Error) -> AppendError {
    let refused = matches!(code(&error), Some(TOO_BIG | CONSTRAINT | MISMATCH));
    if refused || matches!(error, Error::Encode(_)) {
        return AppendError::Unstorable(error.into());
    }
    AppendError::Unavailable(error.into())
}

/// An error of a read, or of saving snapshots.
pub(super) fn read_error(error: Error) -> ReadError {
    let damaged = matches!(code(&error), Some(CORRUPT | NOT_A_DATABASE));
    let undecodable = matches!(
        error,
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::RowNotFound
    );
    if damaged || undecodable {
        return super::corrupt(error);
    }
    ReadError::Unavailable(error.into())
}

#[cfg(test)]
mod tests {
    use sqlx::error::DatabaseError;

    use super::*;

    /// SQLite's answer with an extended result code.
    #[derive(Debug)]
    struct Answer(i32);

    impl std::fmt::Display for Answer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl std::error::Error for Answer {}

    impl DatabaseError for Answer {
        fn message(&self) -> &'static str {
            "an answer"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn at_the_commit(code: i32) -> AppendError {
        match commit_error(Error::Database(Box::new(Answer(code)))) {
            InsertError::Failed(error) => error,
            InsertError::Conflict | InsertError::Blocked | InsertError::Refused(_) => {
                panic!("{code} is no conflict")
            }
        }
    }

    #[test]
    fn a_flush_that_failed_at_the_commit_leaves_the_outcome_unknown() {
        // SQLITE_IOERR_FSYNC, _DIR_FSYNC, _WRITE, _TRUNCATE and plain SQLITE_IOERR.
        for code in [1034, 1290, 778, 1546, 10] {
            let told = at_the_commit(code);
            assert!(
                matches!(told, AppendError::OutcomeUnknown(_)),
                "{code}: {told:?}"
            );
        }
        let cut_off = commit_error(Error::WorkerCrashed);
        assert!(
            matches!(cut_off, InsertError::Failed(AppendError::OutcomeUnknown(_))),
            "{cut_off:?}"
        );
    }

    #[test]
    fn what_stops_before_the_commit_is_whole_stored_nothing() {
        for code in [FULL, READ_ONLY, BUSY] {
            let told = at_the_commit(code);
            assert!(
                matches!(told, AppendError::Unavailable(_)),
                "{code}: {told:?}"
            );
        }
        for code in [TOO_BIG, CONSTRAINT, MISMATCH] {
            let told = at_the_commit(code);
            assert!(
                matches!(told, AppendError::Unstorable(_)),
                "{code}: {told:?}"
            );
        }
    }
}
