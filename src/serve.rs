//! `dormouse serve`: the server, from the open store to the last answer.

use std::process::ExitCode;

use dormouse::settings::Settings;

/// Runs the command to its end.
pub(crate) fn run(_settings: &Settings) -> ExitCode {
    tracing::error!("serve is not wired yet");
    ExitCode::FAILURE
}
