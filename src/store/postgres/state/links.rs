//! The members of link tables: compared as one set, written one by one.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use super::{
    catalog::quoted,
    shape::TableShape,
    write::{Given, Group, RowWrites, ShapedChange, at_address},
};
use crate::{
    domain::{LinkTable, Row},
    store::net_rows::members,
};

impl<'a> RowWrites<'a> {
    /// Links that come and go.
    pub(super) fn add_links(&mut self, changes: &[ShapedChange<'a>]) {
        let mut links: BTreeMap<(&str, &str), Group<'_, 'a>> = BTreeMap::new();
        for shaped in changes {
            for link in &shaped.0.table.links {
                let of = (&*shaped.0.table.name, link.name);
                links.entry(of).or_default().push(shaped);
            }
        }
        for ((_, name), group) in links {
            let (first, shape) = group[0];
            let mut tables = first.table.links.iter();
            let Some(link) = tables.find(|link| link.name == name) else {
                continue;
            };
            let pairs = |lost: bool| -> Vec<(&'a str, &'a str)> {
                let of = |(change, _): &&ShapedChange<'a>| -> Vec<(&'a str, &'a str)> {
                    let id = change.stream.aggregate_id.as_str();
                    if lost {
                        change.links_lost(name).map(|member| (id, member)).collect()
                    } else {
                        change
                            .links_gained(name)
                            .map(|member| (id, member))
                            .collect()
                    }
                };
                group.iter().flat_map(of).collect()
            };
            self.add_lost_links(link, &shape.links[name], &pairs(true));
            self.add_gained_links(link, &shape.links[name], &pairs(false));
        }
    }

    fn given_pairs(&mut self, pairs: &[(&'a str, &'a str)]) -> Given {
        let mut given = Given::default();
        let owners = pairs.iter().map(|(owner, _)| Some(Cow::Borrowed(*owner)));
        self.given(&mut given, "owner".to_owned(), owners.collect());
        let members = pairs.iter().map(|(_, member)| Some(Cow::Borrowed(*member)));
        self.given(&mut given, "member".to_owned(), members.collect());
        given
    }

    fn add_lost_links(
        &mut self,
        link: &LinkTable,
        table: &TableShape,
        lost: &[(&'a str, &'a str)],
    ) {
        if lost.is_empty() {
            return;
        }
        let given = self.given_pairs(lost);
        let part = self.part();
        let is_link = is_link(link, table);
        let name = &table.name;
        let _ = write!(
            self.ctes,
            ", {part}_locked as materialized (select held.address, given.* \
             from slot cross join {} cross join lateral (select held.ctid as address \
             from {name} as held where {is_link} for update skip locked) as held), \
             {part} as (delete from {name} as held using {part}_locked as given \
             where {} returning given.owner, given.member), \
             {part}_pairs as materialized (select distinct owner, member from {part})",
            given.text(),
            at_address(&is_link)
        );
        // Each pair, however many rows say it.
        self.expect(&format!("{part}_pairs"), lost.len());
    }

    fn add_gained_links(
        &mut self,
        link: &LinkTable,
        table: &TableShape,
        gained: &[(&'a str, &'a str)],
    ) {
        if gained.is_empty() {
            return;
        }
        let given = self.given_pairs(gained);
        let part = self.part();
        let (owner, member) = (quoted(link.owner), quoted(link.member));
        // A link that is there already, left over or made meanwhile, is what is wanted.
        let on_conflict = if table.is_unique(&[link.owner, link.member]) {
            format!(" on conflict ({owner}, {member}) do nothing")
        } else {
            String::new()
        };
        let _ = write!(
            self.ctes,
            ", {part} as (insert into {} ({owner}, {member}) select {}, {} \
             from slot cross join {}{on_conflict})",
            table.name,
            table.column(link.owner).cast("given.owner"),
            table.column(link.member).cast("given.member"),
            given.text()
        );
    }
}

/// That a row of a link table is the one that is given.
pub(super) fn is_link(link: &LinkTable, table: &TableShape) -> String {
    format!(
        "held.{} = {} and held.{} = {}",
        quoted(link.owner),
        table.column(link.owner).cast("given.owner"),
        quoted(link.member),
        table.column(link.member).cast("given.member")
    )
}

/// The members of a link table as one text: each with its length, so that no two sets are one text.
pub(super) fn members_text(row: Option<&Row>, link: &LinkTable) -> Option<String> {
    let members = members(row, link.name)?;
    let text = members
        .iter()
        .map(|member| format!("{}:{member}", member.chars().count()));
    // SQL gathers nothing to null.
    (!members.is_empty()).then(|| text.collect())
}

/// As [`members_text`], of what the table has.
///
/// To gather in an order costs more than all else that is done with a row, so it is done only where
/// there is more than one member. The offset keeps them from being looked up wherever they are named.
pub(super) fn members_sql(link: &LinkTable, table: &TableShape, owner: &str) -> String {
    let (owner_column, member) = (quoted(link.owner), quoted(link.member));
    let owner = table.column(link.owner).cast(owner);
    format!(
        "(select case when cardinality(members) < 2 then length(members[1]) || ':' || members[1] \
         else (select string_agg(length(member) || ':' || member, '' order by member collate \"C\") \
         from (select distinct unnest(members) as member) as link) end \
         from (select array(select link.{member}::text from {} as link \
         where link.{owner_column} = {owner} and link.{member} is not null) as members \
         offset 0) as link)",
        table.name
    )
}
