//! Drawing some of all rows and aggregates, each with the same chance.

use std::collections::BTreeSet;

use rand::RngExt as _;

use crate::{domain::AggregateId, store::LoadedRow};

/// Draws so many of what it is offered, each with the same chance: Vitter's algorithm R.
pub(super) struct Reservoir<T> {
    wanted: usize,
    seen: usize,
    pub(super) drawn: Vec<T>,
}

impl<T> Reservoir<T> {
    pub(super) const fn new(wanted: usize) -> Self {
        Self {
            wanted,
            seen: 0,
            drawn: Vec::new(),
        }
    }

    pub(super) fn offer(&mut self, one: T) {
        self.seen += 1;
        if self.drawn.len() < self.wanted {
            self.drawn.push(one);
        } else if let Some(drawn) = self.drawn.get_mut(rand::rng().random_range(0..self.seen)) {
            *drawn = one;
        }
    }
}

type Drawn = (Vec<(String, LoadedRow)>, Vec<AggregateId>);

/// As many as are wanted of both, by turns, none of them twice.
pub(super) fn one_by_one(
    rows: Vec<(String, LoadedRow)>,
    log: Vec<AggregateId>,
    wanted: usize,
) -> Drawn {
    let mut taken = BTreeSet::new();
    let (mut from_rows, mut from_log) = (Vec::new(), Vec::new());
    let (mut rows, mut log) = (rows.into_iter(), log.into_iter());
    loop {
        let (row, id) = (rows.next(), log.next());
        if row.is_none() && id.is_none() {
            return (from_rows, from_log);
        }
        if let Some((key, row)) = row
            && taken.len() < wanted
            && taken.insert(key.clone())
        {
            from_rows.push((key, row));
        }
        if let Some(id) = id
            && taken.len() < wanted
            && taken.insert(id.to_string())
        {
            from_log.push(id);
        }
    }
}

pub(super) fn pages<T>(all: Vec<T>, page: u32) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter().peekable();
    std::iter::from_fn(move || {
        all.peek()?;
        Some(all.by_ref().take(page as usize).collect())
    })
}
