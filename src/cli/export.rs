//! `export`: the log, or what filters mean of it, as lines of JSON.

use std::io::{self, BufWriter, Write as _};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    CliError,
    filter::FilterOptions,
    portable::{self, Secrets},
};
use crate::{
    domain::Position,
    store::{EventFilter, EventStore, LogQuery, Order},
};

/// Events asked of the store at a time.
const PAGE: u32 = 1000;
const BAR: &str = "{bar:40} position {human_pos} of {human_len}, {per_sec}, {eta} left";

const EXAMPLES: &str = "\
Examples:
  dormouse export > log.jsonl
  dormouse export --include-secrets --type User > users.jsonl
  dormouse export --format cloudevents --from 2026-01-01 | gzip > events.jsonl.gz

Each line is one event, in the order of the log, up to what is stored when the export begins. Without
--include-secrets password hashes and the like are left out, and such an event says `redacted`;
`dormouse import` refuses it unless it is told otherwise. Receipts of commands are not exported: a
command that is sent again to the other log under its old key is a new one there.";

/// What is exported, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    filter: FilterOptions,
    /// Begin behind this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// As dormouse shows events everywhere, or as `CloudEvents` 1.0.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write secrets too, such as password hashes: for another log, and for nobody to read.
    #[arg(long)]
    include_secrets: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Dormouse,
    Cloudevents,
}

impl Export {
    pub(super) async fn run(self, store: &dyn EventStore) -> Result<(), CliError> {
        let secrets = if self.include_secrets {
            Secrets::Included
        } else {
            Secrets::LeftOut
        };
        let write = match self.format {
            Format::Dormouse => portable::own,
            Format::Cloudevents => portable::cloud_event,
        };
        let end = store.last_position().await?;
        let bar = bar(end.get());
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout());
        let mut query = LogQuery {
            filter: EventFilter::from(self.filter),
            order: Order::Ascending,
            after: Some(Position::new(self.after.unwrap_or(0))),
            limit: PAGE,
        };
        loop {
            let page = store.query_log(&query).await?;
            for event in &page.events {
                // What was stored since is for the next export.
                if event.position > end {
                    break;
                }
                let line = write(event, secrets).map_err(io::Error::from)?;
                out.write_all(line.as_bytes())?;
                out.write_all(b"\n")?;
            }
            query.after = Some(page.read_to);
            bar.set_position(page.read_to.get().min(end.get()));
            if page.read_to >= end {
                out.flush()?;
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }
}

/// Draws on stderr, and only where that is a terminal.
fn bar(end: u64) -> ProgressBar {
    let bar = ProgressBar::new(end);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}
