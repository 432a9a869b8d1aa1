//! The log of the binary: to stderr, as text or as JSON. The library only emits `tracing` events.

use std::error::Error;
use std::io::{IsTerminal, stderr};

use dormouse::settings::{LogFormat, LogSettings, OtlpSettings};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

use crate::throttle::Throttled;

/// The variable that wins over `log.filter`, as everywhere in Rust.
const OVERRIDE: &str = "RUST_LOG";

/// Starts the log; to be called once.
///
/// # Errors
/// A filter that cannot be read, a collector of spans that cannot be used, or a log that has been
/// started before.
pub(crate) fn init(
    settings: &LogSettings,
    spans: &OtlpSettings,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = match std::env::var(OVERRIDE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives)
            .map_err(|error| format!("`{OVERRIDE}` is not a log filter: {error}"))?,
        _ => EnvFilter::try_new(&settings.filter)?,
    };
    let most = settings.lines_per_second;
    let lines = fmt::layer::<Registry>().with_writer(stderr);
    let lines = match settings.format {
        LogFormat::Text => lines
            .with_ansi(colours_are_welcome())
            .map_event_format(|format| Throttled::new(format, false, most))
            .boxed(),
        LogFormat::Json => lines
            .json()
            .with_ansi(false)
            .map_event_format(|format| Throttled::new(format, true, most))
            .boxed(),
    };
    registry()
        .with(lines.with_filter(filter))
        .with(exported(spans)?)
        .try_init()?;
    Ok(())
}

#[cfg(feature = "otlp")]
use crate::otlp::layer as exported;

/// This program sends no spans, and says so rather than being asked in vain.
#[cfg(not(feature = "otlp"))]
fn exported(spans: &OtlpSettings) -> Result<Option<tracing_subscriber::layer::Identity>, String> {
    if spans.endpoint.is_some() {
        return Err(
            "`otlp.endpoint`: this program was built without the feature `otlp`".to_owned(),
        );
    }
    Ok(None)
}

/// Colours are for people at a terminal, unless they say no (<https://no-color.org>).
fn colours_are_welcome() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !refused
}
