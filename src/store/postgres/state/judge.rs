//! Which commits' rows are not what they were decided on, and where their tracks are.
//!
//! Asked before the other facts: an append whose answer was lost may become visible in between. Its
//! row would then be another than its commit's, which by its id is known all the same.

use std::{collections::BTreeMap, fmt::Write as _, sync::LazyLock};

use sqlx::{AssertSqlSafe, postgres::PgConnection};

use super::{
    catalog::{Shapes, quoted},
    links::{is_link, members_sql, members_text},
    read_tracks::{TRACK, carried_found, carried_in, joined, track_text},
    shape::Shape,
};
use crate::{
    domain::{AggregateId, StreamId},
    store::{
        Commit, RowChange, VersionedBy, admission::Facts, net_rows::members, postgres::rows::column,
    },
};

static TRACKS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "select given.place, {TRACK} from unnest($1::text[], $2::text[]) with ordinality \
         as given (aggregate_type, aggregate_id, place) {}",
        joined("given.aggregate_type", "given.aggregate_id")
    )
});

/// The row that a commit was decided on, with the commit's place in the batch.
type Decided<'a> = (usize, &'a AggregateId, &'a RowChange);

/// Fills in what the facts say of rows.
pub(in crate::store::postgres) async fn judge_rows(
    connection: &mut PgConnection,
    commits: &[&Commit],
    shapes: &Shapes,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    let mut groups: BTreeMap<(&str, bool), Vec<Decided<'_>>> = BTreeMap::new();
    for (place, commit) in commits.iter().enumerate() {
        if let Some(change) = &commit.row {
            let alike = (&*change.table.name, change.before.is_some());
            let decided = (place, &commit.stream.aggregate_id, &**change);
            groups.entry(alike).or_default().push(decided);
        }
    }
    for ((table, there), group) in groups {
        let Some(shape) = shapes.get(table) else {
            continue;
        };
        let others = if there {
            other_rows(connection, shape, &group).await?
        } else {
            rows_there(connection, shape, &group).await?
        };
        facts.other_rows.extend(others);
        if there {
            let held = held_links(connection, shape, &group).await?;
            facts.other_rows.extend(held);
        }
    }
    tracks(connection, commits, facts).await
}

fn bound_key(shape: &Shape, (_, id, change): &Decided<'_>) -> Option<String> {
    let key = shape.table.column(change.table.key).key(id.as_str());
    key.map(str::to_owned)
}

/// Those whose row is gone, changed, or held by a transaction that may change it.
async fn other_rows(
    connection: &mut PgConnection,
    shape: &Shape,
    group: &[Decided<'_>],
) -> Result<Vec<usize>, sqlx::Error> {
    let table = &group[0].2.table;
    let mut arrays: Vec<Vec<Option<String>>> = vec![
        group
            .iter()
            .map(|decided| bound_key(shape, decided))
            .collect(),
    ];
    let mut names = vec!["id".to_owned()];
    let mut guard = String::new();
    let before = |(_, _, change): &Decided<'_>| change.before.clone();
    for (index, column) in table.columns.iter().enumerate() {
        let shape = shape.table.column(column.name);
        let values = group.iter().map(|decided| {
            let row = before(decided)?;
            shape.text_of(row.values.get(column.name)?)
        });
        arrays.push(values.collect());
        names.push(format!("b{index}"));
        let is = shape.is("held", column.name, &format!("given.b{index}"));
        let _ = write!(guard, " and {is}");
    }
    for (index, link) in table.links.iter().enumerate() {
        let values = group
            .iter()
            .map(|(_, _, change)| members_text(change.before.as_ref(), link));
        arrays.push(values.collect());
        names.push(format!("l{index}"));
        let members = members_sql(link, &shape.links[link.name], "given.id");
        let _ = write!(guard, " and {members} is not distinct from given.l{index}");
    }
    let parameters: Vec<String> = (1..=arrays.len())
        .map(|n| format!("${n}::text[]"))
        .collect();
    let text = format!(
        "select given.place from unnest({}) with ordinality as given ({}, place) \
         left join lateral (select true as is_there from {} as held where {} = {}{guard} limit 1 \
         for no key update skip locked) as held on true where held.is_there is null",
        parameters.join(", "),
        names.join(", "),
        shape.table.name,
        format_args!("held.{}", quoted(table.key)),
        shape.table.column(table.key).cast("given.id"),
    );
    places(connection, text, arrays, group).await
}

/// Those that take a link away which another transaction holds, and may take away itself.
async fn held_links(
    connection: &mut PgConnection,
    shape: &Shape,
    group: &[Decided<'_>],
) -> Result<Vec<usize>, sqlx::Error> {
    let mut held = Vec::new();
    for link in &group[0].2.table.links {
        let lost = group.iter().flat_map(|decided| {
            let after = members(decided.2.after.as_ref(), link.name);
            let before = members(decided.2.before.as_ref(), link.name);
            let goes = move |member: &&String| after.is_none_or(|after| !after.contains(*member));
            let lost = before.into_iter().flatten().filter(goes);
            lost.map(move |member| (*decided, member))
        });
        let lost: Vec<(Decided<'_>, &String)> = lost.collect();
        if lost.is_empty() {
            continue;
        }
        let links = &shape.links[link.name];
        let text = format!(
            "select given.place from unnest($1::text[], $2::text[]) with ordinality \
             as given (owner, member, place) left join lateral (select true as is_there \
             from {} as held where {} limit 1 for update skip locked) as held \
             on true where held.is_there is null",
            links.name,
            is_link(link, links),
        );
        let owners = lost.iter().map(|(decided, _)| bound_key(shape, decided));
        let members = lost.iter().map(|(_, member)| Some((*member).clone()));
        let arrays = vec![owners.collect(), members.collect()];
        let decided: Vec<Decided<'_>> = lost.iter().map(|(decided, _)| *decided).collect();
        held.extend(places(connection, text, arrays, &decided).await?);
    }
    Ok(held)
}

/// Those whose row is there, though they were decided on none.
async fn rows_there(
    connection: &mut PgConnection,
    shape: &Shape,
    group: &[Decided<'_>],
) -> Result<Vec<usize>, sqlx::Error> {
    let key = group[0].2.table.key;
    let text = format!(
        "select given.place from unnest($1::text[]) with ordinality as given (id, place) \
         cross join lateral (select true from {} as held where held.{} = {} limit 1) as held",
        shape.table.name,
        quoted(key),
        shape.table.column(key).cast("given.id"),
    );
    let ids = group.iter().map(|decided| bound_key(shape, decided));
    places(connection, text, vec![ids.collect()], group).await
}

async fn places(
    connection: &mut PgConnection,
    text: String,
    arrays: Vec<Vec<Option<String>>>,
    group: &[Decided<'_>],
) -> Result<Vec<usize>, sqlx::Error> {
    // Safe: names of the mapping and the catalog between quotes; values are parameters.
    let statement = sqlx::query(AssertSqlSafe(text));
    let statement = arrays.into_iter().fold(statement, sqlx::query::Query::bind);
    let rows = statement.fetch_all(connection).await?;
    let places = rows.iter().map(|row| {
        let place: i64 = column(row, 0).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let place = usize::try_from(place).unwrap_or(usize::MAX) - 1;
        Ok(group[place].0)
    });
    places.collect()
}

async fn tracks(
    connection: &mut PgConnection,
    commits: &[&Commit],
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    let by_track = commits
        .iter()
        .filter(|commit| commit.versioned_by() == VersionedBy::Track);
    let streams: Vec<&StreamId> = by_track.map(|commit| &commit.stream).collect();
    if streams.is_empty() {
        return Ok(());
    }
    let types: Vec<&str> = streams
        .iter()
        .map(|stream| stream.aggregate_type.as_str())
        .collect();
    let ids: Vec<&str> = streams
        .iter()
        .map(|stream| stream.aggregate_id.as_str())
        .collect();
    let rows = sqlx::query(TRACKS.as_str())
        .bind(types)
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    let decoded = |error| sqlx::Error::Decode(Box::new(error));
    for row in rows {
        let place: i64 = column(&row, 0).map_err(decoded)?;
        let stream = streams[usize::try_from(place).unwrap_or(usize::MAX) - 1];
        let mut read = track_text(&row).map_err(decoded)?;
        for part in read.unsearched() {
            let names = (&stream.aggregate_type, stream.aggregate_id.as_str());
            let found = carried_in(names, part).fetch_all(&mut *connection).await?;
            read.carried = carried_found(&found).map_err(decoded)?;
            if read.carried.is_some() {
                break;
            }
        }
        if let Some(track) = read.read().map_err(decoded)? {
            facts.tracks.insert(stream.clone(), track.version);
        }
    }
    Ok(())
}
