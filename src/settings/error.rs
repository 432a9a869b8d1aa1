//! What is wrong with the settings, and where it was written.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Every problem found in the settings, one on a line.
#[derive(Debug, Error)]
#[error("{}", lines(.problems))]
pub struct SettingsError {
    pub(super) problems: Vec<Problem>,
}

impl SettingsError {
    /// The problems: those of the file in the order of its lines, then those of the environment.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read, or the one that was named does not exist.
    #[error("{}: cannot be read: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// The line at fault.
        origin: Origin,
        /// What the parser found.
        message: String,
    },
    /// There is no such section.
    #[error("{origin}: unknown section `{section}`{}", hint(.nearest.as_deref()))]
    UnknownSection {
        /// Where it was written.
        origin: Origin,
        /// The section as it was written.
        section: String,
        /// The section that was probably meant.
        nearest: Option<String>,
    },
    /// There is no such key.
    #[error("{origin}: unknown key `{key}`{}", hint(.nearest.as_deref()))]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The key as it was written.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// The value is of the wrong type, out of range, or does not go with another one.
    #[error("{origin}: `{key}` {message}")]
    InvalidValue {
        /// Where it was written.
        origin: Origin,
        /// The key.
        key: String,
        /// What the value must be.
        message: String,
    },
}

impl Problem {
    /// Where the problem was written; nothing when the whole file is the problem.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Syntax { origin, .. }
            | Self::UnknownSection { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::InvalidValue { origin, .. } => Some(origin),
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In the environment.
    Env {
        /// The variable.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env { name } => write!(f, "`{name}`"),
        }
    }
}
