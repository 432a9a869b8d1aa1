//! What a statement stores beside events: claims and receipts.

use std::collections::BTreeSet;

use sqlx::postgres::PgBindIterExt as _;

use super::Statement;
use crate::{
    domain::{Claim, StreamId},
    store::{
        Commit,
        admission::receipt_of,
        postgres::{json_text, rows::bigint},
    },
};

/// The claims of the commits with their streams, each once: a repeat would object to itself.
fn claims<'c>(
    commits: &[&'c Commit],
    of: fn(&'c Commit) -> &'c [Claim],
) -> BTreeSet<(&'c StreamId, &'c Claim)> {
    commits
        .iter()
        .flat_map(|commit| of(commit).iter().map(|claim| (&commit.stream, claim)))
        .collect()
}

pub(super) fn bind_claims<'q>(mut statement: Statement<'q>, commits: &[&Commit]) -> Statement<'q> {
    let freed = claims(commits, |commit| &commit.frees);
    let taken = claims(commits, |commit| &commit.takes);
    for claims in [freed, taken] {
        statement = statement
            .bind(
                claims
                    .iter()
                    .map(|(stream, _)| stream.aggregate_type.as_str())
                    .bind_iter(),
            )
            .bind(
                claims
                    .iter()
                    .map(|(_, claim)| claim.name.as_ref())
                    .bind_iter(),
            )
            .bind(
                claims
                    .iter()
                    .map(|(_, claim)| claim.value.as_str())
                    .bind_iter(),
            )
            .bind(
                claims
                    .iter()
                    .map(|(stream, _)| stream.aggregate_id.as_str())
                    .bind_iter(),
            );
    }
    statement
}

pub(super) fn bind_receipts<'q>(statement: Statement<'q>, commits: &[&Commit]) -> Statement<'q> {
    let receipts: Vec<_> = commits
        .iter()
        .filter_map(|commit| {
            let new = commit.receipt.as_ref()?;
            Some((*commit, new, receipt_of(commit, new)))
        })
        .collect();
    let streams = || receipts.iter().map(|(commit, _, _)| &commit.stream);
    let read_as = || receipts.iter().map(|(_, _, receipt)| receipt);
    statement
        .bind(read_as().map(|receipt| receipt.id.to_string()).bind_iter())
        .bind(
            streams()
                .map(|stream| stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            streams()
                .map(|stream| stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .bind(
            receipts
                .iter()
                .map(|(_, new, _)| new.key.as_str())
                .bind_iter(),
        )
        .bind(
            read_as()
                .map(|receipt| &receipt.command_hash[..])
                .bind_iter(),
        )
        .bind(
            read_as()
                .map(|receipt| bigint(receipt.first_version.get()))
                .bind_iter(),
        )
        .bind(
            read_as()
                .map(|receipt| i32::try_from(receipt.event_count).unwrap_or(i32::MAX))
                .bind_iter(),
        )
        .bind(
            read_as()
                .map(|receipt| receipt.reply.as_deref().map(json_text::to_stored))
                .bind_iter(),
        )
        .bind(
            read_as()
                .map(|receipt| receipt.correlation_id.to_string())
                .bind_iter(),
        )
        .bind(
            receipts
                .iter()
                .map(|(commit, _, _)| commit.occurred_at)
                .bind_iter(),
        )
}
