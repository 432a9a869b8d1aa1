//! The login's words: what is sent, what comes of it, and who decides.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::Rights;

/// A username and a password, as they were sent. `Debug` and errors tell neither.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    #[serde(deserialize_with = "username")]
    username: Zeroizing<String>,
    #[serde(deserialize_with = "password")]
    password: Zeroizing<String>,
}

impl Credentials {
    /// The username.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

fn username<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    hidden_text(from, 1024).ok_or_else(|| de::Error::custom("`username` must be text"))
}

fn password<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    hidden_text(from, 1024).ok_or_else(|| de::Error::custom("`password` must be text"))
}

/// Text of some length. serde's own errors repeat what was sent, so they go no further.
fn hidden_text<'de, D: Deserializer<'de>>(from: D, longest: usize) -> Option<Zeroizing<String>> {
    let text = String::deserialize(from).ok().map(Zeroizing::new)?;
    (1..=longest).contains(&text.len()).then_some(text)
}

/// Someone whose credentials are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who it is.
    pub subject: String,
    /// What it may do.
    pub rights: Rights,
}

/// Why someone is not signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The name, the password or the user is not right: which one, nobody is told.
    #[error("the username or the password is wrong")]
    Refused,
    /// As many passwords are being checked as may be. A retry may help.
    #[error("too many passwords are being checked")]
    Busy,
    /// The store cannot be reached. A retry may help.
    #[error("the store cannot be reached")]
    Unavailable,
    /// A bug; the log says more.
    #[error("the login failed")]
    Failed,
}

/// Knows users, their passwords and their rights.
///
/// An implementation does the same work for a name that nobody has as for a wrong password.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Signs someone in, and puts that on record.
    ///
    /// # Errors
    /// [`SignInError`].
    async fn sign_in(&self, credentials: &Credentials) -> Result<SignedIn, SignInError>;
}
