//! `verify`: rows are held against their events.

use std::{num::NonZeroUsize, thread::available_parallelism};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Ended, bar, ended, say, told::told};
use crate::{
    adoption::{Adoption, VerifyOptions, VerifyProgress},
    cli::{
        CliError,
        output::{json as print_json, line},
    },
    settings::Settings,
};

pub(super) const VERIFY_EXIT_CODES: &str = "\
Exit codes:
  0  every row agrees with its events
  1  it failed; the log on stderr says why
  2  bad usage or settings; nothing was started
  3  some do not agree; each is told";

/// What is verified.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The aggregate type [default: every type whose mode has rows, or else every mapped one].
    #[arg(value_name = "TYPE")]
    aggregate_type: Option<String>,
    /// Print lines of JSON: one for each that does not agree, then the sums of each type.
    #[arg(long)]
    json: bool,
    /// Compare so many of each type, drawn at random.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// So many pages at once [default: one for each core].
    #[arg(long, value_name = "COUNT")]
    parallel: Option<NonZeroUsize>,
}

impl VerifyArguments {
    pub(super) async fn run(
        self,
        adoption: &Adoption,
        settings: &Settings,
    ) -> Result<Ended, CliError> {
        let types = match &self.aggregate_type {
            Some(aggregate_type) => vec![aggregate_type.clone()],
            None => with_rows(adoption, settings),
        };
        let mut well = true;
        for aggregate_type in types {
            well &= self.one(adoption, &aggregate_type).await?;
        }
        Ok(ended(well))
    }

    async fn one(&self, adoption: &Adoption, aggregate_type: &str) -> Result<bool, CliError> {
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let options = VerifyOptions {
            parallel: self.parallel.unwrap_or(cores).get(),
            sample: self.sample,
            ..VerifyOptions::default()
        };
        let bar = bar(adoption.count_rows(aggregate_type).await?, "rows");
        let verifying = adoption.verify(aggregate_type, options, |progress| match progress {
            VerifyProgress::Compared(count) | VerifyProgress::PassedOver(count) => {
                pass(&bar, count);
            }
            VerifyProgress::Finding(finding) => {
                bar.suspend(|| say(&told(aggregate_type, &finding, self.json)));
            }
        });
        let sums = verifying.await?;
        bar.finish_and_clear();
        let table = &adoption.table(aggregate_type)?.name;
        if self.json {
            print_json(&json!({
                "aggregate_type": aggregate_type, "table": table, "compared": sums.compared,
                "drifted": sums.drifted,
            }))?;
        } else {
            line(format_args!(
                "{aggregate_type} in {table}: {} compared, {} do not agree with their events",
                sums.compared, sums.drifted
            ))?;
        }
        Ok(sums.drifted == 0)
    }
}

/// The types whose rows are kept; all that are mapped where none is said to be.
fn with_rows(adoption: &Adoption, settings: &Settings) -> Vec<String> {
    let all: Vec<String> = adoption.types().map(str::to_owned).collect();
    let has_rows = |name: &&String| settings.aggregate(name).mode.has_rows();
    let kept: Vec<String> = all.iter().filter(has_rows).cloned().collect();
    if kept.is_empty() { all } else { kept }
}

/// So many more are passed. Aggregates without a row come behind the rows, and how many they are
/// nobody knows before: then the bar grows.
fn pass(bar: &ProgressBar, count: u64) {
    let passed = bar.position() + count;
    if bar.length().is_some_and(|length| length < passed) {
        bar.set_length(passed);
    }
    bar.inc(count);
}
