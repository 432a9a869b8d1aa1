//! How a value is written: on which line of a file, under which name in the environment.

use std::path::Path;

use toml::Value;

use super::Origin;
use super::names::AGGREGATES;

/// A file's name and text, for turning an offset into a line.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl File<'_> {
    /// The line that holds the byte at this offset.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let before = self.text.bytes().take(offset);
        let line = 1 + before.filter(|byte| *byte == b'\n').count();
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }
}

/// The section and key in the name of a variable; only the name of a type keeps its case.
pub(super) fn env_path(rest: &str) -> Vec<String> {
    let (section, key) = match rest.split_once("__") {
        Some((section, key)) => (section.to_lowercase(), key),
        None => return vec![rest.to_lowercase()],
    };
    match key.rsplit_once("__") {
        Some((type_name, key)) if section == AGGREGATES => {
            vec![section, type_name.to_owned(), key.to_lowercase()]
        }
        _ => vec![section, key.to_lowercase()],
    }
}

/// The value that a variable's text looks like, unless that is only text.
pub(super) fn scalar(text: &str) -> Option<Value> {
    let value: Value = text.parse().ok()?;
    (!value.is_table() && !value.is_array()).then_some(value)
}
