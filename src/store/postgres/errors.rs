//! What PostgreSQL's errors mean for an append or a read: PostgreSQL's manual, appendix A.

use sqlx::{
    Error,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::state::OTHER_ROW;
use crate::store::{AppendError, Cause, NotReady, ReadError, rounds::InsertError};

const UNIQUE_VIOLATION: &str = "23505";
/// A lock was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const UNDEFINED_TABLE: &str = "42P01";

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is no `postgres://` URL that can be used.
    #[error("the store's URL is not valid")]
    Url(#[source] Cause),
    /// The database cannot be reached, or refuses the connection; a retry may help.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Cause),
    /// The schema is not this program's, and the options forbid migrating it.
    #[error("the store's schema is not this program's: {0}")]
    NotMigrated(String),
    /// The schema cannot be brought to this program's.
    #[error("the store's schema cannot be migrated")]
    Migration(#[source] Cause),
    /// There is no such role that could be let serve.
    #[error("there is no role {0}; make it with `createuser` first")]
    NoSuchRole(String),
    /// A role cannot be let serve.
    #[error("the rights of the role cannot be granted; only the owner of the tables may")]
    Grant(#[source] Cause),
}

impl From<NotReady> for OpenError {
    fn from(error: NotReady) -> Self {
        match error {
            NotReady::Unreachable(cause) => Self::Unreachable(cause),
            NotReady::NotMigrated(what) => Self::NotMigrated(what),
        }
    }
}

/// What became of a statement that failed, and what to do with its connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// Undone: a version or a row is another, or a unique index objects.
    Conflict,
    /// Undone: what another transaction holds was waited for long enough.
    Blocked,
    /// Undone, or never sent: the data can never be stored.
    Unstorable,
    /// Undone, and a retry may help.
    RolledBack,
    /// Nobody knows; the connection is of no more use.
    Unknown,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        // The statement answers no row where a stream is at another version.
        if matches!(error, Error::RowNotFound) {
            return Self::Conflict;
        }
        // Nothing was sent.
        if matches!(error, Error::Encode(_)) {
            return Self::Unstorable;
        }
        let Some(database) = database_error(error) else {
            return Self::Unknown;
        };
        // An ERROR ends the statement and undoes it; FATAL and PANIC end the session, at a time
        // that the client cannot tell from one after the commit.
        if database.severity() != PgSeverity::Error {
            return Self::Unknown;
        }
        match class(database) {
            _ if database.code() == UNIQUE_VIOLATION => Self::Conflict,
            "22" if database.message().contains(OTHER_ROW) => Self::Conflict,
            _ if database.code() == LOCK_NOT_AVAILABLE => Self::Blocked,
            // Data exceptions, other integrity constraints, program limits.
            "22" | "23" | "54" => Self::Unstorable,
            _ => Self::RolledBack,
        }
    }
}

impl From<Error> for InsertError {
    fn from(error: Error) -> Self {
        match Failure::of(&error) {
            Failure::Conflict => Self::Conflict,
            Failure::Blocked => Self::Blocked,
            Failure::Unstorable => Self::Failed(AppendError::Unstorable(error.into())),
            Failure::RolledBack => Self::Failed(AppendError::Unavailable(error.into())),
            Failure::Unknown => Self::Failed(AppendError::OutcomeUnknown(error.into())),
        }
    }
}

/// Whether the connection broke, so that the same read may succeed on another.
pub(super) fn is_broken(error: &Error) -> bool {
    match database_error(error) {
        Some(database) => database.severity() != PgSeverity::Error,
        None => matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_)),
    }
}

/// Whether a table is missing.
pub(super) fn is_undefined_table(error: &Error) -> bool {
    database_error(error).is_some_and(|database| database.code() == UNDEFINED_TABLE)
}

/// Whether the server does not know what it is asked to do, and never will.
pub(super) fn is_unsupported(error: &Error) -> bool {
    // Feature not supported; syntax errors, undefined functions, and lacking rights.
    database_error(error).is_some_and(|database| matches!(class(database), "0A" | "42"))
}

/// What a failed read means.
pub(super) fn read_error(error: Error) -> ReadError {
    let what = match (&error, database_error(&error)) {
        // The text names the column and the type, never the value.
        (Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_), _) => error.to_string(),
        (_, Some(database)) if matches!(class(database), "22" | "42" | "54") => {
            database.message().to_owned()
        }
        _ => return ReadError::Unavailable(error.into()),
    };
    ReadError::Corrupt { what }
}

fn database_error(error: &Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// The first two characters of the SQLSTATE.
fn class(error: &PgDatabaseError) -> &str {
    error.code().get(..2).unwrap_or_default()
}
