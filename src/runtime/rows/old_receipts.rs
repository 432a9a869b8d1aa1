//! Commits without events carry a receipt, so that they are known again when their answer was lost.
//! Where their caller gave no key nobody asks for it later, and it is forgotten.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use ulid::Ulid;

use crate::{
    domain::{Clock, IdempotencyKey, error_chain},
    store::EventStore,
};

/// How often old receipts are looked for.
const EVERY: Duration = Duration::from_mins(1);
/// Receipts forgotten in one call: it takes milliseconds, and the next append waits that long on
/// SQLite.
const MAX_BATCH: u32 = 1000;
/// Beside the time in which a journal asks for an outcome, the age says how far the clocks of two
/// nodes may be apart.
const CLOCKS_APART: Duration = Duration::from_mins(10);

/// Forgets, again and again, the runtime's own receipts of commits whose outcome no journal asks
/// for any more.
pub(in crate::runtime) async fn forget_old(
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    resolve_timeout: Duration,
) {
    loop {
        tokio::time::sleep(EVERY).await;
        let before = oldest_kept(&*clock, resolve_timeout);
        loop {
            match store.forget_receipts(&before, MAX_BATCH).await {
                Ok(forgotten) if forgotten >= u64::from(MAX_BATCH) => {
                    // Between two batches commands have their turn.
                    tokio::task::yield_now().await;
                }
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "old receipts are not forgotten yet"
                    );
                    break;
                }
            }
        }
    }
}

fn oldest_kept(clock: &dyn Clock, resolve_timeout: Duration) -> IdempotencyKey {
    // An append may have begun just before the time to ask for its outcome was over, and takes that
    // long again at most.
    let age = TimeDelta::from_std(resolve_timeout * 2 + CLOCKS_APART).unwrap_or(TimeDelta::MAX);
    let oldest = clock.now().checked_sub_signed(age).unwrap_or_default();
    let milliseconds = u64::try_from(oldest.timestamp_millis()).unwrap_or(0);
    IdempotencyKey::reserved(Ulid::from_parts(milliseconds, 0))
}
