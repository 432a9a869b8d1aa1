//! What this bench has in common with the integration tests.

#[path = "../../tests/it/support/guardian.rs"]
pub(crate) mod guardian;
