//! Every state that was shown, and every row, is the fold of the events up to its version.

use std::{collections::HashMap, fmt::Debug};

use super::{History, Refusal, Row, StoredLog, Violation, history::Record, violation::Violations};
use crate::{
    domain::{StreamId, Version},
    store::RecordedEvent,
};

/// The states shown of one stream, by version.
type Shown<'a, S> = HashMap<Version, Vec<&'a S>>;

pub(super) fn check<S: Clone + Default + PartialEq + Debug>(
    history: &History<S>,
    rows: Option<&[Row<S>]>,
    log: &StoredLog,
    mut fold: impl FnMut(&mut S, &RecordedEvent),
    found: &mut Violations,
) {
    let shown = shown(history, rows.unwrap_or_default());
    let nothing = S::default();
    for (stream, versions) in &shown {
        compare(stream, Version::ZERO, versions, &nothing, found);
    }
    let mut states: HashMap<&StreamId, (S, Version)> = HashMap::new();
    for event in &log.events {
        let (state, version) = states.entry(&event.stream).or_default();
        fold(state, event);
        *version = event.version;
        if let Some(versions) = shown.get(&event.stream) {
            compare(&event.stream, event.version, versions, state, found);
        }
    }
    if let Some(rows) = rows {
        let mut at: HashMap<&StreamId, Version> =
            rows.iter().map(|row| (&row.stream, row.version)).collect();
        for event in log.events.iter().rev() {
            let Some((_, stored)) = states.remove(&event.stream) else {
                continue;
            };
            let row = at.remove(&event.stream).unwrap_or_default();
            check_row(&event.stream, row, stored, found);
        }
        for row in rows.iter().filter(|row| at.contains_key(&row.stream)) {
            check_row(&row.stream, row.version, Version::ZERO, found);
        }
    }
}

fn check_row(stream: &StreamId, row: Version, stored: Version, found: &mut Violations) {
    if row != stored {
        found.add(Violation::RowBehind {
            stream: stream.clone(),
            row,
            stored,
        });
    }
}

fn compare<S: PartialEq + Debug>(
    stream: &StreamId,
    version: Version,
    versions: &Shown<'_, S>,
    folded: &S,
    found: &mut Violations,
) {
    for seen in versions.get(&version).into_iter().flatten() {
        if *seen != folded {
            found.add(Violation::WrongState {
                stream: stream.clone(),
                version,
                seen: format!("{seen:?}"),
                folded: format!("{folded:?}"),
            });
        }
    }
}

fn shown<'a, S>(
    history: &'a History<S>,
    rows: &'a [Row<S>],
) -> HashMap<&'a StreamId, Shown<'a, S>> {
    let mut shown: HashMap<&StreamId, Shown<'_, S>> = HashMap::new();
    let mut note = |stream, version, state| {
        let versions = shown.entry(stream).or_default();
        versions.entry(version).or_default().push(state);
    };
    for record in &history.records {
        let (call, seen) = match record {
            Record::Answered(call, told) => (call, &told.seen),
            Record::Refused(call, Refusal::Decided(Some(seen)))
            | Record::ReadAnswered(call, seen) => (call, seen),
            Record::Sent(_) | Record::Refused(..) | Record::Unknown(_) | Record::ReadFailed(_) => {
                continue;
            }
        };
        if let Some(state) = &seen.state {
            note(&history.sent[call.index()].stream, seen.version, state);
        }
    }
    for row in rows {
        note(&row.stream, row.version, &row.state);
    }
    shown
}
