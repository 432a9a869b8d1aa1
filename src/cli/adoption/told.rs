//! What does not agree, as it is told.

use crate::{
    adoption::{ColumnDifference, Drift, EventRef, Finding},
    cli::output::time,
};

pub(super) fn told(aggregate_type: &str, finding: &Finding, as_json: bool) -> String {
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
        Drift::Unnumbered => {
            "its newest events have no position yet; a server that runs gives them one".to_owned()
        }
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
