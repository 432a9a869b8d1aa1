//! What an aggregate's row, its track and the fold of its log say together: the table of decision 27
//! as one pure rule. It knows no aggregate, only rows.

use std::collections::BTreeSet;

use crate::{
    domain::{Row, RowMarks, Version},
    store::RowTrack,
};

/// Row, track and log as they were read; they need not be of one moment.
///
/// A row that was read before a commit and a log that was read after it look like a row that is
/// behind. What follows from that is a commit that expects this row and this version, so it loses,
/// and all is read again: nothing is ever mended on a view that was none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) row: Option<&'a Row>,
    pub(super) track: Option<&'a RowTrack>,
    /// The row of the fold; none where the log is empty, and where its state has none.
    pub(super) fold: Option<&'a Row>,
    /// The version of the log.
    pub(super) log: Version,
}

/// What they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is neither a row nor an event.
    Absent,
    /// The row is that of the fold. `noted`: its track says so as well.
    Agrees { noted: bool },
    /// There is a row and no event.
    Unmet,
    /// The row is as the log once had it, or not there yet: the log is right.
    Behind,
    /// Somebody else wrote the row: so much of it is right.
    Changed(Changes),
    /// The track knows a newer log: it was read too early.
    ReadTooEarly,
}

/// What of a row was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changes {
    /// It was made, deleted, or never met before.
    All,
    /// These columns and link tables.
    Columns(BTreeSet<String>),
}

/// Judges what was read.
pub(super) fn assess(seen: Seen<'_>) -> Finding {
    let Some(track) = seen.track else {
        return without_track(seen);
    };
    if seen.log < track.log_version {
        return Finding::ReadTooEarly;
    }
    if seen.row == seen.fold {
        return Finding::Agrees {
            noted: is_noted(track, seen.row, seen.log),
        };
    }
    if seen.log == Version::ZERO {
        // The fold of nothing has no row, and they differ.
        return Finding::Unmet;
    }
    with_track(seen, track)
}

/// Whether a track says that this row and a log of this version were met and agreed.
pub(super) fn is_noted(track: &RowTrack, row: Option<&Row>, log: Version) -> bool {
    let marks = row.map(RowMarks::of);
    track.log_version == log
        && track.rowless.is_none()
        && is_said(track.agreed.as_ref(), marks.as_ref())
        && is_said(track.marks.as_ref(), marks.as_ref())
}

/// Whether marks are those of a row, or both of none.
fn is_said(marks: Option<&RowMarks>, row: Option<&RowMarks>) -> bool {
    match (marks, row) {
        (None, None) => true,
        (Some(marks), Some(row)) => marks.says(row),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn without_track(seen: Seen<'_>) -> Finding {
    match (seen.row, seen.log) {
        (None, Version::ZERO) => Finding::Absent,
        (Some(_), Version::ZERO) => Finding::Unmet,
        (row, _) if row == seen.fold => Finding::Agrees { noted: false },
        (None, _) => Finding::Behind,
        (Some(_), _) => Finding::Changed(Changes::All),
    }
}

/// The log has events, and the row is not that of their fold.
fn with_track(seen: Seen<'_>, track: &RowTrack) -> Finding {
    match (seen.row, &track.agreed) {
        (None, None) => Finding::Behind,
        (None, Some(_)) | (Some(_), None) => Finding::Changed(Changes::All),
        (Some(row), Some(agreed)) => {
            let changed = agreed.changed(&RowMarks::of(row));
            // Who deletes an aggregate has the last word over who changes a column of it.
            let deleted_since = seen.fold.is_none() && seen.log > track.log_version;
            if changed.is_empty() || deleted_since {
                return Finding::Behind;
            }
            let theirs = Changes::Columns(changed);
            // Who wrote the row has told the log as well, or somebody else has written the same.
            if merged(seen.row, seen.fold, &theirs).as_ref() == seen.fold {
                Finding::Behind
            } else {
                Finding::Changed(theirs)
            }
        }
    }
}

/// The row that is right: what was changed is the row's, the rest the fold's.
pub(super) fn merged(row: Option<&Row>, fold: Option<&Row>, what: &Changes) -> Option<Row> {
    let (Some(row), Some(fold), Changes::Columns(changed)) = (row, fold, what) else {
        return row.cloned();
    };
    let mut merged = fold.clone();
    for (name, value) in &mut merged.values {
        if let (true, Some(theirs)) = (changed.contains(*name), row.values.get(name)) {
            *value = theirs.clone();
        }
    }
    for (name, members) in &mut merged.links {
        if let (true, Some(theirs)) = (changed.contains(*name), row.links.get(name)) {
            members.clone_from(theirs);
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::RowValue;

    fn row(name: &str, email: &str) -> Row {
        let text = |text: &str| RowValue::Text(text.to_owned());
        Row {
            values: BTreeMap::from([("name", text(name)), ("email", text(email))]),
            links: BTreeMap::new(),
        }
    }

    fn track(log_version: u64, agreed: Option<&Row>, marks: Option<&Row>) -> RowTrack {
        RowTrack {
            version: Version::new(log_version),
            log_version: Version::new(log_version),
            marks: marks.map(RowMarks::of),
            agreed: agreed.map(RowMarks::of),
            rowless: None,
        }
    }

    fn found(
        row: Option<&Row>,
        track: Option<&RowTrack>,
        (fold, log): (Option<&Row>, u64),
    ) -> Finding {
        assess(Seen {
            row,
            track,
            fold,
            log: Version::new(log),
        })
    }

    fn columns(names: &[&str]) -> Finding {
        let names = names.iter().map(|name| (*name).to_owned());
        Finding::Changed(Changes::Columns(names.collect()))
    }

    #[test]
    fn nothing_anywhere_is_absent() {
        assert_eq!(found(None, None, (None, 0)), Finding::Absent);
    }

    #[test]
    fn a_row_like_the_folds_agrees_and_its_track_may_say_so() {
        let a = row("a", "e");
        let (noted, older) = (track(3, Some(&a), Some(&a)), track(2, Some(&a), Some(&a)));

        let agrees = |track| found(Some(&a), track, (Some(&a), 3));

        assert_eq!(agrees(Some(&noted)), Finding::Agrees { noted: true });
        assert_eq!(agrees(Some(&older)), Finding::Agrees { noted: false });
        assert_eq!(agrees(None), Finding::Agrees { noted: false });
        let deleted = track(3, None, None);
        assert_eq!(
            found(None, Some(&deleted), (None, 3)),
            Finding::Agrees { noted: true }
        );
    }

    #[test]
    fn a_row_without_events_is_adopted() {
        let a = row("a", "e");

        assert_eq!(found(Some(&a), None, (None, 0)), Finding::Unmet);
        // Met where rows alone are kept.
        let met = track(0, None, Some(&a));
        assert_eq!(found(Some(&a), Some(&met), (None, 0)), Finding::Unmet);
    }

    #[test]
    fn a_row_as_it_was_is_behind_a_log_that_has_moved_on() {
        let (a, b) = (row("a", "e"), row("b", "e"));
        let agreed = track(1, Some(&a), Some(&a));

        assert_eq!(
            found(Some(&a), Some(&agreed), (Some(&b), 2)),
            Finding::Behind
        );
    }

    #[test]
    fn a_row_as_it_was_is_behind_a_mapping_that_has_changed() {
        let (a, b) = (row("a", "e"), row("a", "mapped otherwise"));
        let agreed = track(1, Some(&a), Some(&a));

        assert_eq!(
            found(Some(&a), Some(&agreed), (Some(&b), 1)),
            Finding::Behind
        );
    }

    #[test]
    fn a_changed_row_tells_its_columns_to_a_log_that_is_where_it_was() {
        let (a, b) = (row("a", "e"), row("b", "e"));
        let agreed = track(1, Some(&a), Some(&a));

        let finding = found(Some(&b), Some(&agreed), (Some(&a), 1));

        assert_eq!(finding, columns(&["name"]));
    }

    #[test]
    fn of_a_changed_row_and_a_log_that_has_moved_on_each_has_its_columns() {
        let (agreed, theirs, ours) = (row("a", "e"), row("b", "e"), row("c", "f"));
        let track = track(1, Some(&agreed), Some(&agreed));

        let finding = found(Some(&theirs), Some(&track), (Some(&ours), 2));

        assert_eq!(finding, columns(&["name"]));
        let Finding::Changed(changes) = finding else {
            unreachable!("as above");
        };
        let merged = merged(Some(&theirs), Some(&ours), &changes);
        assert_eq!(merged, Some(row("b", "f")));
    }

    #[test]
    fn a_change_that_the_log_knows_already_is_not_told_again() {
        let (agreed, theirs, ours) = (row("a", "e"), row("b", "e"), row("b", "f"));
        let track = track(1, Some(&agreed), Some(&agreed));

        let finding = found(Some(&theirs), Some(&track), (Some(&ours), 3));

        assert_eq!(finding, Finding::Behind);
    }

    #[test]
    fn a_row_that_was_never_met_is_in_force() {
        let (a, b) = (row("a", "e"), row("b", "e"));

        let finding = found(Some(&b), None, (Some(&a), 4));

        assert_eq!(finding, Finding::Changed(Changes::All));
        assert_eq!(
            merged(Some(&b), Some(&a), &Changes::All),
            Some(row("b", "e"))
        );
    }

    #[test]
    fn a_row_that_is_not_there_and_was_never_met_is_behind() {
        let a = row("a", "e");

        assert_eq!(found(None, None, (Some(&a), 1)), Finding::Behind);
        let rowless = track(1, None, None);
        assert_eq!(found(None, Some(&rowless), (Some(&a), 2)), Finding::Behind);
    }

    #[test]
    fn a_row_that_is_gone_or_came_is_changed_whole() {
        let a = row("a", "e");
        let agreed = track(1, Some(&a), Some(&a));
        let rowless = track(1, None, None);

        let gone = found(None, Some(&agreed), (Some(&a), 1));
        let came = found(Some(&a), Some(&rowless), (None, 1));

        assert_eq!(gone, Finding::Changed(Changes::All));
        assert_eq!(came, Finding::Changed(Changes::All));
        assert_eq!(merged(None, Some(&a), &Changes::All), None);
    }

    #[test]
    fn what_the_log_has_deleted_since_is_deleted_though_a_column_was_changed() {
        let (a, b) = (row("a", "e"), row("b", "e"));
        let agreed = track(1, Some(&a), Some(&a));

        assert_eq!(found(Some(&b), Some(&agreed), (None, 2)), Finding::Behind);
    }

    #[test]
    fn a_log_older_than_the_track_was_read_too_early() {
        let (a, b) = (row("a", "e"), row("b", "e"));
        let newer = track(2, Some(&b), Some(&b));

        assert_eq!(
            found(Some(&b), Some(&newer), (Some(&a), 1)),
            Finding::ReadTooEarly
        );
    }
}
