//! `adopt`: each row without events gets its first one.

use clap::Args;
use serde_json::json;

use super::{Ended, bar, ended, say};
use crate::{
    adoption::{AdoptOptions, AdoptProgress, Adoption},
    cli::{
        CliError,
        output::{json as print_json, line},
    },
};

pub(super) const ADOPT_EXIT_CODES: &str = "\
Exit codes:
  0  every row has its first event
  1  it failed; the log on stderr says why, and the same may be run again
  2  bad usage or settings; nothing was started
  3  some rows were not adopted; each is told with its reason, the others are done";

/// What is adopted.
#[derive(Debug, Args)]
pub struct AdoptArguments {
    /// The aggregate type, such as User.
    #[arg(value_name = "TYPE")]
    aggregate_type: String,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// So many rows in one transaction.
    #[arg(long, value_name = "COUNT", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Print lines of JSON: one for each row that was not adopted, then the sums.
    #[arg(long)]
    json: bool,
}

impl AdoptArguments {
    pub(super) async fn run(self, adoption: &Adoption) -> Result<Ended, CliError> {
        let aggregate_type = &self.aggregate_type;
        let options = AdoptOptions {
            batch: self.batch,
            dry_run: self.dry_run,
        };
        let bar = bar(adoption.count_rows(aggregate_type).await?, "rows");
        let adopting = adoption.adopt(aggregate_type, options, |progress| match progress {
            AdoptProgress::Rows(rows) => bar.inc(rows),
            AdoptProgress::Unadopted(row) => bar.suspend(|| {
                let (key, reason) = (&row.key, &row.reason);
                say(&if self.json {
                    json!({"aggregate_type": aggregate_type, "key": key, "reason": reason})
                        .to_string()
                } else {
                    format!("{aggregate_type}/{key} is not adopted: {reason}")
                });
            }),
        });
        let sums = adopting.await?;
        bar.finish_and_clear();
        let table = &adoption.table(aggregate_type)?.name;
        if self.json {
            print_json(&json!({
                "aggregate_type": aggregate_type, "table": table, "dry_run": self.dry_run,
                "adopted": sums.adopted, "had_events": sums.had_events, "refused": sums.refused,
            }))?;
        } else {
            let would = if self.dry_run { "would be" } else { "are" };
            line(format_args!(
                "{} rows of {table} {would} adopted as {aggregate_type}, {} had events before, {} \
                 cannot be adopted",
                sums.adopted, sums.had_events, sums.refused
            ))?;
        }
        Ok(ended(sums.refused == 0))
    }
}
