//! The log of the binary: to stderr, as text or as JSON. The library only emits `tracing` events.

use std::error::Error;
use std::io::{IsTerminal, stderr};

use dormouse::settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

/// The variable that wins over `log.filter`, as everywhere in Rust.
const OVERRIDE: &str = "RUST_LOG";

/// Starts the log; to be called once.
///
/// # Errors
/// A filter that cannot be read, or a log that has been started before.
pub(crate) fn init(settings: &LogSettings) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = match std::env::var(OVERRIDE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives)
            .map_err(|error| format!("`{OVERRIDE}` is not a log filter: {error}"))?,
        _ => EnvFilter::try_new(&settings.filter)?,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match settings.format {
        LogFormat::Text => log.with_ansi(colours_are_welcome()).try_init(),
        LogFormat::Json => log.json().with_ansi(false).try_init(),
    }
}

/// Colours are for people at a terminal, unless they say no (<https://no-color.org>).
fn colours_are_welcome() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !refused
}
