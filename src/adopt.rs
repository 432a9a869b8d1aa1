//! `dormouse adopt`, `verify` and `repair`: the library's commands, with the reference domain.

use std::process::ExitCode;

use dormouse::{
    cli::{AdoptionCommand, AdoptionEnded},
    iam,
    settings::Settings,
};

use crate::run::{failed, to_its_end};

/// The exit code for rows and events that do not agree, and for rows that were not adopted.
const FINDINGS: u8 = 3;

/// Runs a command to its end.
pub(crate) fn run(command: AdoptionCommand, settings: &Settings) -> ExitCode {
    match to_its_end(command.run(settings, iam::adoption)) {
        Ok(Ok(AdoptionEnded::Well)) => ExitCode::SUCCESS,
        Ok(Ok(AdoptionEnded::WithFindings)) => ExitCode::from(FINDINGS),
        Ok(Err(error)) => failed(&error, 1),
        Err(code) => code,
    }
}
