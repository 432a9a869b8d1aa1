//! `dormouse keys`: the library's commands on API keys.

use std::process::ExitCode;

use dormouse::{cli::KeysCommand, settings::Settings};
use tracing::error;

use crate::history::failed;

/// The exit code for what is not there.
const NOT_FOUND: u8 = 3;

/// Runs the command to its end.
pub(crate) fn run(command: KeysCommand, settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no thread can be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command.run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_not_found() => failed(&error, NOT_FOUND),
        Err(error) => failed(&error, 1),
    }
}
