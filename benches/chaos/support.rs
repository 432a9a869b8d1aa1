//! What this bench has in common with the integration tests.

#[path = "../../tests/it/support/guardian.rs"]
pub(crate) mod guardian;
#[allow(dead_code, reason = "the integration tests use more of it")]
#[path = "../../tests/it/support/postgres.rs"]
pub(crate) mod postgres;
