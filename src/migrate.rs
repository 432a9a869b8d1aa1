//! `dormouse migrate`: brings the schema of the store up to date.

use std::process::ExitCode;

use dormouse::settings::Settings;

/// Runs the command to its end.
pub(crate) fn run(_settings: &Settings) -> ExitCode {
    tracing::error!("migrate is not wired yet");
    ExitCode::FAILURE
}
