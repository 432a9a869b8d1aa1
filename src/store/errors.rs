//! What can go wrong at the store, by operation: whether a retry helps, whether the outcome is known.

/// What lies under an error: for the log, never for a client.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The store cannot be reached. Nothing was stored; a retry may help.
    #[error("the store is unavailable, nothing was stored")]
    Unavailable(#[source] Cause),
    /// The answer was lost: the batch is stored whole, in part, or not at all, or will be. Append it
    /// again to know; what then loses to a claim alone may yet be stored, should its holder free it.
    #[error("the answer of an append was lost, its outcome is unknown")]
    OutcomeUnknown(#[source] Cause),
    /// The store refuses the data of at least one commit for ever. Nothing was stored.
    #[error("the store cannot hold this data, nothing was stored")]
    Unstorable(#[source] Cause),
    /// Other writers kept winning. Nothing was stored; a retry may help.
    #[error("other writers kept winning, nothing was stored")]
    Contended,
}

/// Why a read, or a write of mere convenience, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store cannot be reached; a retry may help.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// What is stored is not what this program stores; a retry does not help.
    #[error("the store holds something it should not: {what}")]
    Corrupt {
        /// What and where.
        what: String,
    },
}

impl ReadError {
    /// Whether the same read may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why the store cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It cannot be reached.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Cause),
    /// Its schema is not this program's.
    #[error("the store's schema is not this program's: {0}")]
    NotMigrated(String),
}
