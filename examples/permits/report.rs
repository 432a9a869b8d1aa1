//! What is printed: the figures, and a case's history as a table.

use std::{collections::BTreeMap, fmt::Write as _};

use dormouse::{
    domain::{AggregateId, CreatedBy},
    runtime::HistoryEvent,
};

use super::{
    activity::{Activity, Phase},
    case::{PermitCase, PermitEvent},
    node::{CaseAt, Log},
    replay::Replayed,
};

/// The figures of the replay.
pub(crate) fn figures(
    replayed: &Replayed,
    callers: usize,
    states: &BTreeMap<AggregateId, CaseAt>,
    log: &Log,
) -> String {
    let mut text = String::new();
    let commands = replayed.stored + replayed.known;
    let seconds = replayed.took.as_secs_f64();
    let known = match replayed.known {
        0 => "each line under its own idempotency key".to_owned(),
        known => format!(
            "{} of them known from an earlier run: answered from their receipts, not done again",
            grouped(known)
        ),
    };
    line(&mut text, "cases", &grouped(states.len()));
    line(&mut text, "events", &grouped(log.events));
    line(
        &mut text,
        "commands",
        &format!("{}, {known}", grouped(commands)),
    );
    line(
        &mut text,
        "speed",
        &format!(
            "{} commands per second by {callers} callers, in {seconds:.2} s",
            grouped(per_second(commands, replayed.took))
        ),
    );
    if let Some((resource, steps)) = busiest(log) {
        line(
            &mut text,
            "busiest",
            &format!("{resource}, with {} steps", grouped(steps)),
        );
    }
    let phases: Vec<String> = by_phase(states)
        .into_iter()
        .map(|(phase, cases)| format!("{} {phase}", grouped(cases)))
        .collect();
    line(&mut text, "phases", &phases.join(", "));
    text
}

/// A case's history, a line for each event.
pub(crate) fn history(
    id: &AggregateId,
    at: &CaseAt,
    events: &[HistoryEvent<PermitEvent>],
) -> String {
    let PermitCase::Received(progress) = &at.case else {
        return format!("{id} has not been received\n");
    };
    let mut rows = vec![
        [
            "version",
            "activity",
            "resource",
            "group",
            "department",
            "channel",
            "happened",
        ]
        .map(str::to_owned),
    ];
    rows.extend(events.iter().map(|event| row(event, &progress.channel)));
    format!(
        "{id}: {} steps by {} people in the phase `{}`, {} to {}\n{}",
        progress.done.values().sum::<u32>(),
        progress.resources.len(),
        progress.phase,
        progress.received_at.format("%F"),
        progress.last_step_at.format("%F"),
        aligned(&rows)
    )
}

/// What became of the states after the stop.
pub(crate) fn recovered(
    before: &BTreeMap<AggregateId, CaseAt>,
    after: &BTreeMap<AggregateId, CaseAt>,
) -> Result<String, String> {
    let differ: Vec<&str> = before
        .iter()
        .filter(|(id, at)| after.get(id) != Some(at))
        .map(|(id, _)| id.as_str())
        .collect();
    if differ.is_empty() && before.len() == after.len() {
        let mut text = String::new();
        let cases = grouped(after.len());
        line(
            &mut text,
            "restart",
            &format!("all {cases} cases are as they were before the stop"),
        );
        return Ok(text);
    }
    let first = differ.first().unwrap_or(&"none of those before");
    Err(format!(
        "{} of {} cases are not as they were before the stop; the first: {first}",
        differ.len(),
        before.len()
    ))
}

fn row(event: &HistoryEvent<PermitEvent>, channel: &str) -> [String; 7] {
    let (activity, group, department, at) = match &event.event {
        PermitEvent::ApplicationReceived {
            group,
            department,
            at,
            ..
        } => (Activity::ConfirmReceipt, group, department, at),
        PermitEvent::StepTaken {
            activity,
            group,
            department,
            at,
            ..
        } => (*activity, group, department, at),
    };
    [
        event.version.to_string(),
        activity.to_string(),
        event
            .created_by
            .as_ref()
            .map_or("", CreatedBy::as_str)
            .to_owned(),
        group.clone(),
        department.clone(),
        channel.to_owned(),
        at.format("%F %T").to_string(),
    ]
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn busiest(log: &Log) -> Option<(&str, usize)> {
    let busiest = log.by_resource.iter().max_by_key(|(_, steps)| **steps);
    busiest.map(|(resource, steps)| (resource.as_str(), *steps))
}

fn by_phase(states: &BTreeMap<AggregateId, CaseAt>) -> BTreeMap<Phase, usize> {
    let mut phases = BTreeMap::new();
    for at in states.values() {
        if let PermitCase::Received(progress) = &at.case {
            *phases.entry(progress.phase).or_default() += 1;
        }
    }
    phases
}

fn per_second(count: usize, took: std::time::Duration) -> usize {
    let micros = took.as_micros().max(1);
    usize::try_from(count as u128 * 1_000_000 / micros).unwrap_or(usize::MAX)
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name:<10}{value}");
}

/// A number with a comma between its thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        let texts = [7, 999, 1000, 8577, 1_234_567].map(grouped);

        assert_eq!(texts, ["7", "999", "1,000", "8,577", "1,234,567"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd", "e"], ["fgh", "i", ""]].map(|row| row.map(str::to_owned));

        assert_eq!(aligned(&rows), "a    bcd  e\nfgh  i\n");
    }

    #[test]
    fn a_case_that_is_not_as_before_is_named() {
        let id = AggregateId::parse("case-1").unwrap();
        let at = |version| CaseAt {
            case: PermitCase::default(),
            version: dormouse::domain::Version::new(version),
        };
        let before = BTreeMap::from([(id.clone(), at(2))]);

        assert!(recovered(&before, &before).is_ok());
        let behind = recovered(&before, &BTreeMap::from([(id, at(1))])).unwrap_err();
        assert!(behind.ends_with("the first: case-1"), "{behind}");
        assert!(recovered(&before, &BTreeMap::new()).is_err());
    }
}
