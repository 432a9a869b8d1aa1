//! The part of an append that writes rows: how changes become SQL and its arrays.
//!
//! Each row that is changed, kept or deleted is first locked as it was decided on, column by column.
//! A row that another transaction holds is passed over instead of waited for: whoever waits here
//! holds the log's head. Where fewer rows were locked than changed, the statement raises an error,
//! so nothing of it is stored.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::{
    catalog::{Shapes, quoted},
    links::{members_sql, members_text},
    shape::{Shape, TableShape},
};
use crate::{
    domain::RowValue,
    store::{
        AppendError, Commit,
        net_rows::{NetChange, Write, net_changes},
        postgres::{reads::Statement, rows::bigint},
    },
};

/// What the statement says where a row is not what it was decided on.
pub(in crate::store::postgres) const OTHER_ROW: &str = "dormouse: a row is another";

/// A change with the shape of its table.
pub(super) type ShapedChange<'a> = (NetChange<'a>, Arc<Shape>);

/// A parameter of the statement.
enum Parameter<'a> {
    Texts(Vec<Option<Cow<'a, str>>>),
    Numbers(Vec<Option<i64>>),
    Number(i64),
}

/// The rows' part of a statement.
pub(in crate::store::postgres) struct RowWrites<'a> {
    pub(super) ctes: String,
    /// What must hold, as SQL.
    checks: Vec<String>,
    parameters: Vec<Parameter<'a>>,
    /// How many parameters come before these.
    before: usize,
}

/// Changes that are written alike.
pub(super) type Group<'c, 'a> = Vec<&'c ShapedChange<'a>>;

impl<'a> RowWrites<'a> {
    /// The part for some commits, behind so many other parameters.
    ///
    /// # Errors
    /// [`AppendError::Unstorable`] where an id can be no key of its table.
    pub(in crate::store::postgres) fn new(
        commits: &[&'a Commit],
        shapes: &Shapes,
        before: usize,
    ) -> Result<Self, AppendError> {
        let with_shape = |change: NetChange<'a>| {
            let shape = Arc::clone(shapes.get(&*change.table.name)?);
            Some((change, shape))
        };
        let changes: Vec<ShapedChange<'a>> = net_changes(commits)
            .into_iter()
            .filter_map(with_shape)
            .collect();
        let changes = &changes[..];
        let mut writes = Self {
            ctes: String::new(),
            checks: Vec::new(),
            parameters: Vec::new(),
            before,
        };
        let mut groups: BTreeMap<(&str, Write, Vec<&str>), Group<'_, 'a>> = BTreeMap::new();
        for shaped in changes {
            let (change, shape) = shaped;
            check_key(change, shape)?;
            let stamps = change.stamps.iter().map(|(name, _)| *name).collect();
            let alike = (&*change.table.name, change.write(), stamps);
            groups.entry(alike).or_default().push(shaped);
        }
        for ((_, write, stamps), group) in groups {
            writes.add_group(write, &stamps, &group);
        }
        writes.add_links(changes);
        writes.add_tracks(changes);
        Ok(writes)
    }

    /// The whole statement, of which all but the rows is given.
    pub(in crate::store::postgres) fn text(&self, append: &str) -> String {
        let append = append.trim_end();
        let append = append.strip_suffix(ANSWER).unwrap_or(append);
        let checks = self.checks.join(" and ");
        // Joined to a value of the row, the text is not cast before there is one.
        format!(
            "{append}{}\nselect position, case when {checks} then 0 \
             else ('{OTHER_ROW} ' || position)::integer end from slot",
            self.ctes
        )
    }

    /// Binds the parameters, after those before.
    pub(in crate::store::postgres) fn bind(self, statement: Statement<'_>) -> Statement<'_> {
        self.parameters
            .into_iter()
            .fold(statement, |statement, parameter| match parameter {
                Parameter::Texts(texts) => statement.bind(texts),
                Parameter::Numbers(numbers) => statement.bind(numbers),
                Parameter::Number(number) => statement.bind(number),
            })
    }

    fn parameter(&mut self, parameter: Parameter<'a>) -> String {
        self.parameters.push(parameter);
        format!("${}", self.before + self.parameters.len())
    }

    /// An array as a column of `given`, by its name there.
    pub(super) fn given(
        &mut self,
        given: &mut Given,
        name: String,
        texts: Vec<Option<Cow<'a, str>>>,
    ) {
        let parameter = self.parameter(Parameter::Texts(texts));
        given.arrays.push(format!("{parameter}::text[]"));
        given.names.push(name);
    }

    pub(super) fn given_numbers(
        &mut self,
        given: &mut Given,
        name: &str,
        numbers: Vec<Option<i64>>,
    ) {
        let parameter = self.parameter(Parameter::Numbers(numbers));
        given.arrays.push(format!("{parameter}::bigint[]"));
        given.names.push(name.to_owned());
    }

    /// The statement stores nothing unless so many rows are in a part of it.
    pub(super) fn expect(&mut self, part: &str, rows: usize) {
        let rows = self.parameter(Parameter::Number(bigint(rows as u64)));
        self.checks
            .push(format!("(select count(*) from {part}) = {rows}"));
    }

    pub(super) fn part(&self) -> String {
        format!("part{}", self.parameters.len())
    }

    fn add_group(&mut self, write: Write, stamps: &[&str], group: &[&ShapedChange<'a>]) {
        let (first, shape) = group[0];
        let mut given = Given::default();
        let ids = group.iter().map(|(change, shape)| key(change, shape));
        self.given(&mut given, "id".to_owned(), ids.collect());
        let guard = if matches!(write, Write::Absent | Write::Insert) {
            String::new()
        } else {
            self.guard(&mut given, group)
        };
        let mut values = Vec::new();
        if matches!(write, Write::Insert | Write::Update) {
            values = self.values(&mut given, stamps, group);
        }
        let table = &shape.table;
        let key_column = quoted(first.table.key);
        let is_key = format!(
            "held.{key_column} = {}",
            table.column(first.table.key).cast("given.id")
        );
        let part = self.part();
        let from = format!("from slot cross join {}", given.text());
        let name = &table.name;
        match write {
            Write::Absent => write!(
                self.ctes,
                ", {part} as materialized (select {from} \
                 where (select true from {name} as held where {is_key} limit 1) is null)"
            ),
            Write::Insert => {
                let key = table.column(first.table.key).cast("given.id");
                let columns: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
                let casts: Vec<&str> = values.iter().map(|(_, cast)| cast.as_str()).collect();
                let (columns, casts) = (listed(&columns), listed(&casts));
                write!(
                    self.ctes,
                    ", {part} as (insert into {name} ({key_column}{columns}) \
                     select {key}{casts} {from} returning 1)"
                )
            }
            Write::Keep | Write::Update | Write::Delete => {
                let lock = if write == Write::Delete {
                    "update"
                } else {
                    "no key update"
                };
                write!(
                    self.ctes,
                    ", {part}_locked as materialized (select held.address, given.* {from} \
                     cross join lateral (select held.ctid as address from {name} as held \
                     where {is_key}{guard} limit 1 for {lock} skip locked) as held)"
                )
                .and_then(|()| self.write_locked(write, &part, table, &is_key, &values))
            }
        }
        .unwrap_or_default();
        self.expect(&part, group.len());
    }

    /// What is done to the rows that are locked.
    fn write_locked(
        &mut self,
        write: Write,
        part: &str,
        table: &TableShape,
        is_key: &str,
        values: &[(String, String)],
    ) -> std::fmt::Result {
        let name = &table.name;
        let of_row = at_address(is_key);
        match write {
            Write::Update => {
                let sets: Vec<String> = values
                    .iter()
                    .map(|(column, value)| format!("{column} = {value}"))
                    .collect();
                write!(
                    self.ctes,
                    ", {part} as (update {name} as held set {} from {part}_locked as given \
                     where {of_row} returning 1)",
                    sets.join(", ")
                )
            }
            Write::Delete => write!(
                self.ctes,
                ", {part} as (delete from {name} as held using {part}_locked as given \
                 where {of_row} returning 1)"
            ),
            Write::Absent | Write::Keep | Write::Insert => write!(
                self.ctes,
                ", {part} as materialized (select from {part}_locked)"
            ),
        }
    }

    /// That a row is what its change was decided on.
    fn guard(&mut self, given: &mut Given, group: &[&ShapedChange<'a>]) -> String {
        let (first, shape) = group[0];
        let mut guard = String::new();
        for (index, column) in first.table.columns.iter().enumerate() {
            let shape = shape.table.column(column.name);
            let before = group.iter().map(|(change, _)| {
                let value = change.before.and_then(|row| row.values.get(column.name));
                value.and_then(|value| shape.text_of(value)).map(Cow::Owned)
            });
            self.given(given, format!("b{index}"), before.collect());
            let is = shape.is("held", column.name, &format!("given.b{index}"));
            let _ = write!(guard, " and {is}");
        }
        for (index, link) in first.table.links.iter().enumerate() {
            let before = group
                .iter()
                .map(|(change, _)| members_text(change.before, link).map(Cow::Owned));
            self.given(given, format!("l{index}"), before.collect());
            let members = members_sql(link, &shape.links[link.name], "given.id");
            let _ = write!(guard, " and {members} is not distinct from given.l{index}");
        }
        guard
    }

    /// The columns that are written, each with its value.
    fn values(
        &mut self,
        given: &mut Given,
        stamps: &[&str],
        group: &[&ShapedChange<'a>],
    ) -> Vec<(String, String)> {
        let (first, shape) = group[0];
        let columns = first.table.columns.iter().map(|column| column.name);
        let mut values = Vec::new();
        for (index, name) in columns.chain(stamps.iter().copied()).enumerate() {
            let shape = shape.table.column(name);
            let texts = group.iter().map(|(change, _)| {
                let value = value_after(change, name)?;
                shape.text_of(value).map(Cow::Owned)
            });
            self.given(given, format!("a{index}"), texts.collect());
            values.push((quoted(name), shape.cast(&format!("given.a{index}"))));
        }
        values
    }
}

/// How the statements of an append end that know no rows.
const ANSWER: &str = "\nselect position from slot";

/// Arrays side by side.
#[derive(Default)]
pub(super) struct Given {
    arrays: Vec<String>,
    names: Vec<String>,
}

impl Given {
    pub(super) fn text(&self) -> String {
        let (arrays, names) = (self.arrays.join(", "), self.names.join(", "));
        format!("unnest({arrays}) as given ({names})")
    }
}

/// That a row is the one that is locked. Its key too: in a table of partitions an address is not one
/// row's alone. Said so that it is no equation to join by: while the table is small, a walk of all
/// its keys would look cheaper than to go to a few addresses.
pub(super) fn at_address(is_key: &str) -> String {
    format!("held.ctid = given.address and ({is_key}) is true")
}

/// Items behind others in a list.
fn listed(items: &[&str]) -> String {
    items.iter().flat_map(|item| [", ", item]).collect()
}

fn key<'a>(change: &NetChange<'a>, shape: &Shape) -> Option<Cow<'a, str>> {
    let id = change.stream.aggregate_id.as_str();
    shape
        .table
        .column(change.table.key)
        .key(id)
        .map(Cow::Borrowed)
}

fn value_after<'a>(change: &NetChange<'a>, name: &str) -> Option<&'a RowValue> {
    let mut stamps = change.stamps.iter();
    let stamp = stamps.find(|(stamp, _)| *stamp == name);
    let mapped = || change.after.and_then(|row| row.values.get(name));
    stamp.map(|(_, value)| *value).or_else(mapped)
}

/// A row under a key that the table cannot have can be neither read nor written.
fn check_key(change: &NetChange<'_>, shape: &Shape) -> Result<(), AppendError> {
    if key(change, shape).is_some() || change.write() == Write::Absent {
        return Ok(());
    }
    let (table, key) = (&change.table.name, change.table.key);
    let cause = format!("the id can be no value of the column `{key}` of `{table}`");
    Err(AppendError::Unstorable(cause.into()))
}
