//! `dormouse config`: the settings in force.

use std::{io::Write as _, path::Path, process::ExitCode};

use dormouse::settings::{Settings, SettingsError, ShownSetting};
use serde_json::json;

/// Prints the settings in force, each with where it was written.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn run(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    as_json: bool,
) -> Result<ExitCode, SettingsError> {
    let shown = Settings::shown(file, env)?;
    let mut out = std::io::stdout().lock();
    for setting in shown {
        let line = if as_json {
            json_line(&setting)
        } else {
            text_line(&setting)
        };
        // A reader who has seen enough, such as `head`, is no failure.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn origin(setting: &ShownSetting) -> String {
    let origin = setting.origin.as_ref();
    origin.map_or_else(|| "default".to_owned(), ToString::to_string)
}

fn text_line(setting: &ShownSetting) -> String {
    let (key, value) = (&setting.key, &setting.value);
    format!("{:<60} # {}", format!("{key} = {value}"), origin(setting))
}

fn json_line(setting: &ShownSetting) -> String {
    json!({
        "key": setting.key, "value": setting.value, "origin": origin(setting),
        "is_default": setting.origin.is_none(),
    })
    .to_string()
}
