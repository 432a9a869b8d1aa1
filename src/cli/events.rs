//! `events query` and `events tail`.

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum, builder::RangedU64ValueParser};
use comfy_table::Table;

use super::{CliError, filter::FilterOptions, output};
use crate::{
    domain::Position,
    projection::Subscriptions,
    settings::Settings,
    store::{EventFilter, EventStore, EventView, LogQuery, Order, RecordedEvent},
};

/// Events asked of the store at a time.
const PAGE: u32 = 1000;
/// Rows of a table that are lined up with each other.
const ROWS: usize = 200;

const QUERY_EXAMPLES: &str = "\
Examples:
  dormouse events query --type User --created-by ada --order desc --limit 20
  dormouse events query --event-type UserDeletedEvent --from 2026-01-01 --json | jq -r .aggregate_id

On a terminal the data is cut off at the end of the line. With --json each line is one event, as
GET /v1/events shows it.";

const TAIL_EXAMPLES: &str = "\
Examples:
  dormouse events tail
  dormouse events tail --after 0 --type User --json
  dormouse events tail --after 15000 --json >> copy.jsonl

It goes on until it is stopped. To go on later where it ended, give the position of the last event
seen to --after: no event is missing and none comes twice.";

/// Commands on events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print the events that meet every filter.
    #[command(after_help = QUERY_EXAMPLES)]
    Query(Query),
    /// Print events as they are stored, until stopped.
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
}

/// The options of `events query`.
#[derive(Debug, Args)]
pub struct Query {
    #[command(flatten)]
    filter: FilterOptions,
    /// By position: the oldest first, or the newest.
    #[arg(long, value_enum, default_value_t)]
    order: Direction,
    /// Begin behind this position, in the order asked for.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Print so many events at most.
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    limit: u64,
    /// Print every event there is.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The options of `events tail`.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    filter: FilterOptions,
    /// Begin behind this position (0: with the first event); without it, with what comes from now.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Direction {
    #[default]
    Asc,
    Desc,
}

impl EventsCommand {
    pub(super) async fn run(
        self,
        store: &Arc<dyn EventStore>,
        settings: &Settings,
    ) -> Result<(), CliError> {
        match self {
            Self::Query(query) => query.run(&**store).await,
            Self::Tail(tail) => tail.run(store, settings).await,
        }
    }
}

impl Query {
    async fn run(self, store: &dyn EventStore) -> Result<(), CliError> {
        let mut left = if self.all { u64::MAX } else { self.limit };
        let mut printer = Printer::new(self.json);
        let mut query = LogQuery {
            filter: EventFilter::from(self.filter),
            order: match self.order {
                Direction::Asc => Order::Ascending,
                Direction::Desc => Order::Descending,
            },
            after: self.after.map(Position::new),
            limit: PAGE,
        };
        loop {
            query.limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
            let events = store.query_log(&query).await?.events;
            left -= events.len() as u64;
            query.after = events.last().map(|event| event.position);
            let full = events.len() == query.limit as usize;
            printer.print(&events.iter().collect::<Vec<_>>())?;
            if !full {
                return printer.end();
            }
            if left == 0 {
                printer.end()?;
                if !self.all
                    && let Some(last) = query.after
                {
                    eprintln!("there may be more: --after {last}, --limit N, or --all");
                }
                return Ok(());
            }
        }
    }
}

impl Tail {
    async fn run(self, store: &Arc<dyn EventStore>, settings: &Settings) -> Result<(), CliError> {
        let after = match self.after {
            Some(after) => Position::new(after),
            None => store.last_position().await?,
        };
        let filter = EventFilter::from(self.filter);
        let subscriptions = Subscriptions::new(Arc::clone(store), settings.streams.clone());
        let mut subscription = subscriptions.subscribe(filter, after);
        let mut printer = Printer::new(self.json);
        loop {
            let page = subscription.next_page().await?;
            printer.print(&page.iter().collect::<Vec<_>>())?;
            printer.end()?;
        }
    }
}

/// Events as tables or as lines of JSON.
struct Printer {
    json: bool,
    table: Table,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self {
            json,
            table: empty(),
        }
    }

    fn print(&mut self, events: &[&RecordedEvent]) -> Result<(), CliError> {
        for event in events {
            let shown = EventView::from(*event);
            if self.json {
                output::json(&shown)?;
                continue;
            }
            self.table.add_row(output::line_of(vec![
                output::number(shown.position),
                output::text(&output::time(event.occurred_at)),
                output::text(&event.stream.to_string()),
                output::number(shown.version),
                output::text(shown.event_type),
                output::text(event.created_by.as_ref().map_or("", |by| by.as_str())),
                output::text(shown.event_data.get()),
            ]));
            if self.table.row_count() >= ROWS {
                self.end()?;
            }
        }
        Ok(())
    }

    /// Prints the rows that are gathered.
    fn end(&mut self) -> Result<(), CliError> {
        let table = std::mem::replace(&mut self.table, empty());
        if !table.is_empty() {
            output::line(table)?;
        }
        Ok(())
    }
}

fn empty() -> Table {
    let columns = [
        "position",
        "occurred_at",
        "aggregate",
        "version",
        "event",
        "by",
        "data",
    ];
    output::table(columns, &["data"])
}
