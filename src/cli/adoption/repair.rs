//! `repair`: one row and its events are made to agree.

use clap::{Args, ValueEnum};

use super::{Ended, told::told};
use crate::{
    adoption::{Adoption, Examined, Repair, RepairFrom, Repaired},
    cli::{
        CliError,
        output::{line, number, table, text},
    },
    domain::{AggregateId, CreatedBy},
};

pub(super) const REPAIR_EXIT_CODES: &str = "\
Exit codes:
  0  row and events agree, now or already
  1  it failed, and nothing was changed; the log on stderr says why
  2  bad usage or settings; nothing was started
  3  they do not agree, and --dry-run kept it so";

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
    pub(super) dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Believed {
    /// The events: the row is written anew.
    Events,
    /// The row: an event tells the log.
    Row,
}

impl RepairArguments {
    pub(super) async fn run(self, adoption: &Adoption) -> Result<Ended, CliError> {
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
