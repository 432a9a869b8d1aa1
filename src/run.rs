//! A command that works until it is done: what it runs on, and how it fails.

use std::process::ExitCode;

use dormouse::domain::error_chain;
use tracing::error;

/// Works on threads of its own.
///
/// # Errors
/// How the command ends where there are none.
pub(crate) fn to_its_end<T>(work: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(error) => {
            error!(%error, "no thread can be started");
            Err(ExitCode::FAILURE)
        }
    }
}

/// Tells whoever typed the command, in words and not as a line of a log.
pub(crate) fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", error_chain(error));
    ExitCode::from(code)
}
