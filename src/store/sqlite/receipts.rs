//! Forgetting receipts that nobody can ask for any more.

use std::sync::Arc;

use super::{Shared, errors::read_error};
use crate::{domain::IdempotencyKey, store::ReadError};

pub(super) async fn forget(
    shared: Arc<Shared>,
    before: IdempotencyKey,
    limit: u32,
) -> Result<u64, ReadError> {
    // The first two bounds are those of the index `command_receipts_reserved`, which is used only
    // where they stand as they do there.
    let sql = "delete from command_receipts \
        where (aggregate_type, aggregate_id, idempotency_key) in \
        (select aggregate_type, aggregate_id, idempotency_key from command_receipts \
        where idempotency_key >= 'dormouse:' and idempotency_key < 'dormouse;' \
        and idempotency_key < ? order by idempotency_key limit ?)";
    let mut writer = shared.writer.lock().await;
    let mut connection = writer.take().await.map_err(read_error)?;
    let forgotten = sqlx::query(sql)
        .bind(before.as_str())
        .bind(i64::from(limit))
        .execute(&mut connection.inner)
        .await;
    writer.put_back(connection);
    Ok(forgotten.map_err(read_error)?.rows_affected())
}
