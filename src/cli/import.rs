//! `import`: events of another log enter this one, as they were, with positions of their own.
//!
//! The input is read twice. The first time everything about it is checked, and nothing is written
//! where anything is wrong. The second time it is appended in its order, a batch at a time, so what
//! a kill leaves is a beginning of the input, and the same command goes on from there: an append
//! knows what it has stored by the ids of the events.

mod check;
mod claims;
mod source;
mod write;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::source::Source;
use super::CliError;
use crate::{runtime::Runtime, store::EventStore};

const BAR: &str = "{msg} {bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left";

const EXAMPLES: &str = "\
Examples:
  dormouse import log.jsonl
  gunzip -c events.jsonl.gz | dormouse import -

Each line is an event as `dormouse export` writes it, or a CloudEvent. Ids, versions, times and all else
stay; positions are new. Versions of an aggregate must follow on one another, and on what is stored.
Types that this program does not know are taken too. What is stored already is passed over, so an
import that was broken off is begun again and goes on.

Exit codes:
  0  every event is stored
  1  it failed; begin it again
  2  bad usage or settings; nothing was started
  3  the input was refused, line by line; nothing was stored
  4  some aggregates or unique values could not be taken, and are named; all else is stored";

/// What is imported.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// Lines of JSON; `-` reads stdin.
    file: PathBuf,
    /// Take events whose secrets were left out. Users among them have no password hash, and an
    /// aggregate that needs what is missing cannot be read.
    #[arg(long)]
    allow_redacted: bool,
    /// So many events in one transaction.
    #[arg(long, value_name = "COUNT", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Only check the input; store nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What came of an import.
#[derive(Debug, Default)]
struct Sums {
    stored: u64,
    already: u64,
    /// Events of aggregates to which somebody else has written meanwhile.
    refused: u64,
    /// Claims that are another aggregate's.
    claims: u64,
}

impl Import {
    pub(super) async fn run(
        self,
        store: &Arc<dyn EventStore>,
        runtime: &Runtime,
    ) -> Result<(), CliError> {
        let source = Source::open(&self.file)?;
        let checked = check::check(&source, store, runtime, self.allow_redacted).await?;
        if self.dry_run {
            eprintln!(
                "{} events of {} aggregates can be imported",
                checked.events,
                checked.streams.len()
            );
            return Ok(());
        }
        let mut sums = write::write(&source, store, &checked, self.batch).await?;
        sums.claims = claims::take(&source, store, runtime, checked).await?;
        eprintln!(
            "{} events stored, {} were stored already, {} refused; {} unique values are another's",
            sums.stored, sums.already, sums.refused, sums.claims
        );
        if sums.refused + sums.claims > 0 {
            return Err(CliError::ImportIncomplete {
                events: sums.refused,
                claims: sums.claims,
            });
        }
        Ok(())
    }
}

/// Draws on stderr, and only where that is a terminal.
fn bar(what: &'static str, events: u64) -> ProgressBar {
    let bar = ProgressBar::new(events).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}

/// So many bytes go into one append, but for a single event that is longer.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
