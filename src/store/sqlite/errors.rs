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
