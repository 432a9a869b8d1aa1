//! The promises of an [`EventStore`], one function each: what every adapter must pass.
//!
//! An adapter, of this crate or of another, implements [`Fixture`] over a fresh store and calls
//! [`store_contract!`](crate::store_contract) in its tests: one test for each promise, by name.
//! A promise that is not kept panics. Nothing here knows an adapter.

#![allow(
    clippy::expect_used,
    reason = "a promise that is not kept panics: that is how a test fails"
)]

mod again;
mod api_keys;
mod append;
mod claims;
mod dropped;
mod log;
mod reads;
mod rows;
mod snapshots;
mod writers;

use std::{future::Future, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use ulid::Ulid;

pub use again::*;
pub use api_keys::*;
pub use append::*;
pub use claims::*;
pub use dropped::*;
pub use log::*;
pub use reads::*;
pub use rows::*;
pub use snapshots::*;
pub use writers::*;

use super::{
    ApiKeyTable, AppendError, Commit, EventStore, Loss, NewEvent, NewReceipt, RecordedEvent,
    Verdict,
};
use crate::domain::{
    AggregateId, AggregateType, Claim, CorrelationId, EventId, IdempotencyKey, Position, StreamId,
    Version,
};

/// One fresh, empty store, on which any number of handles can be opened.
pub trait Fixture: Send + Sync {
    /// Opens a further handle on the store, with connections of its own where it has any.
    ///
    /// A handle that is dropped without [`EventStore::close`] stands for a crash.
    fn open(&self) -> impl Future<Output = Arc<dyn EventStore>> + Send;

    /// Another program on the store's state tables; nothing where it has none.
    fn other_program(&self) -> impl Future<Output = Option<Arc<dyn OtherProgram>>> + Send {
        async { None }
    }

    /// The table of API keys, as one sees it who may add and revoke them; nothing where the store has
    /// none.
    fn api_keys(&self) -> impl Future<Output = Option<Arc<dyn ApiKeyTable>>> + Send {
        async { self.open().await.api_keys() }
    }

    /// Removes the store after a promise that was kept.
    fn remove(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async {}
    }
}

/// Writes a module of tests, one for each promise of the contract.
///
/// The first argument names the module; the second is a function without parameters whose future
/// is a fresh [`Fixture`]. Needs tokio's `macros` and
/// `rt-multi-thread` in the calling crate.
///
/// ```
/// use std::sync::Arc;
/// use dormouse::store::{EventStore, contract::Fixture, memory::MemoryStore};
///
/// struct Memory(MemoryStore);
///
/// impl Fixture for Memory {
///     async fn open(&self) -> Arc<dyn EventStore> {
///         Arc::new(self.0.clone())
///     }
/// }
///
/// async fn memory() -> Memory {
///     Memory(MemoryStore::new())
/// }
///
/// dormouse::store_contract!(contract, memory);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_contract {
    ($module:ident, $factory:expr) => {
        $crate::store_contract! { @tests $module, $factory,
            what_is_appended_is_read_back_as_it_was,
            an_absent_stream_is_at_version_zero,
            streams_of_two_types_with_one_id_are_apart,
            a_page_of_a_stream_ends_where_its_limit_says,
            a_page_of_the_log_ends_where_its_limit_says,
            any_text_comes_back_as_it_was,
            an_event_of_one_mebibyte_is_stored,
            a_store_is_ready,
            an_empty_batch_is_stored,
            a_batch_of_any_size_keeps_its_order,
            a_stale_writer_gets_a_version_conflict,
            a_writer_ahead_of_its_stream_gets_a_version_conflict,
            a_commit_without_events_is_checked_like_any_other,
            a_commit_that_loses_its_version_fails_no_neighbour,
            a_commit_that_loses_its_claim_fails_no_neighbour,
            a_commit_that_loses_its_key_fails_no_neighbour,
            commits_of_one_stream_follow_one_another_in_a_batch,
            a_commit_loses_with_the_one_it_follows,
            a_follower_of_a_loser_is_not_taken_for_one_of_another_writer,
            a_follower_of_a_met_key_loses_with_it,
            the_second_of_two_commits_under_one_key_loses,
            a_key_belongs_to_its_stream,
            a_claim_has_one_holder_in_its_type,
            a_claim_that_is_held_may_be_taken_again_by_its_holder,
            a_freed_claim_can_be_taken,
            only_its_holder_frees_a_claim,
            a_claim_moves_between_aggregates_inside_one_batch,
            receipts_outlive_a_crash,
            a_commit_appended_again_is_known,
            a_receipt_appended_again_is_known,
            only_old_receipts_under_reserved_keys_are_forgotten,
            a_batch_stored_in_part_is_completed_when_appended_again,
            an_append_nobody_waits_for_is_whole_or_absent,
            a_read_may_be_dropped_at_any_await,
            a_write_may_be_dropped_at_any_await,
            a_transaction_may_be_dropped_at_any_await,
            of_two_writers_at_one_version_one_wins,
            of_two_writers_with_one_claim_one_wins,
            eight_writers_with_losers_leave_no_gap,
            a_reader_that_follows_the_log_misses_nothing,
            a_query_finds_what_every_filter_means,
            a_query_for_what_is_not_there_finds_nothing,
            a_query_ends_where_its_limit_and_its_cursor_say,
            an_ascending_cursor_skips_nothing_while_events_are_appended,
            a_descending_cursor_shows_nothing_twice_while_events_are_appended,
            an_event_is_found_by_its_id,
            the_aggregates_of_a_type_are_listed_by_id,
            recovery_takes_the_newest_snapshot_that_fits,
            recovery_reads_only_what_is_not_known_yet,
            a_snapshot_replaces_that_of_its_version,
            only_the_newest_snapshots_are_kept,
            a_snapshot_is_found_at_a_version,
            of_each_span_of_versions_a_snapshot_is_kept,
            sixty_four_streams_are_recovered_at_once,
            recovery_is_one_view_while_others_write,
            a_row_is_written_with_its_events,
            an_inserted_row_has_its_tables_defaults,
            a_commit_that_loses_leaves_its_row,
            commits_of_one_row_in_a_batch_lead_to_the_last,
            a_unique_index_refuses_exactly_its_commit,
            a_unique_value_moves_between_rows_in_a_batch,
            a_commit_with_a_row_appended_again_is_known,
            a_batch_of_rows_stored_in_part_is_completed,
            any_text_of_a_row_is_kept_or_refused,
            a_row_of_another_program_loses_exactly_its_commit,
            a_commit_that_changes_no_column_still_needs_its_row,
            links_change_by_their_difference,
            rows_are_paged_by_key,
            rows_are_loaded_in_the_order_asked_for,
            nothing_that_others_write_is_lost,
            a_track_versions_a_row_without_events,
            a_row_without_events_appended_again_is_known,
            of_two_writers_at_one_track_one_wins,
            a_track_is_kept_as_it_is_given,
            the_later_of_two_tracks_counts,
            a_track_is_found_behind_many_events,
            of_a_row_alone_and_an_event_one_wins,
            a_row_may_be_written_without_an_event,
            a_key_is_read_back_as_it_was,
            a_name_of_a_key_stays_taken_after_it_is_revoked,
            keys_are_in_the_order_of_their_ids_up_to_the_limit,
            a_key_is_revoked_once_and_active_no_more,
            an_earlier_use_of_a_key_never_replaces_a_later_one,
        }
    };
    (@tests $module:ident, $factory:expr, $($promise:ident,)+) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may be a full path")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    let fixture = ($factory)().await;

                    $crate::store::contract::$promise(&fixture).await;

                    $crate::store::contract::Fixture::remove(fixture).await;
                }
            )+
        }
    };
}

/// How often a writer among others appends a batch before it gives up.
const MAX_ATTEMPTS: usize = 50;

fn stream(id: &str) -> StreamId {
    stream_of("Thing", id)
}

fn stream_of(aggregate_type: &'static str, id: &str) -> StreamId {
    StreamId {
        aggregate_type: AggregateType::parse(aggregate_type).expect("a valid type"),
        aggregate_id: AggregateId::parse(id).expect("a valid id"),
    }
}

fn fresh_id() -> Ulid {
    Ulid::from_parts(1_714_885_505_123, rand::random())
}

fn instant() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_714_885_505_123_456).expect("a valid time")
}

fn raw(json: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(json.into()).expect("valid JSON")
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).expect("a valid key")
}

fn claim(value: &str) -> Claim {
    Claim::new("name", value)
}

/// A commit of some events on a stream, without claims or a receipt.
fn commit(stream: &StreamId, expected: u64, events: u64) -> Commit {
    let events = (1..=events).map(|number| NewEvent {
        id: EventId(fresh_id()),
        event_type: "ThingHappened".into(),
        schema_version: 1,
        data: raw(format!("{{\"version\":{}}}", expected + number)),
    });
    Commit {
        stream: stream.clone(),
        expected: Version::new(expected),
        events: events.collect(),
        occurred_at: instant(),
        created_by: None,
        correlation_id: CorrelationId(fresh_id()),
        causation_id: None,
        frees: Vec::new(),
        takes: Vec::new(),
        receipt: None,
        row: None,
    }
}

fn receipt(under: &str, reply: Option<&str>) -> NewReceipt {
    NewReceipt {
        id: fresh_id(),
        key: key(under),
        command_hash: std::array::from_fn(|index| u8::try_from(index * 8).unwrap_or(0)),
        reply: reply.map(raw),
    }
}

/// Appends on a store that nobody else writes to, where no error is excused.
async fn append(store: &dyn EventStore, batch: Vec<Commit>) -> Vec<Verdict> {
    let count = batch.len();
    let verdicts = store.append(batch.into()).await.expect("an append");
    assert_eq!(verdicts.len(), count, "one verdict for each commit");
    verdicts
}

/// Appends beside other writers: again, while the store says that this may help.
async fn append_among_others(store: &dyn EventStore, batch: Vec<Commit>) -> Vec<Verdict> {
    let batch: Arc<[Commit]> = batch.into();
    for _ in 0..MAX_ATTEMPTS {
        match store.append(Arc::clone(&batch)).await {
            Ok(verdicts) => {
                assert_eq!(verdicts.len(), batch.len(), "one verdict for each commit");
                return verdicts;
            }
            Err(error @ AppendError::Unstorable(_)) => panic!("{error}: {error:?}"),
            Err(
                AppendError::Contended
                | AppendError::Unavailable(_)
                | AppendError::OutcomeUnknown(_),
            ) => tokio::task::yield_now().await,
        }
    }
    panic!("a batch found no place among other writers in {MAX_ATTEMPTS} attempts");
}

/// The position of a commit's first event, where it is committed.
fn first_position(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Committed { first_position } => Some(first_position.get()),
        Verdict::Lost(_) => None,
    }
}

/// The positions of commits, all of which must be committed.
fn positions(verdicts: &[Verdict]) -> Vec<u64> {
    let positions = verdicts
        .iter()
        .map(|verdict| first_position(verdict).unwrap_or_else(|| panic!("{verdict:?}")));
    positions.collect()
}

fn assert_lost_version(verdict: &Verdict, expected: u64) {
    match verdict {
        Verdict::Lost(Loss::Version { current }) => assert_eq!(current.get(), expected),
        Verdict::Lost(
            Loss::Claim { .. } | Loss::Key(_) | Loss::Row | Loss::Refused { .. } | Loss::Contested,
        )
        | Verdict::Committed { .. } => {
            panic!("not a lost version: {verdict:?}")
        }
    }
}

/// The whole log, whose positions must be 1..n and whose streams' versions must be 1..m.
async fn whole_log(store: &dyn EventStore) -> Vec<RecordedEvent> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = Position::new(log.len() as u64);
        let page = store.read_log(after, 100).await.expect("a page");
        if page.is_empty() {
            break;
        }
        log.extend(page);
    }
    let mut versions = std::collections::HashMap::new();
    for (index, event) in log.iter().enumerate() {
        assert_eq!(event.position.get(), index as u64 + 1, "a gap in the log");
        let version = versions
            .entry(event.stream.clone())
            .or_insert(Version::ZERO);
        assert_eq!(event.version, version.next(), "a gap in {}", event.stream);
        *version = event.version;
    }
    let last = store.last_position().await.expect("the last position");
    assert_eq!(last.get(), log.len() as u64);
    log
}

/// The ids of the commits' events in the order of the log.
fn event_ids(commits: &[Commit]) -> Vec<EventId> {
    let events = commits.iter().flat_map(|commit| &commit.events);
    events.map(|event| event.id).collect()
}
