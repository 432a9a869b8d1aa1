//! From texts to [`Settings`]: the file, then the environment, each value with where it came from.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_path_to_error::Segment;
use toml::de::{DeString, DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::names::{AGGREGATES, keys_of, nearest_key, nearest_section};
use super::written::{File, env_path, scalar};
use super::{DEFAULT_FILE, ENV_PREFIX, Origin, Problem, Settings, SettingsError};

pub(super) fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Settings, SettingsError> {
    let mut draft = Draft::default();
    let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => draft.add_file(path, &text),
        Err(error) if file.is_none() && error.kind() == ErrorKind::NotFound => {}
        Err(reason) => draft.unreadable(path, reason),
    }
    // The order of an environment is nobody's choice, so it must not decide what is reported first.
    let mut env: Vec<(String, String)> = env.collect();
    env.sort();
    for (name, text) in env {
        draft.add_env(&name, &text);
    }
    draft.finish()
}

type Key<'a> = Spanned<DeString<'a>>;
type Node<'a> = Spanned<DeValue<'a>>;

/// What was read so far: every value by its key, and what is wrong.
#[derive(Debug, Default)]
pub(super) struct Draft {
    values: BTreeMap<Vec<String>, Written>,
    problems: Vec<Problem>,
}

/// A value and where it was written.
#[derive(Debug)]
struct Written {
    value: Value,
    origin: Origin,
    /// The text of a variable, while `value` is only what it looks like.
    text: Option<String>,
    /// What was wrong with what it looks like, while it is read as text.
    first_message: Option<String>,
}

impl Draft {
    fn unreadable(&mut self, path: &Path, reason: Error) {
        let path = path.to_owned();
        self.problems.push(Problem::Unreadable { path, reason });
    }

    /// Takes the values of a file, and reports the keys that do not exist.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let file = File { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let origin = file.origin(error.span().map_or(0, |span| span.start));
            let message = error.message().to_owned();
            self.problems.push(Problem::Syntax { origin, message });
        }
        // What follows a syntax error is guesswork: its keys would be reported wrongly.
        if !self.problems.is_empty() {
            return;
        }
        for (section, value) in table.get_ref() {
            self.add_section(&file, section, value);
        }
    }

    fn add_section(&mut self, file: &File<'_>, name: &Key<'_>, value: &Node<'_>) {
        let origin = file.origin(name.span().start);
        let section = name.get_ref().to_string();
        let Some(keys) = keys_of(&section) else {
            let table = value.get_ref().as_table().is_some();
            self.problems.push(if table {
                let nearest = nearest_section(&section);
                Problem::UnknownSection {
                    origin,
                    section,
                    nearest,
                }
            } else {
                unknown_key(origin, &[section])
            });
            return;
        };
        let Some(table) = value.get_ref().as_table() else {
            return self.not_a_table(origin, section);
        };
        if section != AGGREGATES {
            return self.add_keys(file, &[section], keys, table);
        }
        for (type_name, value) in table {
            let origin = file.origin(type_name.span().start);
            let path = [section.clone(), type_name.get_ref().to_string()];
            let Some(table) = value.get_ref().as_table() else {
                self.not_a_table(origin, path.join("."));
                continue;
            };
            self.write(path.to_vec(), Value::Table(Table::new()), origin, None);
            self.add_keys(file, &path, keys, table);
        }
    }

    fn add_keys(&mut self, file: &File<'_>, at: &[String], keys: &[&str], table: &DeTable<'_>) {
        for (key, value) in table {
            let origin = file.origin(key.span().start);
            let name = key.get_ref().to_string();
            let path = [at, std::slice::from_ref(&name)].concat();
            if !keys.contains(&name.as_str()) {
                self.problems.push(unknown_key(origin, &path));
                continue;
            }
            match Value::deserialize(value.clone().into_deserializer()) {
                Ok(value) => self.write(path, value, origin, None),
                Err(error) => self.problems.push(Problem::InvalidValue {
                    origin,
                    key: path.join("."),
                    message: format!("is no value: {}", error.message()),
                }),
            }
        }
    }

    fn not_a_table(&mut self, origin: Origin, key: String) {
        let message = format!("must be a table, which begins with [{key}]");
        self.problems.push(Problem::InvalidValue {
            origin,
            key,
            message,
        });
    }

    fn write(&mut self, path: Vec<String>, value: Value, origin: Origin, text: Option<String>) {
        let written = Written {
            value,
            origin,
            text,
            first_message: None,
        };
        self.values.insert(path, written);
    }

    /// Takes a variable if it is ours, over what the file says.
    pub(super) fn add_env(&mut self, name: &str, text: &str) {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            return;
        };
        let origin = Origin::Env {
            name: name.to_owned(),
        };
        let path = env_path(rest);
        let known = match path.as_slice() {
            [section, key] if section != AGGREGATES => keys_of(section).map(|keys| (keys, key)),
            [section, _, key] if section == AGGREGATES => keys_of(section).map(|keys| (keys, key)),
            _ => None,
        };
        if !known.is_some_and(|(keys, key)| keys.contains(&key.as_str())) {
            return self.problems.push(unknown_key(origin, &path));
        }
        let value = scalar(text).unwrap_or_else(|| Value::String(text.to_owned()));
        self.write(path, value, origin, Some(text.to_owned()));
    }

    /// The settings, or everything that is wrong.
    ///
    /// Reading stops at the first wrong value; it is reported and taken out, and the rest is read
    /// again. Each turn settles one value, so there are at most two turns for each.
    pub(super) fn finish(mut self) -> Result<Settings, SettingsError> {
        let settings = loop {
            match read(&self.values) {
                Ok(settings) => break settings,
                Err((path, message)) => self.settle(&path, message),
            }
        };
        if self.problems.is_empty() {
            self.check("http", settings.http.check());
            self.check("tls", settings.tls.check());
            self.check("store", settings.store.check());
            self.check("streams", settings.streams.check());
            self.check("iam", settings.iam.check());
        }
        if self.problems.is_empty() {
            return Ok(settings);
        }
        self.problems
            .sort_by(|left, right| left.origin().cmp(&right.origin()));
        Err(SettingsError {
            problems: self.problems,
        })
    }

    /// Reports the value at `path` and takes it out, or gives a variable its second reading.
    fn settle(&mut self, path: &[String], message: String) {
        let mut prefixes = (0..=path.len()).rev().map(|length| &path[..length]);
        let found = prefixes.find_map(|path| self.values.remove_entry(path));
        let Some((path, mut written)) = found.or_else(|| self.values.pop_first()) else {
            return;
        };
        let message = written.first_message.take().unwrap_or(message);
        if let Some(text) = written.text.take()
            && !written.value.is_str()
        {
            // It looks like a number, but the key may want text: only the type can tell.
            written.value = Value::String(text);
            written.first_message = Some(message);
            self.values.insert(path, written);
            return;
        }
        let (origin, key) = (written.origin, path.join("."));
        self.problems.push(Problem::InvalidValue {
            origin,
            key,
            message,
        });
    }

    fn check(&mut self, section: &str, checked: Result<(), (&'static str, String)>) {
        let Err((key, message)) = checked else {
            return;
        };
        let path = vec![section.to_owned(), key.to_owned()];
        // Two values that do not go together: at least one of them was written.
        let section_of = |(path, _): &(&Vec<String>, &Written)| path[0] == section;
        let written = self.values.get(&path);
        let written =
            written.or_else(|| self.values.iter().find(section_of).map(|(_, found)| found));
        if let Some(written) = written {
            let (origin, key) = (written.origin.clone(), path.join("."));
            self.problems.push(Problem::InvalidValue {
                origin,
                key,
                message,
            });
        }
    }
}

fn unknown_key(origin: Origin, path: &[String]) -> Problem {
    let (key, nearest) = (path.join("."), nearest_key(path));
    Problem::UnknownKey {
        origin,
        key,
        nearest,
    }
}

/// Reads all values, or says which key is wrong and why.
fn read(values: &BTreeMap<Vec<String>, Written>) -> Result<Settings, (Vec<String>, String)> {
    let mut root = Table::new();
    for (path, written) in values {
        insert(&mut root, path, written.value.clone());
    }
    serde_path_to_error::deserialize(Value::Table(root)).map_err(|error| {
        let segments = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
        });
        (segments.collect(), error.inner().message().to_owned())
    })
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = table
                .entry(key)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
