//! `dormouse events`, `aggregate`, `projections`, `export` and `import`: the library's commands on the reference domain.

use std::process::ExitCode;

use dormouse::{
    cli::HistoryCommand,
    iam::{self, PasswordHasher, UserDirectory},
    projection::Projection as _,
    settings::Settings,
};

use crate::{
    run::{failed, to_its_end},
    serve::password_settings,
};

/// The exit code for what is not there.
const NOT_FOUND: u8 = 3;
/// The exit code for input of which nothing was taken.
const REFUSED: u8 = 3;
/// The exit code for what was done but for a part, which was told.
const INCOMPLETE: u8 = 4;

/// Runs the command to its end.
pub(crate) fn run(command: HistoryCommand, settings: &Settings) -> ExitCode {
    let hasher = match PasswordHasher::new(password_settings(&settings.iam)) {
        Ok(hasher) => hasher,
        Err(error) => return failed(&error, 1),
    };
    let projections = [(UserDirectory.name(), UserDirectory.version())];
    let register = |builder| iam::register(builder, &hasher);
    let read = command.run(settings, register, &projections);
    match to_its_end(read) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.is_not_found() => failed(&error, NOT_FOUND),
        Ok(Err(error)) if error.is_refused_input() => failed(&error, REFUSED),
        Ok(Err(error)) if error.is_incomplete() => failed(&error, INCOMPLETE),
        Ok(Err(error)) => failed(&error, 1),
        Err(code) => code,
    }
}
