//! The steps in the file: read whole and checked line by line before anything is sent.

use std::{io, path::Path};

use chrono::{DateTime, Utc};
use dormouse::domain::{AggregateId, CreatedBy};
use serde::Deserialize;

use super::activity::Activity;

/// One line of the file: a step of a case.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Its line in the file, from 1; it names the step, so that it is taken once only.
    pub(crate) line: u64,
    pub(crate) case_id: AggregateId,
    pub(crate) activity: Activity,
    pub(crate) resource: CreatedBy,
    pub(crate) group: String,
    pub(crate) department: String,
    pub(crate) channel: String,
    pub(crate) at: DateTime<Utc>,
}

/// Why a file of steps cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{path} cannot be read")]
    Unreadable {
        path: String,
        #[source]
        source: csv::Error,
    },
    #[error("{path}, line {line}: {problem}")]
    Line {
        path: String,
        line: u64,
        problem: String,
    },
    #[error("{0} has no steps")]
    Empty(String),
}

#[derive(Deserialize)]
struct Row {
    case_id: String,
    activity: String,
    resource: String,
    group: String,
    department: String,
    channel: String,
    occurred_at: DateTime<Utc>,
}

/// All steps of a file, in its order.
///
/// # Errors
/// [`FileError`] with the line at fault.
pub(crate) fn read(path: &Path) -> Result<Vec<Step>, FileError> {
    let name = path.display().to_string();
    match csv::Reader::from_path(path) {
        Ok(reader) => steps(&name, reader),
        Err(source) => Err(FileError::Unreadable { path: name, source }),
    }
}

fn steps<R: io::Read>(path: &str, mut reader: csv::Reader<R>) -> Result<Vec<Step>, FileError> {
    let headers = reader
        .headers()
        .map_err(|error| at_fault(path, 1, &error))?;
    let headers = headers.clone();
    let mut steps = Vec::new();
    for record in reader.records() {
        // The header is line 1, and no field of such a file has a line break.
        let line = 2 + steps.len() as u64;
        let record = record.map_err(|error| at_fault(path, line, &error))?;
        let line = record.position().map_or(line, csv::Position::line);
        let row = record.deserialize(Some(&headers));
        let row = row.map_err(|error| at_fault(path, line, &error))?;
        let step = step(line, row).map_err(|problem| FileError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(FileError::Empty(path.to_owned()));
    }
    Ok(steps)
}

fn step(line: u64, row: Row) -> Result<Step, String> {
    Ok(Step {
        line,
        case_id: AggregateId::parse(&row.case_id).map_err(|error| error.to_string())?,
        activity: Activity::named(&row.activity)
            .ok_or_else(|| format!("`{}` is no activity of the process", row.activity))?,
        resource: CreatedBy::parse(&row.resource).map_err(|error| error.to_string())?,
        group: row.group,
        department: row.department,
        channel: row.channel,
        at: row.occurred_at,
    })
}

/// Says what is wrong in words of the file; csv's own words count records and bytes too.
fn at_fault(path: &str, line: u64, error: &csv::Error) -> FileError {
    let kind = error.kind();
    let problem = if let csv::ErrorKind::UnequalLengths {
        expected_len, len, ..
    } = kind
    {
        format!("it has {len} fields instead of {expected_len}")
    } else if let csv::ErrorKind::Deserialize { err, .. } = kind {
        err.kind().to_string()
    } else {
        error.to_string()
    };
    FileError::Line {
        path: path.to_owned(),
        line,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "case_id,activity,resource,group,department,channel,occurred_at";
    const GOOD: &str =
        "case-1,Confirmation of receipt,admin1,Group 1,General,Desk,2011-01-02T03:04:05Z";

    fn read(lines: &[&str]) -> Result<Vec<Step>, String> {
        let text = lines.join("\n");
        let reader = csv::Reader::from_reader(text.as_bytes());
        steps("steps.csv", reader).map_err(|error| error.to_string())
    }

    #[test]
    fn a_step_knows_its_line() {
        let steps = read(&[HEADER, GOOD, GOOD]).unwrap();

        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].line, steps[1].line), (2, 3));
        assert_eq!(steps[0].activity, Activity::ConfirmReceipt);
    }

    #[test]
    fn an_unknown_activity_is_refused_with_its_line() {
        let unknown = GOOD.replace("Confirmation of receipt", "T99 Have lunch");

        let refused = read(&[HEADER, GOOD, &unknown]).unwrap_err();

        assert_eq!(
            refused,
            "steps.csv, line 3: `T99 Have lunch` is no activity of the process"
        );
    }

    #[test]
    fn a_line_cut_short_is_refused_with_its_line() {
        let refused = read(&[HEADER, GOOD, "case-1,Confirmation"]).unwrap_err();

        assert_eq!(refused, "steps.csv, line 3: it has 2 fields instead of 7");
    }

    #[test]
    fn a_case_that_is_no_id_is_refused_with_its_line() {
        let refused = read(&[HEADER, &GOOD.replace("case-1", "case 1")]).unwrap_err();

        assert!(refused.starts_with("steps.csv, line 2: an aggregate id must be"));
    }

    #[test]
    fn a_file_without_steps_is_refused() {
        assert_eq!(read(&[HEADER]).unwrap_err(), "steps.csv has no steps");
    }
}
