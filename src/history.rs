//! `dormouse events`, `aggregate`, `projections`, `export` and `import`: the library's commands on the reference domain.

use std::process::ExitCode;

use dormouse::{
    cli::HistoryCommand,
    domain::error_chain,
    iam::{self, PasswordHasher, UserDirectory},
    projection::Projection as _,
    settings::Settings,
};
use tracing::error;

use crate::serve::password_settings;

/// The exit code for what is not there.
const NOT_FOUND: u8 = 3;
/// The exit code for input of which nothing was taken.
const REFUSED: u8 = 3;
/// The exit code for what was done but for a part, which was told.
const INCOMPLETE: u8 = 4;

/// Runs the command to its end.
pub(crate) fn run(command: HistoryCommand, settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no thread can be started");
            return ExitCode::FAILURE;
        }
    };
    let hasher = match PasswordHasher::new(password_settings(&settings.iam)) {
        Ok(hasher) => hasher,
        Err(error) => return failed(&error, 1),
    };
    let projections = [(UserDirectory.name(), UserDirectory.version())];
    let register = |builder| iam::register(builder, &hasher);
    let read = command.run(settings, register, &projections);
    match runtime.block_on(read) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_not_found() => failed(&error, NOT_FOUND),
        Err(error) if error.is_refused_input() => failed(&error, REFUSED),
        Err(error) if error.is_incomplete() => failed(&error, INCOMPLETE),
        Err(error) => failed(&error, 1),
    }
}

/// Tells whoever typed the command, in words and not as a line of a log.
pub(crate) fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", error_chain(error));
    ExitCode::from(code)
}
