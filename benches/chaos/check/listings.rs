//! Readings of the directory of users: each is the fold of the log up to the position that it names, and
//! positions do not go back from one reading to a later one.

use std::collections::{BTreeMap, HashSet};

use dormouse::store::RecordedEvent;

use super::{State, fold};
use crate::history::{Entry, Listing};

/// What is told of the readings that are wrong.
const TOLD: usize = 20;

/// Tells what is wrong with them.
pub(super) fn check(mut listings: Vec<Listing>, events: &[RecordedEvent]) -> Vec<String> {
    let mut told = gone_back(&mut listings);
    listings.sort_by_key(|listing| listing.position);
    let mut users: BTreeMap<&str, (u64, State)> = BTreeMap::new();
    let mut later = events.iter().peekable();
    for listing in &listings {
        while let Some(event) = later.next_if(|event| event.position.get() <= listing.position) {
            if event.stream.aggregate_type.as_str() != "User" {
                continue;
            }
            let user = users.entry(event.stream.aggregate_id.as_str());
            let (version, state) = user.or_default();
            *version = event.version.get();
            fold(state, event);
        }
        told.extend(compare(listing, &users));
    }
    told.truncate(TOLD);
    told
}

/// A reading that was asked for after another was answered shows no less.
fn gone_back(listings: &mut [Listing]) -> Vec<String> {
    let mut answered: Vec<(u64, u64)> = listings
        .iter()
        .map(|listing| (listing.at, listing.position))
        .collect();
    answered.sort_unstable();
    listings.sort_by_key(|listing| listing.sent);
    let mut known = 0;
    let mut answered = answered.into_iter().peekable();
    let mut told = Vec::new();
    for listing in listings {
        while let Some((_, position)) = answered.next_if(|(at, _)| *at < listing.sent) {
            known = position.max(known);
        }
        if listing.position < known {
            told.push(format!(
                "the directory is at position {} after it was at {known}",
                listing.position
            ));
        }
    }
    told
}

fn compare(listing: &Listing, users: &BTreeMap<&str, (u64, State)>) -> Vec<String> {
    let mut told = Vec::new();
    let position = listing.position;
    let listed: HashSet<&str> = listing.users.iter().map(|user| user.id.as_str()).collect();
    if listed.len() != listing.users.len() || listed.len() != users.len() {
        told.push(format!(
            "the directory at position {position} lists {} users ({} of them different) of {}",
            listing.users.len(),
            listed.len(),
            users.len()
        ));
    }
    for Entry { id, version, shows } in &listing.users {
        if users.get(id.as_str()) != Some(&(*version, *shows)) {
            told.push(format!(
                "the directory at position {position} shows {id} as {:?}, and the events fold to {:?}",
                (version, shows),
                users.get(id.as_str())
            ));
        }
    }
    told
}
