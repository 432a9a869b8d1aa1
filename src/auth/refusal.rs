//! Why a token is refused: for the log, for the client hears only that it is.

use super::{Why, jwt::TokenError};

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
        self.why().word()
    }

    pub(crate) const fn why(&self) -> Why {
        match self {
            Self::Missing => Why::Missing,
            Self::Malformed => Why::Malformed,
            Self::UnknownKey => Why::UnknownKey,
            Self::ExpiredKey | Self::Token(TokenError::Expired) => Why::Expired,
            Self::Token(_) => Why::Invalid,
            Self::Unavailable => Why::Unavailable,
        }
    }
}
