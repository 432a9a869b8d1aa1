//! Why a token is refused: for the log, for the client hears only that it is.

use super::jwt::TokenError;

/// Why a request's token is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// It is neither a token nor an API key.
    #[error("it is neither a JWT nor an API key")]
    Malformed,
    /// There is no such API key, or it is revoked, or its secret is another.
    #[error("there is no such API key, or it is revoked")]
    UnknownKey,
    /// The API key has expired.
    #[error("the API key has expired")]
    ExpiredKey,
    /// The token is not valid.
    #[error("the token is not valid")]
    Token(#[from] TokenError),
    /// Nobody knows: the API keys could not be read for too long. A retry may help.
    #[error("the API keys cannot be read")]
    Unavailable,
}

impl Refusal {
    /// One word for it, by which it is counted.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown-key",
            Self::ExpiredKey | Self::Token(TokenError::Expired) => "expired",
            Self::Token(_) => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}
