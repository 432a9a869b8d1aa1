//! `dormouse keys`: the library's commands on API keys.

use std::process::ExitCode;

use dormouse::{cli::KeysCommand, settings::Settings};

use crate::run::{failed, to_its_end};

/// The exit code for what is not there.
const NOT_FOUND: u8 = 3;

/// Runs the command to its end.
pub(crate) fn run(command: KeysCommand, settings: &Settings) -> ExitCode {
    match to_its_end(command.run(settings)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.is_not_found() => failed(&error, NOT_FOUND),
        Ok(Err(error)) => failed(&error, 1),
        Err(code) => code,
    }
}
