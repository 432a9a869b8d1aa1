//! What stands beside the rows, written with them.

use std::{borrow::Cow, fmt::Write as _};

use super::write::{Given, RowWrites, ShapedChange};
use crate::{
    domain::Version,
    store::{net_rows::NetChange, postgres::rows::bigint, row_text::stored_marks},
};

impl<'a> RowWrites<'a> {
    pub(super) fn add_tracks(&mut self, changes: &[ShapedChange<'a>]) {
        let of = |wanted: fn(Option<u64>) -> bool| -> Vec<&NetChange<'a>> {
            let changes = changes.iter().map(|(change, _)| change);
            let expected = |change: &&NetChange<'_>| change.expected.map(Version::get);
            changes.filter(|change| wanted(expected(change))).collect()
        };
        let by_log = of(|expected| expected.is_none());
        let first = of(|expected| expected == Some(0));
        let next = of(|expected| expected.is_some_and(|version| version > 0));
        self.add_upserted(&by_log, "greatest(kept.version, excluded.version)", "");
        self.add_upserted(&first, "excluded.version", " where kept.version = 0");
        if next.is_empty() {
            return;
        }
        let mut given = self.given_tracks(&next);
        let expected = next.iter().map(|change| {
            let expected = change.expected.map(Version::get);
            expected.map(bigint)
        });
        self.given_numbers(&mut given, "expected", expected.collect());
        let part = self.part();
        let _ = write!(
            self.ctes,
            ", {part}_found as materialized (select held.address, given.* from slot cross join {} \
             cross join lateral (select kept.ctid as address from aggregate_rows as kept \
             where kept.aggregate_id = given.aggregate_id \
             and kept.aggregate_type = given.aggregate_type limit 1) as held), \
             {part} as (update aggregate_rows as kept set version = given.version, \
             log_version = given.log_version, marks = given.marks, agreed = given.agreed, \
             rowless = given.rowless from {part}_found as given \
             where kept.ctid = given.address and kept.version = given.expected returning 1)",
            given.text()
        );
        self.expect(&part, next.len());
    }

    /// Tracks that may not be there yet.
    fn add_upserted(&mut self, changes: &[&NetChange<'a>], version: &str, only: &str) {
        if changes.is_empty() {
            return;
        }
        let given = self.given_tracks(changes);
        let part = self.part();
        let _ = write!(
            self.ctes,
            ", {part} as (insert into aggregate_rows as kept (aggregate_type, aggregate_id, marks, \
             agreed, rowless, version, log_version) select given.* from slot cross join {} \
             on conflict (aggregate_id, aggregate_type) do update set version = {version}, \
             log_version = excluded.log_version, marks = excluded.marks, \
             agreed = excluded.agreed, rowless = excluded.rowless{only} returning 1)",
            given.text()
        );
        self.expect(&part, changes.len());
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
