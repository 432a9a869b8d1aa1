//! `dormouse import` of a log that another program wrote, as a process of its own.

use std::{
    error::Error,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use dormouse::settings::StoreUrl;
use serde_json::json;
use ulid::Ulid;

use crate::memory;

/// Events of each aggregate.
const EACH: u64 = 10;
/// When the first happened, in milliseconds since 1970.
const BEGAN_MS: u64 = 1_790_000_000_000;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(20);

/// Writes so many events, about [`EACH`] of each aggregate, one aggregate after another and round
/// again, as a log has them.
pub(crate) fn write(file: &Path, events: u64) -> Result<(), Box<dyn Error>> {
    let aggregates = events.div_ceil(EACH);
    let mut lines = BufWriter::new(File::create(file)?);
    for number in 0..events {
        let time = BEGAN_MS + number;
        let at = chrono::DateTime::from_timestamp_millis(i64::try_from(time)?);
        let id = |nth: u64| Ulid::from_parts(time, u128::from(number * 2 + nth)).to_string();
        let line = json!({
            "id": id(0), "aggregate_id": format!("invoice{}", number % aggregates),
            "aggregate_type": "Invoice", "event_type": "InvoiceNotedEvent",
            "event_data": {"note": format!("note {number}"), "total": number, "currency": "EUR"},
            "version": number / aggregates + 1, "position": number + 1, "schema_version": 1,
            "occurred_at": at, "created_by": "them", "correlation_id": id(1), "causation_id": null,
        });
        writeln!(lines, "{line}")?;
    }
    lines.flush()?;
    Ok(())
}

/// Imports a file, and gives how long that took and the most memory that was held, in MiB.
pub(crate) fn run(
    file: &Path,
    store: &StoreUrl,
) -> Result<(Duration, Option<u64>), Box<dyn Error>> {
    let started = Instant::now();
    let mut importing = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .arg("import")
        .arg(file)
        .env("DORMOUSE__STORE__URL", store.expose())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut peak = None;
    // A peak only grows, so the last look is the best.
    while importing.try_wait()?.is_none() {
        peak = memory::peak_mib_of(&importing.id().to_string()).or(peak);
        sleep(LOOK);
    }
    let took = started.elapsed();
    let output = importing.wait_with_output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok((took, peak))
}
