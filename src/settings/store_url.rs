//! The URL of the store: which store it names, and no password in print.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::value::text;

const WANTED: &str = "a URL that begins with sqlite:, postgres:// or postgresql://, or memory://";

/// The URL of the store; printing it hides a password.
///
/// ```
/// use dormouse::settings::StoreUrl;
///
/// let url: StoreUrl = "postgres://app:secret@db/app".parse()?;
/// assert_eq!(url.to_string(), "postgres://app:***@db/app");
/// assert_eq!(url.expose(), "postgres://app:secret@db/app");
/// # Ok::<(), dormouse::settings::UnknownScheme>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The URL as it was given, with its password: for connecting, never for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Which store the URL names.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        if self.0 == "memory://" {
            StoreKind::Memory
        } else if self.0.starts_with("sqlite:") {
            StoreKind::Sqlite
        } else {
            StoreKind::Postgres
        }
    }
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self("sqlite://dormouse.db".to_owned())
    }
}

/// Which store a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A SQLite file, or SQLite in memory.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// This process's memory: gone when it ends.
    Memory,
}

/// A store's URL that names no store; it does not repeat the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be {WANTED}")]
pub struct UnknownScheme;

impl FromStr for StoreUrl {
    type Err = UnknownScheme;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let schemes = ["sqlite:", "postgres://", "postgresql://"];
        if url == "memory://" || schemes.iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(Self(url.to_owned()));
        }
        Err(UnknownScheme)
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text(from, WANTED)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_password(&self.0), f)
    }
}

/// Hides the password before the host and any in the query.
///
/// A password should have its `@`, `/` and `?` escaped, but one that has not must not show either:
/// so the host begins after the last `@`. That may hide more than the password, never less.
pub(super) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |found| found + 3));
    let shown = match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let Some((place, query)) = shown.split_once('?') else {
        return format!("{scheme}{shown}");
    };
    let query: Vec<String> = query.split('&').map(without_secret).collect();
    format!("{scheme}{place}?{}", query.join("&"))
}

fn without_secret(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        format!("{:?}", url.parse::<StoreUrl>().unwrap())
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        assert_eq!(
            shown("postgres://u:p@h:5432/d"),
            "\"postgres://u:***@h:5432/d\""
        );
        assert_eq!(
            shown("postgresql://u:a@b/c?d@h/d"),
            "\"postgresql://u:***@h/d\""
        );
        assert_eq!(
            shown("postgres://h/d?user=u&password=p"),
            "\"postgres://h/d?user=u&password=***\""
        );
        assert_eq!(
            shown("postgres://u:a?password=b@h/d"),
            "\"postgres://u:***@h/d\""
        );
    }

    #[test]
    fn a_url_without_a_password_is_shown_whole() {
        assert_eq!(shown("postgres://u@h/d"), "\"postgres://u@h/d\"");
        assert_eq!(
            shown("sqlite://a.db?mode=rwc"),
            "\"sqlite://a.db?mode=rwc\""
        );
    }

    #[test]
    fn a_url_of_no_known_store_is_refused_without_repeating_it() {
        let refused = "postgers://u:secret@h/d".parse::<StoreUrl>().unwrap_err();

        assert!(refused.to_string().starts_with("must be a URL"));
        assert!(!refused.to_string().contains("secret"));
        assert!("memory://x".parse::<StoreUrl>().is_err());
        assert_eq!(
            "memory://".parse::<StoreUrl>().unwrap().kind(),
            StoreKind::Memory
        );
    }
}
