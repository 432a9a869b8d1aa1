//! `dormouse adopt`, `verify` and `repair`: the library's commands, with the reference domain.

use std::process::ExitCode;

use dormouse::{
    cli::{AdoptionCommand, AdoptionEnded},
    domain::error_chain,
    iam,
    settings::Settings,
};
use tracing::error;

/// The exit code for rows and events that do not agree, and for rows that were not adopted.
const FINDINGS: u8 = 3;

/// Runs a command to its end.
pub(crate) fn run(command: AdoptionCommand, settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no thread can be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command.run(settings, iam::adoption)) {
        Ok(AdoptionEnded::Well) => ExitCode::SUCCESS,
        Ok(AdoptionEnded::WithFindings) => ExitCode::from(FINDINGS),
        Err(error) => {
            // To whoever typed the command, in words and not as a line of a log.
            eprintln!("error: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}
