//! What stands beside the rows, written with them.

use std::{borrow::Cow, fmt::Write as _};

use super::write::{Given, RowWrites, ShapedChange};
use crate::{
    domain::Version,
    store::{net_rows::NetChange, postgres::rows::bigint, row_text::stored_marks},
};

/// That the track of a stream in `given` is not where it is expected. Behind the log version that the
/// new track knows, no event may carry marks; so nothing before it is looked through.
const IS_ELSEWHERE: &str = "(given.expected <> coalesce(kept.version, 0) \
    and not (given.expected > coalesce(kept.version, 0) and exists (select from domain_events as event \
    where event.aggregate_type = given.aggregate_type and event.aggregate_id = given.aggregate_id \
    and event.version = given.expected and event.version > coalesce(kept.log_version, 0) \
    and event.row_marks is not null)) \
    or exists (select from domain_events as event \
    where event.aggregate_type = given.aggregate_type and event.aggregate_id = given.aggregate_id \
    and event.version > greatest(given.expected, given.log_version) \
    and event.row_marks is not null))";

impl<'a> RowWrites<'a> {
    pub(super) fn add_tracks(&mut self, changes: &[ShapedChange<'a>]) {
        let kept = changes.iter().map(|(change, _)| change);
        let kept = kept.filter(|change| !change.is_carried);
        let (by_log, by_track): (Vec<_>, Vec<_>) =
            kept.partition(|change| change.expected.is_none());
        if !by_log.is_empty() {
            let given = self.given_tracks(&by_log);
            let from = format!("slot cross join {}", given.text());
            let version = "greatest(kept.version, excluded.version)";
            self.add_upserted(&from, version, by_log.len());
        }
        if by_track.is_empty() {
            return;
        }
        let mut given = self.given_tracks(&by_track);
        let expected = by_track.iter().map(|change| {
            let expected = change.expected.map(Version::get);
            expected.map(bigint)
        });
        self.given_numbers(&mut given, "expected", expected.collect());
        // The lock of all writers was taken before, so this sees where each track is.
        let from = format!(
            "slot cross join lateral (select given.* from {} \
             left join lateral (select version, log_version from aggregate_rows as kept \
             where kept.aggregate_id = given.aggregate_id \
             and kept.aggregate_type = given.aggregate_type limit 1) as kept on true \
             where not {IS_ELSEWHERE}) as given",
            given.text(),
        );
        self.add_upserted(&from, "excluded.version", by_track.len());
    }

    /// Tracks that may not be there yet.
    fn add_upserted(&mut self, from: &str, version: &str, count: usize) {
        let part = self.part();
        let _ = write!(
            self.ctes,
            ", {part} as (insert into aggregate_rows as kept (aggregate_type, aggregate_id, marks, \
             agreed, rowless, version, log_version) select given.aggregate_type, \
             given.aggregate_id, given.marks, given.agreed, given.rowless, given.version, \
             given.log_version from {from} \
             on conflict (aggregate_id, aggregate_type) do update set version = {version}, \
             log_version = excluded.log_version, marks = excluded.marks, \
             agreed = excluded.agreed, rowless = excluded.rowless returning 1)",
        );
        self.expect(&part, count);
    }

    fn given_tracks(&mut self, changes: &[&NetChange<'a>]) -> Given {
        let mut given = Given::default();
        let marks: Vec<_> = changes.iter().map(|it| stored_marks(it.track)).collect();
        let (marks, agreed): (Vec<_>, Vec<_>) = marks.into_iter().unzip();
        let owned = |texts: Vec<Option<String>>| texts.into_iter().map(|text| text.map(Cow::Owned));
        let types = changes.iter().map(|it| it.stream.aggregate_type.as_str());
        let types = types.map(|text| Some(Cow::Borrowed(text)));
        self.given(&mut given, "aggregate_type".to_owned(), types.collect());
        let ids = changes.iter().map(|it| it.stream.aggregate_id.as_str());
        let ids = ids.map(|text| Some(Cow::Borrowed(text)));
        self.given(&mut given, "aggregate_id".to_owned(), ids.collect());
        self.given(&mut given, "marks".to_owned(), owned(marks).collect());
        self.given(&mut given, "agreed".to_owned(), owned(agreed).collect());
        let rowless = changes.iter().map(|it| {
            let state = it.track.rowless.as_ref();
            state.map(|state| Cow::Borrowed(state.get()))
        });
        self.given(&mut given, "rowless".to_owned(), rowless.collect());
        let versions = changes
            .iter()
            .map(|it| Some(bigint(it.track.version.get())));
        self.given_numbers(&mut given, "version", versions.collect());
        let versions = changes
            .iter()
            .map(|it| Some(bigint(it.track.log_version.get())));
        self.given_numbers(&mut given, "log_version", versions.collect());
        given
    }
}
