//! The audit's filters as options of a command.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;

use crate::{
    domain::{AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy},
    store::EventFilter,
};

/// Which events; each option narrows it.
#[derive(Debug, Clone, Args)]
pub struct FilterOptions {
    /// Of aggregates of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = aggregate_type)]
    aggregate_type: Option<AggregateType>,
    /// Of the aggregates with this id.
    #[arg(long = "id", value_name = "ID")]
    aggregate_id: Option<AggregateId>,
    /// Of this type of event; may be given more than once.
    #[arg(long = "event-type", value_name = "EVENT_TYPE")]
    event_types: Vec<String>,
    /// Sent by this one.
    #[arg(long, value_name = "WHO")]
    created_by: Option<CreatedBy>,
    /// Of this correlation.
    #[arg(long, value_name = "ULID")]
    correlation_id: Option<CorrelationId>,
    /// Caused by this command or event.
    #[arg(long, value_name = "ULID")]
    causation_id: Option<CausationId>,
    /// Not before this time: RFC 3339, or a date for its beginning in UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// Not after this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<DateTime<Utc>>,
}

impl From<FilterOptions> for EventFilter {
    fn from(options: FilterOptions) -> Self {
        Self {
            aggregate_type: options.aggregate_type,
            aggregate_id: options.aggregate_id,
            event_types: options.event_types,
            created_by: options.created_by,
            correlation_id: options.correlation_id,
            causation_id: options.causation_id,
            from: options.from,
            to: options.to,
        }
    }
}

fn aggregate_type(text: &str) -> Result<AggregateType, String> {
    AggregateType::parse(text.to_owned()).map_err(|error| error.to_string())
}

/// A time as RFC 3339, or a date for its first moment in UTC.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = NaiveDate::from_str(text) {
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.to_utc()),
        Err(_) => Err("a time looks like 2011-11-01T08:30:00Z, or 2011-11-01".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_moment_in_utc() {
        let midnight = time("2011-11-01").unwrap();

        assert_eq!(midnight.to_rfc3339(), "2011-11-01T00:00:00+00:00");
        assert_eq!(time("2011-11-01T01:00:00+01:00").unwrap(), midnight);
    }

    #[test]
    fn what_is_no_time_is_told_what_one_looks_like() {
        for wrong in ["", "yesterday", "2011-13-01", "2011-11-01 08:30"] {
            let refused = time(wrong).unwrap_err();
            assert!(
                refused.contains("2011-11-01T08:30:00Z"),
                "{wrong}: {refused}"
            );
        }
    }
}
