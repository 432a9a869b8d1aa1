//! `aggregate show` and `aggregate diff`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    CliError,
    changes::{Change, changes},
    filter, output,
};
use crate::{
    domain::{AggregateId, CreatedBy, EventId, Version},
    runtime::{At, Runtime, StateView, Steps},
    store::RecordedEvent,
};

/// Events read at a time.
const PAGE: u32 = 1000;

const SHOW_EXAMPLES: &str = "\
Examples:
  dormouse aggregate show User u1
  dormouse aggregate show User u1 --version 3
  dormouse aggregate show User u1 --at 2026-01-31T12:00:00Z --json | jq .state.email

Exit codes:
  0  printed
  1  it failed; stderr says why
  2  bad usage or settings
  3  the aggregate has no events (by then)";

const DIFF_EXAMPLES: &str = "\
Examples:
  dormouse aggregate diff User u1
  dormouse aggregate diff User u1 --from 2 --to 5 --json

Each change is told with the event that made it: version, time, who, and what was there before.

Exit codes: as of `aggregate show`.";

/// Commands on one aggregate.
#[derive(Debug, Subcommand)]
pub enum AggregateCommand {
    /// Print the state of an aggregate, now or as it was.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Print what changed between two versions, field by field, and by whom.
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Diff),
}

/// One aggregate.
#[derive(Debug, Args)]
struct Which {
    /// Its type, such as `User`.
    #[arg(value_name = "TYPE")]
    aggregate_type: String,
    /// Its id.
    #[arg(value_name = "ID")]
    aggregate_id: AggregateId,
}

/// The options of `aggregate show`.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// As it was at this version.
    #[arg(long, value_name = "N", conflicts_with = "at")]
    version: Option<u64>,
    /// As it was at this time: RFC 3339, or a date for its beginning in UTC.
    #[arg(long, value_name = "TIME", value_parser = filter::time)]
    at: Option<DateTime<Utc>>,
    /// Print one JSON object, as `GET /v1/aggregates/…` shows it.
    #[arg(long)]
    json: bool,
}

/// The options of `aggregate diff`.
#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    which: Which,
    /// From the state at this version; 0 is before the first event.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// To the state at this version; without it, the newest.
    #[arg(long, value_name = "M")]
    to: Option<u64>,
    /// Print one change a line as JSON.
    #[arg(long)]
    json: bool,
}

impl AggregateCommand {
    pub(super) async fn run(self, runtime: &Runtime) -> Result<(), CliError> {
        match self {
            Self::Show(show) => show.run(runtime).await,
            Self::Diff(diff) => diff.run(runtime).await,
        }
    }
}

impl Show {
    async fn run(self, runtime: &Runtime) -> Result<(), CliError> {
        self.which.check(runtime)?;
        let found = self.read(runtime).await?;
        let found = found.ok_or_else(|| self.which.not_found(self.when()))?;
        let shown = ShownState {
            aggregate_type: &self.which.aggregate_type,
            aggregate_id: &self.which.aggregate_id,
            version: found.version,
            state: &found.state,
        };
        if self.json {
            output::json(&shown)?;
        } else {
            // A raw value would stay on one line.
            let shown = serde_json::to_value(&shown).map_err(std::io::Error::from)?;
            output::line(format!("{shown:#}"))?;
        }
        Ok(())
    }
}

impl Show {
    async fn read(&self, runtime: &Runtime) -> Result<Option<StateView>, CliError> {
        let (aggregate_type, id) = (&self.which.aggregate_type, self.which.aggregate_id.clone());
        let at = match (self.version, self.at) {
            (Some(version), _) => At::Version(Version::new(version)),
            (None, Some(time)) => At::Time(time),
            (None, None) => return Ok(runtime.state(aggregate_type, id).await?),
        };
        Ok(runtime.state_at(aggregate_type, id, at).await?)
    }

    /// As of when, in words.
    fn when(&self) -> String {
        match (self.version, self.at) {
            (Some(version), _) => format!(" at version {version}"),
            (None, Some(time)) => format!(" by {}", output::time(time)),
            (None, None) => String::new(),
        }
    }
}

/// A state, as `GET /v1/aggregates/{type}/{id}` shows it.
#[derive(Serialize)]
struct ShownState<'a> {
    aggregate_type: &'a str,
    aggregate_id: &'a AggregateId,
    version: Version,
    state: &'a RawValue,
}

/// One changed field and the event that changed it; no field where nothing that is shown changed.
#[derive(Serialize)]
struct ShownChange<'a> {
    version: Version,
    occurred_at: String,
    created_by: Option<&'a str>,
    event_type: &'a str,
    event_id: EventId,
    field: Option<&'a str>,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

impl Which {
    fn not_found(&self, when: String) -> CliError {
        CliError::NotFound {
            aggregate_type: self.aggregate_type.clone(),
            id: self.aggregate_id.clone(),
            when,
        }
    }

    /// Says which types there are, where there is none of this name.
    fn check(&self, runtime: &Runtime) -> Result<(), CliError> {
        let mut known: Vec<&str> = runtime.types().collect();
        if known.contains(&self.aggregate_type.as_str()) {
            return Ok(());
        }
        known.sort_unstable();
        Err(CliError::UnknownType {
            wanted: self.aggregate_type.clone(),
            known: known.join(", "),
        })
    }
}

impl Diff {
    async fn run(self, runtime: &Runtime) -> Result<(), CliError> {
        self.which.check(runtime)?;
        let (from, to) = (Version::new(self.from), self.to.map(Version::new));
        if let Some(to) = to.filter(|to| *to < from) {
            return Err(CliError::Backwards { from, to });
        }
        let mut printer = ChangePrinter::new(self.json);
        let mut at = from;
        loop {
            let left = to.map_or_else(|| u64::from(PAGE), |to| to.get() - at.get());
            let limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
            let (aggregate_type, id) = (&self.which.aggregate_type, &self.which.aggregate_id);
            let found = runtime.steps(aggregate_type, id.clone(), at, limit).await?;
            let Some(found) = found else {
                let when = if self.from == 0 {
                    String::new()
                } else {
                    format!(" at version {at}")
                };
                return Err(self.which.not_found(when));
            };
            printer.print(&found)?;
            let read = u32::try_from(found.steps.len()).unwrap_or(PAGE);
            at = at.plus(read.into());
            if read < PAGE {
                return printer.end();
            }
        }
    }
}

/// Changes as one table or as lines of JSON.
struct ChangePrinter {
    json: bool,
    table: Table,
}

impl ChangePrinter {
    fn new(json: bool) -> Self {
        let columns = [
            "version",
            "occurred_at",
            "by",
            "event",
            "field",
            "before",
            "after",
        ];
        Self {
            json,
            table: output::table(columns, &["before", "after"]),
        }
    }

    fn print(&mut self, found: &Steps) -> Result<(), CliError> {
        let mut before = value(&found.before)?;
        for step in &found.steps {
            let after = value(&step.state)?;
            let changes = changes(&before, &after);
            if changes.is_empty() {
                // A new password, say: who set it and when is worth a line.
                self.row(&step.event, None)?;
            }
            for change in &changes {
                self.row(&step.event, Some(change))?;
            }
            before = after;
        }
        Ok(())
    }

    fn row(&mut self, event: &RecordedEvent, change: Option<&Change>) -> Result<(), CliError> {
        let shown = ShownChange {
            version: event.version,
            occurred_at: output::time(event.occurred_at),
            created_by: event.created_by.as_ref().map(CreatedBy::as_str),
            event_type: &event.event_type,
            event_id: event.id,
            field: change.map(|change| change.field.as_str()),
            before: change.and_then(|change| change.before.as_ref()),
            after: change.and_then(|change| change.after.as_ref()),
        };
        if self.json {
            output::json(&shown)?;
            return Ok(());
        }
        let cell =
            |value: Option<&Value>| output::text(&value.map_or_else(String::new, Value::to_string));
        self.table.add_row(vec![
            output::number(shown.version),
            output::text(&shown.occurred_at),
            output::text(shown.created_by.unwrap_or_default()),
            output::text(shown.event_type),
            output::text(shown.field.unwrap_or("(nothing that is shown)")),
            cell(shown.before),
            cell(shown.after),
        ]);
        Ok(())
    }

    fn end(self) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        if self.table.is_empty() {
            eprintln!("nothing changed");
            return Ok(());
        }
        Ok(output::line(self.table)?)
    }
}

fn value(state: &RawValue) -> Result<Value, CliError> {
    Ok(serde_json::from_str(state.get()).map_err(std::io::Error::from)?)
}
