//! What a failure of a read model means: whether the same work may succeed later.

use crate::store::Cause;

/// Why work on a read model failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The database cannot be reached, is busy or took too long; the same work may succeed later.
    #[error("the database of the read models is unavailable")]
    Unavailable(#[source] Cause),
    /// The data or the statement is at fault; the same work fails again.
    #[error("the read model refuses it")]
    Refused(#[source] Cause),
}

impl ModelError {
    /// A refusal in words of the projection's own.
    pub fn refused(what: impl Into<Cause>) -> Self {
        Self::Refused(what.into())
    }

    /// Whether the same work may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for ModelError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        let refused = if let Error::Database(database) = &error {
            refuses(database.code().as_deref(), &**database)
        } else {
            matches!(
                &error,
                Error::RowNotFound
                    | Error::TypeNotFound { .. }
                    | Error::ColumnIndexOutOfBounds { .. }
                    | Error::ColumnNotFound(_)
                    | Error::ColumnDecode { .. }
                    | Error::Encode(_)
                    | Error::Decode(_)
            )
        };
        if refused {
            Self::Refused(error.into())
        } else {
            Self::Unavailable(error.into())
        }
    }
}

impl From<serde_json::Error> for ModelError {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// Whether a database's own error is about the statement or its data.
fn refuses(code: Option<&str>, error: &dyn sqlx::error::DatabaseError) -> bool {
    let Some(code) = code else {
        return false;
    };
    if error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        // Classes of PostgreSQL's manual, appendix A: not supported, cardinality, data exceptions,
        // integrity, invalid names, syntax and access rules, with-check, program limits.
        let class = code.get(..2).unwrap_or_default();
        return matches!(
            class,
            "0A" | "21" | "22" | "23" | "26" | "34" | "3D" | "3F" | "42" | "44" | "54"
        );
    }
    // SQLite's primary result codes are the low byte: error, too big, constraint, mismatch, range.
    let primary = code.parse::<i64>().unwrap_or_default() & 0xff;
    matches!(primary, 1 | 18 | 19 | 20 | 25)
}
