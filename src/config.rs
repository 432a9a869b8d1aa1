//! `dormouse config`: the settings in force.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use dormouse::{
    cli::{CliError, unless_reader_left},
    settings::{Settings, SettingsError, ShownSetting},
};
use serde_json::json;

use crate::run::failed;

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
    let printed = print(&shown, as_json).map_err(CliError::from);
    Ok(match unless_reader_left(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    })
}

fn print(shown: &[ShownSetting], as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for setting in shown {
        let line = if as_json {
            json_line(setting)
        } else {
            text_line(setting)
        };
        writeln!(out, "{line}")?;
    }
    out.flush()
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
