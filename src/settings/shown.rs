//! The settings in force, for people and programs to look at: each with where it was written, none
//! with a secret.

use std::path::Path;

use toml::Value;

use super::{Origin, Settings, SettingsError, Writers, load, store_url::without_password};

/// The file in the repository, in which each key stands with its default; a test holds it to that.
const DEFAULTS: &str = include_str!("../../config.toml");
/// The keys whose values are secrets.
const SECRETS: &[&str] = &["auth.login_key"];
/// What stands for a secret.
const HIDDEN: &str = "\"***\"";

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key, with its section: `store.pool`.
    pub key: String,
    /// Its value as TOML; of a secret, only that there is one.
    pub value: String,
    /// Where it was written; nothing where it is the default.
    pub origin: Option<Origin>,
}

impl Settings {
    /// The settings in force, each with where it was written, none with a secret.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn shown(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Vec<ShownSetting>, SettingsError> {
        let draft = load::drafted(file, env);
        let mut written = draft.written();
        let settings = draft.finish()?;
        let mut shown = Vec::new();
        for (key, default) in defaults() {
            let found = written.iter().position(|(other, ..)| *other == key);
            shown.push(match found.map(|found| written.remove(found)) {
                Some((key, value, origin)) => setting(key, &value, Some(origin)),
                // Of this one the default depends on the store.
                None if key == "store.writers" => ShownSetting {
                    value: match settings.store.writers() {
                        Writers::Exclusive => "\"exclusive\"".to_owned(),
                        Writers::Shared => "\"shared\"".to_owned(),
                    },
                    origin: None,
                    key,
                },
                None => ShownSetting {
                    value: default,
                    origin: None,
                    key,
                },
            });
        }
        // Those of aggregate types, whose names only the file and the environment know.
        let types = written
            .into_iter()
            .filter(|(_, value, _)| !value.is_table());
        shown.extend(types.map(|(key, value, origin)| setting(key, &value, Some(origin))));
        Ok(shown)
    }
}

fn setting(key: String, value: &Value, origin: Option<Origin>) -> ShownSetting {
    let is_secret = SECRETS.contains(&key.as_str()) && value.as_str() != Some("");
    let value = match value.as_str() {
        _ if is_secret => HIDDEN.to_owned(),
        Some(text) => Value::String(without_password(text)).to_string(),
        None => value.to_string(),
    };
    ShownSetting { key, value, origin }
}

/// Each key with its default, but for those of aggregate types.
fn defaults() -> Vec<(String, String)> {
    let mut section = "";
    let mut defaults = Vec::new();
    for line in DEFAULTS.lines() {
        let Some(line) = line.strip_prefix('#') else {
            continue;
        };
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ")
            && !line.starts_with(' ')
            && !section.starts_with("aggregates")
        {
            defaults.push((format!("{section}.{key}"), value.to_owned()));
        }
    }
    defaults
}
