//! `adopt`, `verify` and `repair`: rows that were there before get their history, and are held
//! against it.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    CliError,
    output::{json as print_json, line, number, table, text, time},
};
use crate::{
    adoption::{
        AdoptOptions, AdoptProgress, Adoption, AdoptionBuilder, ColumnDifference, Drift, EventRef,
        Examined, Finding, Repair, RepairFrom, Repaired, VerifyOptions, VerifyProgress,
    },
    domain::{AggregateId, CreatedBy},
    settings::{Settings, StoreKind},
    store,
};

const BAR: &str = "{bar:40} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left";

const ADOPT_EXIT_CODES: &str = "\
Exit codes:
  0  every row has its first event
  1  it failed; the log on stderr says why, and the same may be run again
  2  bad usage or settings; nothing was started
  3  some rows were not adopted; each is told with its reason, the others are done";

const VERIFY_EXIT_CODES: &str = "\
Exit codes:
  0  every row agrees with its events
  1  it failed; the log on stderr says why
  2  bad usage or settings; nothing was started
  3  some do not agree; each is told";

const REPAIR_EXIT_CODES: &str = "\
Exit codes:
  0  row and events agree, now or already
  1  it failed, and nothing was changed; the log on stderr says why
  2  bad usage or settings; nothing was started
  3  they do not agree, and --dry-run kept it so";

/// What can be done to the rows of a system that was there before.
#[derive(Debug, Subcommand)]
pub enum AdoptionCommand {
    /// Give each row of a type that has no events its first one.
    ///
    /// The event has the row's state, creator and time. It may be broken off at any point and run
    /// again: each row is adopted once. On PostgreSQL it may run beside servers. On SQLite the
    /// server must be stopped: the file has one writer.
    #[command(after_help = ADOPT_EXIT_CODES)]
    Adopt(AdoptArguments),
    /// Compare rows with their events; nothing is written.
    ///
    /// Told are rows that are missing, rows without events, and the first column that differs with
    /// the event that should have set it. It may run beside servers, on SQLite too.
    #[command(after_help = VERIFY_EXIT_CODES)]
    Verify(VerifyArguments),
    /// Make one row and its events agree; what differs is shown first.
    ///
    /// From the events the row is written anew; from the row an event with the reason tells the
    /// log. History is never changed. On PostgreSQL it may run beside servers; on SQLite the
    /// server must be stopped, except with --dry-run.
    #[command(after_help = REPAIR_EXIT_CODES)]
    Repair(RepairArguments),
}

/// What is adopted.
#[derive(Debug, Args)]
pub struct AdoptArguments {
    /// The aggregate type, such as User.
    #[arg(value_name = "TYPE")]
    aggregate_type: String,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// So many rows in one transaction.
    #[arg(long, value_name = "COUNT", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Print lines of JSON: one for each row that was not adopted, then the sums.
    #[arg(long)]
    json: bool,
}

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

/// What is repaired.
#[derive(Debug, Args)]
pub struct RepairArguments {
    /// The aggregate type, such as User.
    #[arg(value_name = "TYPE")]
    aggregate_type: String,
    /// The aggregate's id, the row's key.
    #[arg(value_name = "ID")]
    id: AggregateId,
    /// Which of the two is believed.
    #[arg(long, value_enum)]
    from: Believed,
    /// Why; it stands in the event. Needed with --from row.
    #[arg(
        long,
        value_name = "TEXT",
        required_if_eq("from", "row"),
        default_value = ""
    )]
    reason: String,
    /// Who repairs it, as stored with the event or the row [default: the user of the shell].
    #[arg(long, value_name = "NAME")]
    by: Option<CreatedBy>,
    /// Show what differs, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Believed {
    /// The events: the row is written anew.
    Events,
    /// The row: an event tells the log.
    Row,
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is as it should be.
    Well,
    /// Something was told that is not.
    WithFindings,
}

impl AdoptionCommand {
    /// Runs the command on the store of these settings, with the types that `register` adds.
    ///
    /// # Errors
    /// [`CliError`], fit to be shown to whoever typed the command.
    pub async fn run(
        self,
        settings: &Settings,
        register: impl FnOnce(AdoptionBuilder) -> AdoptionBuilder,
    ) -> Result<Ended, CliError> {
        if settings.store.url.kind() == StoreKind::Memory {
            return Err(CliError::NothingToRead);
        }
        let mut own = settings.store.clone();
        // Whoever adopts does not mean to migrate.
        own.migrate = false;
        let store = if self.only_reads() {
            store::open_to_read(&own).await?
        } else {
            store::open(&own).await?
        };
        let builder = Adoption::builder(Arc::clone(&store)).settings(settings.clone());
        let adoption = register(builder).build()?;
        let done = match self {
            Self::Adopt(arguments) => arguments.run(&adoption).await,
            Self::Verify(arguments) => arguments.run(&adoption, settings).await,
            Self::Repair(arguments) => arguments.run(&adoption).await,
        };
        store.close().await;
        done
    }

    const fn only_reads(&self) -> bool {
        match self {
            Self::Adopt(arguments) => arguments.dry_run,
            Self::Verify(_) => true,
            Self::Repair(arguments) => arguments.dry_run,
        }
    }
}

/// Draws on stderr, and only where that is a terminal.
fn bar(len: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(len).with_message(what);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
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

impl AdoptArguments {
    async fn run(self, adoption: &Adoption) -> Result<Ended, CliError> {
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

const fn ended(well: bool) -> Ended {
    if well {
        Ended::Well
    } else {
        Ended::WithFindings
    }
}

impl VerifyArguments {
    async fn run(self, adoption: &Adoption, settings: &Settings) -> Result<Ended, CliError> {
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

impl RepairArguments {
    async fn run(self, adoption: &Adoption) -> Result<Ended, CliError> {
        let examined = adoption
            .examine(&self.aggregate_type, self.id.clone())
            .await?;
        let Some(finding) = examined.finding() else {
            line(format_args!("{}: row and events agree", examined.stream()))?;
            return Ok(Ended::Well);
        };
        line(told(&self.aggregate_type, &finding, false))?;
        show(&examined)?;
        if self.dry_run {
            return Ok(Ended::WithFindings);
        }
        let stream = examined.stream().clone();
        let repair = Repair {
            from: match self.from {
                Believed::Events => RepairFrom::Events,
                Believed::Row => RepairFrom::Row,
            },
            reason: self.reason,
            created_by: self.by.or_else(user_of_the_shell),
        };
        match adoption.repair(examined, &repair).await? {
            Repaired::Agreed => line(format_args!("{stream}: row and events agree"))?,
            Repaired::RowWritten => {
                line(format_args!("{stream}: the row is written from the events"))?;
            }
            Repaired::EventAppended {
                event_type,
                version,
            } => line(format_args!(
                "{stream}: {event_type} is appended as version {version}"
            ))?,
        }
        Ok(Ended::Well)
    }
}

/// Whoever is logged in, where that is a name the log can hold.
fn user_of_the_shell() -> Option<CreatedBy> {
    CreatedBy::parse(&std::env::var("USER").ok()?).ok()
}

fn show(examined: &Examined) -> Result<(), CliError> {
    let mut shown = table(
        ["column", "row", "events", "set by", "version"],
        &["row", "events"],
    );
    let or_none = |value: &Option<String>| text(value.as_deref().unwrap_or("(none)"));
    for difference in examined.differences() {
        let event = difference.event.as_ref();
        shown.add_row([
            text(difference.column),
            or_none(&difference.row),
            or_none(&difference.events),
            text(event.map_or("", |event| &event.event_type)),
            event.map_or_else(|| text(""), |event| number(event.version)),
        ]);
    }
    Ok(line(shown)?)
}

fn told(aggregate_type: &str, finding: &Finding, as_json: bool) -> String {
    if as_json {
        let mut line = serde_json::to_value(finding).unwrap_or_default();
        line["aggregate_type"] = aggregate_type.into();
        return line.to_string();
    }
    let of = |event: &Option<EventRef>| event.as_ref().map_or_else(String::new, by);
    let what = match &finding.drift {
        Drift::RowMissing { event } => format!("the row is missing{}", of(event)),
        Drift::NoEvents => "the row has no events".to_owned(),
        Drift::NotAdoptable { problem } => {
            format!("the row has no events and cannot be adopted: {problem}")
        }
        Drift::RowLeft { event } => {
            format!(
                "the row is there, though the events have ended it{}",
                of(event)
            )
        }
        Drift::Differs { first, others } => differs(first, others),
        Drift::Unfoldable { problem } => format!("its events cannot be folded: {problem}"),
        Drift::Unsettled => "it kept changing while it was compared".to_owned(),
    };
    format!("{aggregate_type}/{}: {what}", finding.key)
}

fn differs(first: &ColumnDifference, others: &[&str]) -> String {
    let event = first.event.as_ref().map_or_else(String::new, by);
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let (row, events) = (value(&first.row), value(&first.events));
    let also = if others.is_empty() {
        String::new()
    } else {
        format!("; also {}", others.join(", "))
    };
    format!(
        "`{}` is {row} in the row and {events} by the events{event}{also}",
        first.column
    )
}

fn by(event: &EventRef) -> String {
    format!(
        " ({} at version {}, {})",
        event.event_type,
        event.version,
        time(event.occurred_at)
    )
}

/// A line on stdout while work goes on. Whoever reads it may have seen enough.
fn say(text: &str) {
    let _ = line(text);
}
