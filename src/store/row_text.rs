//! Values and tracks of rows as the SQL adapters read them.

use serde_json::value::RawValue;

use super::{Commit, ReadError, RowTrack, VersionedBy};
use crate::domain::{ColumnKind, RowMarks, RowValue, Secret, Version};

/// What stands for marks that are those of the row as it was last written.
pub(super) const SAME: &str = "=";

/// What an event tells where it left no row.
const NO_ROW: &str = "null";

/// How many of the newest events are looked at for marks together with a row. In `dual-write` the
/// last of all has them; what comes after it is of programs and nodes that do not write rows.
pub(super) const LOOKED_AT_WITH_THE_ROW: u64 = 64;

/// How many older ones are looked at by one statement, so that none takes long.
const LOOKED_AT_ONCE: u64 = 5000;

/// A value of a column from its text. One that is not of the kind it is mapped to stays text: the
/// aggregate says that it cannot be mapped, and no other row suffers.
pub(super) fn value(kind: ColumnKind, text: Option<String>) -> RowValue {
    let Some(text) = text else {
        return RowValue::Null;
    };
    let read = match kind {
        ColumnKind::Text => None,
        ColumnKind::Secret => return RowValue::Secret(Secret::new(text)),
        ColumnKind::Bool => match text.as_str() {
            "true" | "t" | "1" => Some(RowValue::Bool(true)),
            "false" | "f" | "0" => Some(RowValue::Bool(false)),
            _ => None,
        },
        ColumnKind::Int => text.parse().ok().map(RowValue::Int),
        ColumnKind::Time => time(&text).map(RowValue::Time),
        ColumnKind::Json => serde_json::from_str(&text).ok().map(RowValue::Json),
    };
    read.unwrap_or(RowValue::Text(text))
}

/// A time as text: with a zone, or else in UTC.
fn time(text: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
        return Some(zoned.to_utc());
    }
    if let Ok(zoned) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
        return Some(zoned.to_utc());
    }
    let plain = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let mut plain = plain
        .iter()
        .filter_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let found = plain
        .next()
        .or_else(|| date().map(|date| date.and_time(NaiveTime::MIN)));
    found.map(|time| time.and_utc())
}

/// Whether a commit's last event can tell all there is to its track: row and log agree, at the version
/// that callers see.
///
/// Such a track stands in the log, because the event has its place there anyway: a row of its own is
/// one more page to write for each command, at a random place (docs/decisions/0082).
pub(super) fn is_carried(commit: &Commit) -> bool {
    let Some(change) = &commit.row else {
        return false;
    };
    let track = &change.track;
    let last = commit.expected.plus(commit.events.len() as u64);
    change.versioned_by == VersionedBy::Log
        && !commit.events.is_empty()
        && (track.version, track.log_version) == (last, last)
        && track.marks == track.agreed
        && track.rowless.is_none()
}

/// What the last event of a commit tells of the row that is written with it.
pub(super) fn carried_marks(commit: &Commit) -> Option<String> {
    let change = commit.row.as_ref().filter(|_| is_carried(commit))?;
    let marks = change.track.marks.as_ref();
    Some(marks.map_or_else(|| NO_ROW.to_owned(), RowMarks::to_text))
}

/// The track of an aggregate in both places: kept beside the log, and carried by a later event.
#[derive(Debug, Default)]
pub(super) struct TrackText {
    pub(super) kept: Option<KeptTrack>,
    pub(super) carried: Option<CarriedTrack>,
    /// The version of the last event; zero where there is none.
    pub(super) head: u64,
}

/// The columns of a track that is kept beside the log.
#[derive(Debug)]
pub(super) struct KeptTrack {
    pub(super) version: u64,
    pub(super) log_version: u64,
    pub(super) marks: Option<String>,
    pub(super) agreed: Option<String>,
    pub(super) rowless: Option<String>,
}

/// The newest event behind the log version of what is kept that has marks.
#[derive(Debug)]
pub(super) struct CarriedTrack {
    pub(super) version: u64,
    pub(super) marks: String,
}

/// The marks of a track as they are stored: what row and log agreed on is mostly the row.
pub(super) fn stored_marks(track: &RowTrack) -> (Option<String>, Option<String>) {
    let text = |marks: &Option<RowMarks>| marks.as_ref().map(RowMarks::to_text);
    let agreed = if track.agreed.is_some() && track.agreed == track.marks {
        Some(SAME.to_owned())
    } else {
        text(&track.agreed)
    };
    (text(&track.marks), agreed)
}

impl TrackText {
    /// The versions that were not looked at and may carry marks, in parts, the newest first: those
    /// after the first number, up to the second.
    pub(super) fn unsearched(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.log_version);
        let older = self.head.saturating_sub(LOOKED_AT_WITH_THE_ROW);
        let first = (self.carried.is_none() && older > kept).then_some(older);
        let part = move |to: u64| (kept.max(to.saturating_sub(LOOKED_AT_ONCE)), to);
        std::iter::successors(first.map(part), move |(after, _)| {
            (*after > kept).then(|| part(*after))
        })
    }

    /// The track; none where the row was never met.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] where the state that stands for a row is no JSON.
    pub(super) fn read(self) -> Result<Option<RowTrack>, ReadError> {
        match (self.kept, self.carried) {
            (kept, Some(carried)) => Ok(Some(carried.track(kept.map_or(0, |kept| kept.version)))),
            (Some(kept), None) => kept.track().map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl KeptTrack {
    fn track(self) -> Result<RowTrack, ReadError> {
        let marks = self.marks.as_deref().map(RowMarks::from_text);
        let agreed = match self.agreed.as_deref() {
            Some(SAME) => marks.clone(),
            Some(text) => Some(RowMarks::from_text(text)),
            None => None,
        };
        let rowless = self.rowless.map(RawValue::from_string).transpose();
        Ok(RowTrack {
            version: Version::new(self.version),
            log_version: Version::new(self.log_version),
            marks,
            agreed,
            rowless: rowless.map_err(|_| ReadError::Corrupt {
                what: "a state beside a row that is no JSON".to_owned(),
            })?,
        })
    }
}

impl CarriedTrack {
    /// The version that callers see never goes back behind the one that was kept.
    fn track(self, kept: u64) -> RowTrack {
        let marks = (self.marks != NO_ROW).then(|| RowMarks::from_text(&self.marks));
        RowTrack {
            version: Version::new(self.version.max(kept)),
            log_version: Version::new(self.version),
            marks: marks.clone(),
            agreed: marks,
            rowless: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_looked_at_in_parts() {
        let text = |head, kept: Option<u64>| TrackText {
            kept: kept.map(|log_version| KeptTrack {
                version: log_version,
                log_version,
                marks: None,
                agreed: None,
                rowless: None,
            }),
            carried: None,
            head,
        };
        let parts = |text: TrackText| text.unsearched().collect::<Vec<_>>();

        assert_eq!(parts(text(64, None)), []);
        assert_eq!(parts(text(65, None)), [(0, 1)]);
        assert_eq!(parts(text(100, Some(36))), []);
        assert_eq!(
            parts(text(12_064, None)),
            [(7000, 12_000), (2000, 7000), (0, 2000)]
        );
        assert_eq!(parts(text(12_064, Some(7000))), [(7000, 12_000)]);
        let found = TrackText {
            carried: Some(CarriedTrack {
                version: 12_063,
                marks: NO_ROW.to_owned(),
            }),
            ..text(12_064, None)
        };
        assert_eq!(parts(found), []);
    }

    #[test]
    fn a_time_is_read_in_the_forms_that_programs_write() {
        let expected = chrono::DateTime::from_timestamp_millis(1_714_885_505_120);

        for text in [
            "2024-05-05 05:05:05.12",
            "2024-05-05T05:05:05.120",
            "2024-05-05T05:05:05.120Z",
            "2024-05-05 07:05:05.12+02",
            "2024-05-05 07:05:05.12+02:00",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(
            value(ColumnKind::Time, Some("soon".to_owned())),
            RowValue::Text("soon".to_owned())
        );
    }
}
